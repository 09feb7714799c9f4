"""llama.cpp's graphs as its allocator sees them: what is computed in which order, how large, and where.

A graph is built from the blocks of a layout in the order of llama.cpp's own builders, cut into splits as ggml's scheduler does, and laid
out by ggml's allocator (`engines/ggml/allocator.py`). So the compute buffers follow from shapes alone.

Where a change belongs:

- An architecture whose graph differs in what others have too: its row in `family`.
- A new kind of block: a module beside `attention`, `mlp` or `mamba`, named in `layers`; one that is a whole layer: in `WHOLE` there.
- Halves put together in another way: `decoder`, or where one architecture alone does so, a module named in its
  `OWN_LAYERS`, and what goes before them in `OWN_BEGINNINGS`.
- Before and behind the layers: `ends`. Layers that guess ahead: `nextn`.
- What ggml does with any graph: `tensors` (shapes of operations), `expand` (order), `schedule` (devices and copies), `fusion`, `resolve`.
- What makes it fast and changes no figure: `runs` (layers that repeat), `copies` (other weights, same graph).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from runlocal.core.cache import CacheKind
from runlocal.core.layout import Layout
from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.allocator import Repeat, reserve, timeline
from runlocal.engines.ggml.graph.context import DOWN, Context, devices_of
from runlocal.engines.ggml.graph.decoder import build
from runlocal.engines.ggml.graph.family import FAMILIES, NotModelled, family_of
from runlocal.engines.ggml.graph.layers import Layer, layers_of
from runlocal.engines.ggml.graph.runs import KEPT, Run, runs_of
from runlocal.engines.ggml.graph.schedule import schedule
from runlocal.engines.ggml.graph.tensors import F32
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.places import Timeline, fill
from runlocal.engines.ggml.settings import Settings
from runlocal.engines.ggml.weights import cuda_bytes, host_bytes
from runlocal.quants.gguf import Stored

if TYPE_CHECKING:
    from runlocal.engines.ggml.graph.copies import Templates

__all__ = ["ComputeBuffers", "NotModelled", "compute_buffers", "copies_weights", "copy_bytes", "largest", "next_token_buffers"]

GPU_ALIGNMENT = 128  # ggml_backend_cuda_buffer_type_get_alignment
HOST_ALIGNMENT = 32  # TENSOR_ALIGNMENT of ggml's CPU buffers
PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES
Known = dict[object, list["Laid"]]
_KEPT_WITH_STATES = 3  # states are loaded ahead of what enters their layer, so that the first period takes its memory in another order


class ComputeBuffers(NamedTuple):
    """Bytes of the compute buffers.

    gpus: of each GPU
    host: of the host
    """

    gpus: tuple[int, ...]
    host: int


class Laid(NamedTuple):
    """A graph that was laid out.

    times: how often each of its patterns recurs
    rounds: as `reserve` fills them
    sizes: bytes of the compute buffers, the host's last
    events: when tensors come and go
    """

    times: tuple[int, ...]
    rounds: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    events: Timeline

    def holds_for(self, times: tuple[int, ...]) -> bool:
        """Whether a graph of the same layers, whose patterns recur so often, is laid out alike."""
        return all(
            asked == own or (length > 0 and least <= min(asked, own) and (asked - own) % length == 0)
            for asked, own, (least, length) in zip(times, self.times, self.rounds, strict=True)
        )


def compute_buffers(
    layout: Layout,
    settings: Settings,
    placement: Placement,
    weight_bytes: Mapping[tuple[str, int | None], int] | None = None,
    *,
    all_layers: bool = False,
    fuses_routing: bool = False,
    as_estimated: bool = True,
    known: Known | None = None,
    templates: "Templates | None" = None,
    timelines: list[Timeline] | None = None,
) -> ComputeBuffers:
    """The compute buffers of a step of `settings.ubatch_tokens` tokens with a full cache (llama_context::graph_reserve).

    weight_bytes: bytes that a weight takes where it is copied to, by role and layer; needed where `copies_weights`
    all_layers: build every layer; else those that repeat are built a few times and laid out as often as they stand, which gives the same figure
    fuses_routing: CUDA keeps what the choice of experts is computed from alive, to fuse it
    as_estimated: as llama.cpp's own estimate has it (llama_get_memory_breakdown of a model without memory, which `--fit` goes by): there
        ggml_backend_sched_reserve_size forgets which devices norms and host caches are bound to. False: as a load has it. The two differ
        with several GPUs, where a load takes less, and with a cache on the host
    known: graphs of this model that were laid out before, where no weights are copied; what differs from one of them only in how often
        layers repeat is not laid out again
    templates: graphs of this model that were laid out before, where weights are copied
    timelines: gets that of every graph that was laid out; the buffers are the largest of all
    Raises NotModelled (a ValueError) where the architecture's graph is not built here.
    """
    family = family_of(layout)
    kept = settings.hidden_kept and not (family.outputs_normed or family.outputs_last)
    if kept:
        family = family._replace(outputs_normed=True)
    if settings.flash_attention and F32.name in (settings.type_k.name, settings.type_v.name):
        raise NotModelled("flash attention on a cache in F32")
    layers = layers_of(layout)
    devices = devices_of(placement, keeps_pins=not as_estimated)
    copied = weight_bytes if weight_bytes and copies_weights(layout.architecture, placement) else {}
    if layers[0].has_streams and not placement.nothing_on_host:
        from runlocal.engines.ggml.graph.resolve import unfused  # few architectures have streams

        settings = settings._replace(unfused=unfused(layout, settings, placement, all_layers=all_layers))
    context = Context(layout, family, settings, devices, copied)
    sizes_of = _sizes_by_layer(copied)
    # States are loaded ahead of what enters their layer, so on each device the last of them are read for the last time one layer early.
    marks = [(type(layer.mixer), device) for layer, device in zip(layers, devices.layers, strict=False)]
    last = {mark: index for index, mark in enumerate(marks)}
    kinds = [
        (layer, mark, family.kind_of(index), sizes_of.get(index), last[mark] == index, index < placement.host_experts)
        for index, (layer, mark) in enumerate(zip(layers, marks, strict=True))
    ]
    # Copies for several steps are kept apart, so those of every layer count, and so do what indexers read and the tensors of zeros they unmask tokens with.
    # What all layers read from one tensor ties them together.
    cached = {cache.kind for cache in layout.caches()}
    tied = (
        CacheKind.INDEXER in cached
        or context.layer_input_size > 0
        or family.every_layer
        or ((family.down_on_host or settings.flash_on_host) and placement.pipelined)
    )
    runs = [] if all_layers or tied else list(runs_of(kinds, _KEPT_WITH_STATES if CacheKind.RECURRENT in cached else KEPT))
    left_out = {index for run in runs for index in range(run.built_end, run.end)}
    built = [index for index in range(len(layers)) if index not in left_out]
    times, alike = tuple(run.times for run in runs), None
    if known is not None:
        patterns = tuple((built.index(run.first), run.period) for run in runs)
        key = (settings, devices._replace(layers=()), placement.pipelined, fuses_routing, tuple(kinds[index] for index in built), patterns)
        alike = next((laid for laid in known.setdefault(key, []) if laid.holds_for(times)), None)
    if alike is None and templates is not None and copied and not runs:
        # Where no layer is left out, bytes of weights decide nothing but places.
        alike = _from_template(context, layers, placement, templates, fuses_routing=fuses_routing)
    if alike is None:
        alike = _lay_out(context, layers, built, runs, placement, fuses_routing=fuses_routing)
        if known is not None:
            known[key].append(alike)
    sizes = alike.sizes
    if timelines is not None:
        timelines.append(alike.events.recurring(times))
    if family.reserved_alone and settings.sequences > 1:
        one = settings._replace(sequences=1, resting=settings.resting + settings.sequences - 1)
        alone = compute_buffers(
            layout, one, placement, weight_bytes, all_layers=all_layers, fuses_routing=fuses_routing, as_estimated=as_estimated, timelines=timelines
        )
        sizes = tuple(map(max, sizes, (*alone.gpus, alone.host)))
    if kept:
        # Reserved as if rows for the logits were picked in the last layer; the first step finds out that they are not.
        plain = settings._replace(hidden_kept=False)
        first = compute_buffers(layout, plain, placement, weight_bytes, all_layers=all_layers, as_estimated=as_estimated, timelines=timelines)
        sizes = tuple(map(max, sizes, (*first.gpus, first.host)))
    return ComputeBuffers(gpus=sizes[:-1], host=sizes[-1])


def largest(timelines: Iterable[Timeline]) -> ComputeBuffers:
    """Buffers that hold each of these graphs."""
    sizes = tuple(map(max, zip(*map(fill, timelines), strict=True)))
    return ComputeBuffers(gpus=sizes[:-1], host=sizes[-1])


def next_token_buffers(
    layout: Layout, settings: Settings, placement: Placement, weight_bytes: Mapping[tuple[str, int | None], int] | None = None
) -> ComputeBuffers:
    """The compute buffers of the context that runs the first next-token layer. Arguments and NotModelled as in `compute_buffers`."""
    from runlocal.engines.ggml.graph.nextn import PICKED, build_next, head_of, next_layout, without_head

    head = head_of(layout)
    if head is None or layout.architecture not in PICKED:
        raise NotModelled(f"the graph of the next-token layers of {layout.architecture}")
    family, devices = family_of(layout), devices_of(placement, keeps_pins=False)
    behind = without_head(next_layout(layout))
    copied = weight_bytes if weight_bytes and copies_weights(layout.architecture, placement) else {}
    context = Context(behind, family, settings, devices, copied)
    context.has_windows = any(context.sees_window(block) for block, _ in layout.placed)
    build_next(context, head, layers_of(behind)[layout.layers], layout.layers, PICKED[layout.architecture])
    order = schedule(context.graph, devices.host, PIPELINE_COPIES if placement.pipelined else 1, fuses_routing=False)
    sizes = reserve(order.nodes, order.leaves, [GPU_ALIGNMENT] * devices.host + [HOST_ALIGNMENT])
    return ComputeBuffers(gpus=sizes[:-1], host=sizes[-1])


def _lay_out(context: Context, layers: Sequence[Layer], built: Sequence[int], runs: Sequence[Run], placement: Placement, *, fuses_routing: bool) -> Laid:
    """Builds the graph of those layers, cuts it up and hands it to the allocator."""
    devices = context.devices
    entries = build(context, layers, built)
    order = schedule(context.graph, devices.host, PIPELINE_COPIES if placement.pipelined else 1, fuses_routing=fuses_routing)
    place_of = {node: position for position, node in enumerate(order.nodes)} if runs else {}
    # What enters a layer is computed by the layer before; the layer's own nodes are those behind it.
    repeats = [Repeat(start=place_of[entries[run.built_end - run.period]] + 1, end=place_of[entries[run.end]] + 1, times=run.times) for run in runs]
    rounds: list[tuple[int, int]] = []
    found = timeline(order.nodes, order.leaves, [GPU_ALIGNMENT] * devices.host + [HOST_ALIGNMENT], repeats)
    sizes = fill(found, rounds)
    return Laid(times=tuple(run.times for run in runs), rounds=tuple(rounds), sizes=sizes, events=found)


def _from_template(context: Context, layers: Sequence[Layer], placement: Placement, templates: "Templates", *, fuses_routing: bool) -> Laid | None:
    """The graph as it was laid out for other weights, with the bytes of these; None where more than places hangs on them."""
    from runlocal.engines.ggml.graph.copies import marked, template  # one GPU that holds everything copies none

    weights = context.weight_bytes
    key = (context.settings, context.devices, placement.pipelined, fuses_routing, tuple(weights))
    if key not in templates:
        other = Context(context.layout, context.family, context.settings, context.devices, marked(weights))
        templates[key] = template(_lay_out(other, layers, range(len(layers)), (), placement, fuses_routing=fuses_routing).events, len(weights))
    found = templates[key]
    if found is None:
        return None
    events = found.filled(weights)
    return Laid(times=(), rounds=(), sizes=fill(events), events=events)


def copies_weights(architecture: str, placement: Placement) -> bool:
    """Whether a step copies weights from where they lie to where they are computed with. Without a GPU there is one place."""
    if not placement.gpus:
        return False
    family = FAMILIES.get(architecture)
    return placement.host_experts > 0 or not placement.all_on_gpus or (family is not None and (family.down_on_host or family.output_on_host))


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
