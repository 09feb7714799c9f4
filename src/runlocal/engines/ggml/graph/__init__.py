"""llama.cpp's graphs as its allocator sees them: what is computed in which order, how large, and where.

A graph is built from the blocks of a layout in the order of llama.cpp's own builders, cut into splits as ggml's scheduler does, and laid
out by ggml's allocator (`engines/ggml/allocator.py`). So the compute buffers follow from shapes alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runlocal.core.cache import CacheKind
from runlocal.core.layout import Layout
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.engines.ggml.allocator import Repeat, reserve
from runlocal.engines.ggml.graph.context import DOWN, Context, Devices
from runlocal.engines.ggml.graph.decoder import NotModelled, build, layers_of
from runlocal.engines.ggml.graph.family import FAMILIES, Family
from runlocal.engines.ggml.graph.schedule import assign, schedule
from runlocal.engines.ggml.graph.tensors import F32
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings
from runlocal.engines.ggml.weights import cuda_bytes, host_bytes
from runlocal.quants.gguf import Stored

__all__ = ["ComputeBuffers", "NotModelled", "compute_buffers", "copies_weights", "copy_bytes", "keeps_flash_attention"]

GPU_ALIGNMENT = 128  # ggml_backend_cuda_buffer_type_get_alignment
HOST_ALIGNMENT = 32  # TENSOR_ALIGNMENT of ggml's CPU buffers
PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES
_LONGEST_PERIOD = 8
_KEPT = 2  # periods of a pattern that are built first; the last of them stands for the rest


class ComputeBuffers(NamedTuple):
    """Bytes of the compute buffers.

    gpus: of each GPU
    host: of the host
    """

    gpus: tuple[int, ...]
    host: int


def compute_buffers(
    layout: Layout,
    settings: Settings,
    placement: Placement,
    weight_bytes: Mapping[tuple[str, int | None], int] | None = None,
    *,
    all_layers: bool = False,
    fuses_routing: bool = False,
    as_estimated: bool = True,
) -> ComputeBuffers:
    """The compute buffers of a step of `settings.ubatch_tokens` tokens with a full cache (llama_context::graph_reserve).

    weight_bytes: bytes that a weight takes where it is copied to, by role and layer; needed where `copies_weights`
    all_layers: build every layer; else those that repeat are built a few times and laid out as often as they stand, which gives the same figure
    fuses_routing: CUDA keeps what the choice of experts is computed from alive, to fuse it
    as_estimated: as llama.cpp's own estimate has it (llama_get_memory_breakdown of a model without memory, which `--fit` goes by): there
        ggml_backend_sched_reserve_size forgets which devices norms and host caches are bound to. False: as a load has it. The two differ
        with several GPUs, where a load takes less, and with a cache on the host
    Raises NotModelled (a ValueError) where the architecture's graph is not built here.
    """
    family = _family(layout)
    if settings.flash_attention and F32.name in (settings.type_k.name, settings.type_v.name):
        raise NotModelled("flash attention on a cache in F32")
    layers = layers_of(layout)
    devices = _devices(placement, keeps_pins=not as_estimated)
    copied = weight_bytes if weight_bytes and copies_weights(layout.architecture, placement) else {}
    context = Context(layout, family, settings, devices, copied)
    sizes_of = _sizes_by_layer(copied)
    # States are loaded ahead of what enters their layer, so the last of them are read for the last time one layer early.
    last = {type(layer.mixer): index for index, layer in enumerate(layers)}
    kinds = [(layer, devices.layers[index], family.kind_of(index), sizes_of.get(index), last[type(layer.mixer)] == index) for index, layer in enumerate(layers)]
    # Copies for several steps are kept apart, so those of every layer count, and so do the tensors of zeros that indexers unmask tokens with.
    # What all layers read from one tensor ties them together.
    chooses = any(cache.kind is CacheKind.INDEXER for cache in layout.caches())
    tied = chooses or context.layer_input_size > 0 or ((family.down_on_host or settings.flash_on_host) and placement.pipelined)
    runs = [] if all_layers or tied else list(_runs(kinds))
    left_out = {index for run in runs for index in range(run.built_end, run.end)}
    entries = build(context, layers, [index for index in range(len(layers)) if index not in left_out])
    order = schedule(context.graph, devices.host, PIPELINE_COPIES if placement.pipelined else 1, fuses_routing=fuses_routing)
    place_of = {node: position for position, node in enumerate(order.nodes)} if runs else {}
    # What enters a layer is computed by the layer before; the layer's own nodes are those behind it.
    repeats = [Repeat(start=place_of[entries[run.built_end - run.period]] + 1, end=place_of[entries[run.end]] + 1, times=run.times) for run in runs]
    sizes = reserve(order.nodes, order.leaves, [GPU_ALIGNMENT] * devices.host + [HOST_ALIGNMENT], repeats)
    if family.reserved_alone and settings.sequences > 1:
        one = settings._replace(sequences=1, resting=settings.resting + settings.sequences - 1)
        alone = compute_buffers(layout, one, placement, weight_bytes, all_layers=all_layers, fuses_routing=fuses_routing, as_estimated=as_estimated)
        sizes = tuple(map(max, sizes, (*alone.gpus, alone.host)))
    return ComputeBuffers(gpus=sizes[:-1], host=sizes[-1])


def keeps_flash_attention(layout: Layout, settings: Settings, placement: Placement) -> bool:
    """Whether `auto` leaves flash attention on (llama_context::resolve_fused_ops): in a step of a token per sequence every layer's runs on its device.

    A layer's own weights draw it there. Where a state follows that lies elsewhere, it is that which does.
    """
    layers, devices = layers_of(layout), _devices(placement, keeps_pins=True)
    step = settings._replace(ubatch_tokens=settings.sequences, output_rows=settings.sequences)
    context = Context(layout, _family(layout), step, devices, defaultdict(int))
    build(context, layers, range(len(layers)))
    assign(context.graph, devices.host)
    attending = [
        device
        for layer, device in zip(layers, devices.layers, strict=False)
        if layer.mixer and all(cache.kind is not CacheKind.RECURRENT for cache in layer.mixer.caches((0,)))
    ]
    return [node.device for node in context.graph.nodes if node.op == "FLASH_ATTN_EXT"] == attending


def _family(layout: Layout) -> Family:
    family = FAMILIES.get(layout.architecture)
    if family is None:
        raise NotModelled(f"the graph of {layout.architecture}")
    return family


def _devices(placement: Placement, *, keeps_pins: bool) -> Devices:
    names = [*placement.devices(), HOST]
    return Devices(
        layers=tuple(names.index(device) for device in placement.layers),
        output=names.index(placement.output),
        experts_on_host=placement.experts_on_host,
        cache_on_host=placement.cache_on_host,
        host=len(names) - 1,
        keeps_pins=keeps_pins,
    )


def copies_weights(architecture: str, placement: Placement) -> bool:
    """Whether a step copies weights from where they lie to where they are computed with."""
    family = FAMILIES.get(architecture)
    return placement.experts_on_host or not placement.all_on_gpus or (family is not None and (family.down_on_host or family.output_on_host))


def copy_bytes(weights: Iterable[Stored], *, tied: bool, architecture: str | None = None) -> dict[tuple[str, int | None], int]:
    """What a copy of each weight takes, by role and layer: in a GPU's buffer, or on the host where only that computes with it."""
    family = FAMILIES.get(architecture or "")
    host_roles = (DOWN,) if family and family.down_on_host else ()
    sizes = {
        (stored.tensor.role, layer): (host_bytes if stored.tensor.role in host_roles else cuda_bytes)(stored)
        for stored in weights
        for layer in stored.tensor.layers or (None,)
    }
    if tied:
        sizes["output", None] = sizes["token_embd", None]
    return sizes


def _sizes_by_layer(weight_bytes: Mapping[tuple[str, int | None], int]) -> dict[int, tuple[int, ...]]:
    """Layers whose weights differ in type are of different kinds once their weights are copied."""
    found: dict[int, list[int]] = {}
    for (_, layer), size in weight_bytes.items():
        if layer is not None:
            found.setdefault(layer, []).append(size)
    return {layer: tuple(sizes) for layer, sizes in found.items()}


class _Run(NamedTuple):
    """Layers that repeat a pattern.

    first: where the pattern begins
    period: its length in layers
    times: how often it recurs behind the periods that are built
    """

    first: int
    period: int
    times: int

    @property
    def built_end(self) -> int:
        """The first layer that is left out."""
        return self.first + _KEPT * self.period

    @property
    def end(self) -> int:
        """The layer behind those that are left out."""
        return self.built_end + self.times * self.period


def _runs(kinds: Sequence[object]) -> Iterator[_Run]:
    """The patterns worth leaving out, in order. The last layer is always built: it alone picks the rows for the logits."""
    numbers: dict[object, int] = {}
    series = [numbers.setdefault(kind, len(numbers)) for kind in kinds[:-1]]
    first = 0
    while first < len(series):
        run = _run_from(series, first)
        if run:
            yield run
        first = run.end if run else first + 1


def _run_from(series: Sequence[int], first: int) -> _Run | None:
    for period in range(1, _LONGEST_PERIOD + 1):
        end = first + period
        while end < len(series) and series[end] == series[end - period]:
            end += 1
        # One more period follows, because a split may reach into the next layer.
        times = (end - first) // period - _KEPT - 1
        if times > 0:
            return _Run(first=first, period=period, times=times)
    return None
