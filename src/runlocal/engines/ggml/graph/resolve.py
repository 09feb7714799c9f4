"""What a step of one token per sequence decides for every other (llama_context::resolve_fused_ops): which operations stay fused.

An operation that would not run on its layer's device is taken apart, in that step and in all others.
"""

from collections import defaultdict
from collections.abc import Sequence

from runlocal.core.cache import CacheKind
from runlocal.core.layout import Block, Layout
from runlocal.engines.ggml.graph.context import Context, Devices, devices_of
from runlocal.engines.ggml.graph.decoder import build
from runlocal.engines.ggml.graph.family import family_of
from runlocal.engines.ggml.graph.hyper import FUSED
from runlocal.engines.ggml.graph.layers import Layer, layers_of
from runlocal.engines.ggml.graph.runs import KEPT, runs_of
from runlocal.engines.ggml.graph.schedule import assign
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings


def unfused(layout: Layout, settings: Settings, placement: Placement, *, all_layers: bool = False) -> tuple[str, ...]:
    """The operations of hyper-connections that are taken apart (llama_context::resolve_fused_ops): one of them would not run with its layer.

    all_layers: as in `compute_buffers`
    """
    layers, devices = layers_of(layout), devices_of(placement, keeps_pins=True)
    few = range(len(layers)) if all_layers else _one_of_each(layout, layers, devices)
    step = settings._replace(ubatch_tokens=settings.sequences, output_rows=settings.sequences, unfused=())
    left: tuple[str, ...] = FUSED
    while left:
        context = Context(layout, family_of(layout), step, devices, defaultdict(int))
        build(context, layers, few)
        assign(context.graph, devices.host)
        elsewhere = {node.op for node, layer in context.fused if node.device != devices.layers[layer]}
        # They are asked about in turn; the graph is another one only behind the first that is taken apart.
        first = next((index for index, op in enumerate(left) if op in elsewhere), None)
        if first is None:
            break
        step, left = step._replace(unfused=(*step.unfused, left[first])), left[first + 1 :]
    return step.unfused


def keeps_flash_attention(layout: Layout, settings: Settings, placement: Placement, *, all_layers: bool = False) -> bool:
    """Whether `auto` leaves flash attention on (llama_context::resolve_fused_ops): in a step of a token per sequence every layer's runs on its device.

    A layer's own weights draw it there. Where a state follows that lies elsewhere, it is that which does. all_layers: as in `compute_buffers`
    """
    layers, devices = layers_of(layout), devices_of(placement, keeps_pins=True)
    few = range(len(layers)) if all_layers else _one_of_each(layout, layers, devices)
    step = settings._replace(ubatch_tokens=settings.sequences, output_rows=settings.sequences)
    context = Context(layout, family_of(layout), step, devices, defaultdict(int))
    build(context, layers, few)
    assign(context.graph, devices.host)
    attending = [devices.layers[index] for index in few if (mixer := layers[index].mixer) and _attends(mixer)]
    found = [node.device for node in context.graph.nodes if node.op == "FLASH_ATTN_EXT"]
    return not found or found == attending  # where a step of one token has none, nothing speaks against it


def _attends(block: Block) -> bool:
    """Whether a block is attention: it keeps something per token, perhaps a state beside it, or reads what another layer keeps."""
    kinds = {cache.kind for cache in block.caches((0,))}
    return kinds != {CacheKind.RECURRENT}


def _one_of_each(layout: Layout, layers: Sequence[Layer], devices: Devices) -> Sequence[int]:
    """Layers that stand for all where only devices are asked for: every layer has weights, so none hangs on more than its neighbours."""
    family = family_of(layout)
    if family.every_layer:
        return range(len(layers))
    kinds = [
        (layer, device, family.kind_of(index), index < devices.host_experts) for index, (layer, device) in enumerate(zip(layers, devices.layers, strict=False))
    ]
    left_out = {index for run in runs_of(kinds, KEPT) for index in range(run.built_end, run.end)}
    return [index for index in range(len(layers)) if index not in left_out]
