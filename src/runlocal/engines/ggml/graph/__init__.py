"""llama.cpp's graphs as its allocator sees them: what is computed in which order, how large, and where.

A graph is built from the blocks of a layout in the order of llama.cpp's own builders, cut into splits as ggml's scheduler does, and laid
out by ggml's allocator (`engines/ggml/allocator.py`). So the compute buffers follow from shapes alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runlocal.core.cache import CacheKind
from runlocal.core.layout import Block, Layout
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.engines.ggml.allocator import Repeat, reserve
from runlocal.engines.ggml.graph.context import DOWN, Context, Devices
from runlocal.engines.ggml.graph.decoder import Layer, NotModelled, build, layers_of
from runlocal.engines.ggml.graph.family import FAMILIES, Family
from runlocal.engines.ggml.graph.schedule import assign, schedule
from runlocal.engines.ggml.graph.tensors import F32
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings
from runlocal.engines.ggml.weights import cuda_bytes, host_bytes
from runlocal.quants.gguf import Stored

__all__ = ["ComputeBuffers", "NotModelled", "compute_buffers", "copies_weights", "copy_bytes", "keeps_flash_attention", "next_token_buffers"]

GPU_ALIGNMENT = 128  # ggml_backend_cuda_buffer_type_get_alignment
HOST_ALIGNMENT = 32  # TENSOR_ALIGNMENT of ggml's CPU buffers
PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES
_LONGEST_PERIOD = 8
Known = dict[object, list["Laid"]]
_KEPT = 2  # periods of a pattern that are built first; the last of them stands for the rest
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
    """

    times: tuple[int, ...]
    rounds: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]

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
    Raises NotModelled (a ValueError) where the architecture's graph is not built here.
    """
    family = _family(layout)
    kept = settings.hidden_kept and not (family.outputs_normed or family.outputs_last)
    if kept:
        family = family._replace(outputs_normed=True)
    if settings.flash_attention and F32.name in (settings.type_k.name, settings.type_v.name):
        raise NotModelled("flash attention on a cache in F32")
    layers = layers_of(layout)
    devices = _devices(placement, keeps_pins=not as_estimated)
    copied = weight_bytes if weight_bytes and copies_weights(layout.architecture, placement) else {}
    context = Context(layout, family, settings, devices, copied)
    sizes_of = _sizes_by_layer(copied)
    # States are loaded ahead of what enters their layer, so on each device the last of them are read for the last time one layer early.
    marks = [(type(layer.mixer), device) for layer, device in zip(layers, devices.layers, strict=False)]
    last = {mark: index for index, mark in enumerate(marks)}
    kinds = [
        (layer, mark, family.kind_of(index), sizes_of.get(index), last[mark] == index, index < placement.host_experts)
        for index, (layer, mark) in enumerate(zip(layers, marks, strict=True))
    ]
    # Copies for several steps are kept apart, so those of every layer count, and so do the tensors of zeros that indexers unmask tokens with.
    # What all layers read from one tensor ties them together.
    cached = {cache.kind for cache in layout.caches()}
    tied = CacheKind.INDEXER in cached or context.layer_input_size > 0 or ((family.down_on_host or settings.flash_on_host) and placement.pipelined)
    runs = [] if all_layers or tied else list(_runs(kinds, _KEPT_WITH_STATES if CacheKind.RECURRENT in cached else _KEPT))
    left_out = {index for run in runs for index in range(run.built_end, run.end)}
    built = [index for index in range(len(layers)) if index not in left_out]
    times, alike = tuple(run.times for run in runs), None
    if known is not None:
        patterns = tuple((built.index(run.first), run.period) for run in runs)
        key = (settings, devices._replace(layers=()), placement.pipelined, fuses_routing, tuple(kinds[index] for index in built), patterns)
        alike = next((laid for laid in known.setdefault(key, []) if laid.holds_for(times)), None)
    if alike is None:
        alike = _lay_out(context, layers, built, runs, placement, fuses_routing=fuses_routing)
        if known is not None:
            known[key].append(alike)
    sizes = alike.sizes
    if family.reserved_alone and settings.sequences > 1:
        one = settings._replace(sequences=1, resting=settings.resting + settings.sequences - 1)
        alone = compute_buffers(layout, one, placement, weight_bytes, all_layers=all_layers, fuses_routing=fuses_routing, as_estimated=as_estimated)
        sizes = tuple(map(max, sizes, (*alone.gpus, alone.host)))
    if kept:
        # Reserved as if rows for the logits were picked in the last layer; the first step finds out that they are not.
        first = compute_buffers(layout, settings._replace(hidden_kept=False), placement, weight_bytes, all_layers=all_layers, as_estimated=as_estimated)
        sizes = tuple(map(max, sizes, (*first.gpus, first.host)))
    return ComputeBuffers(gpus=sizes[:-1], host=sizes[-1])


def next_token_buffers(
    layout: Layout, settings: Settings, placement: Placement, weight_bytes: Mapping[tuple[str, int | None], int] | None = None
) -> ComputeBuffers:
    """The compute buffers of the context that runs the first next-token layer. Arguments and NotModelled as in `compute_buffers`."""
    from runlocal.engines.ggml.graph.nextn import PICKED, build_next, head_of, next_layout, without_head

    head = head_of(layout)
    if head is None or layout.architecture not in PICKED:
        raise NotModelled(f"the graph of the next-token layers of {layout.architecture}")
    family, devices = _family(layout), _devices(placement, keeps_pins=False)
    behind = without_head(next_layout(layout))
    copied = weight_bytes if weight_bytes and copies_weights(layout.architecture, placement) else {}
    context = Context(behind, family, settings, devices, copied)
    context.has_windows = any(context.sees_window(block) for block, _ in layout.placed)
    build_next(context, head, layers_of(behind)[layout.layers], layout.layers, PICKED[layout.architecture])
    order = schedule(context.graph, devices.host, PIPELINE_COPIES if placement.pipelined else 1, fuses_routing=False)
    sizes = reserve(order.nodes, order.leaves, [GPU_ALIGNMENT] * devices.host + [HOST_ALIGNMENT])
    return ComputeBuffers(gpus=sizes[:-1], host=sizes[-1])


def _lay_out(context: Context, layers: Sequence[Layer], built: Sequence[int], runs: Sequence["_Run"], placement: Placement, *, fuses_routing: bool) -> Laid:
    """Builds the graph of those layers, cuts it up and hands it to the allocator."""
    devices = context.devices
    entries = build(context, layers, built)
    order = schedule(context.graph, devices.host, PIPELINE_COPIES if placement.pipelined else 1, fuses_routing=fuses_routing)
    place_of = {node: position for position, node in enumerate(order.nodes)} if runs else {}
    # What enters a layer is computed by the layer before; the layer's own nodes are those behind it.
    repeats = [Repeat(start=place_of[entries[run.built_end - run.period]] + 1, end=place_of[entries[run.end]] + 1, times=run.times) for run in runs]
    rounds: list[tuple[int, int]] = []
    sizes = reserve(order.nodes, order.leaves, [GPU_ALIGNMENT] * devices.host + [HOST_ALIGNMENT], repeats, rounds)
    return Laid(times=tuple(run.times for run in runs), rounds=tuple(rounds), sizes=sizes)


def keeps_flash_attention(layout: Layout, settings: Settings, placement: Placement) -> bool:
    """Whether `auto` leaves flash attention on (llama_context::resolve_fused_ops): in a step of a token per sequence every layer's runs on its device.

    A layer's own weights draw it there. Where a state follows that lies elsewhere, it is that which does.
    """
    layers, devices = layers_of(layout), _devices(placement, keeps_pins=True)
    step = settings._replace(ubatch_tokens=settings.sequences, output_rows=settings.sequences)
    context = Context(layout, _family(layout), step, devices, defaultdict(int))
    build(context, layers, range(len(layers)))
    assign(context.graph, devices.host)
    attending = [device for layer, device in zip(layers, devices.layers, strict=False) if layer.mixer and _attends(layer.mixer)]
    return [node.device for node in context.graph.nodes if node.op == "FLASH_ATTN_EXT"] == attending


def _attends(block: Block) -> bool:
    """Whether a block is attention: it keeps something per token, perhaps a state beside it, or reads what another layer keeps."""
    kinds = {cache.kind for cache in block.caches((0,))}
    return kinds != {CacheKind.RECURRENT}


def _family(layout: Layout) -> Family:
    family = FAMILIES.get(layout.architecture)
    if family is None:
        raise NotModelled(f"the graph of {layout.architecture}")
    return family if layout.deepstack or not family.deepstack else family._replace(deepstack=0)


def _devices(placement: Placement, *, keeps_pins: bool) -> Devices:
    names = [*placement.devices(), HOST]
    return Devices(
        layers=tuple(names.index(device) for device in placement.layers),
        output=names.index(placement.output),
        host_experts=placement.host_experts,
        cache_on_host=placement.cache_on_host,
        host=len(names) - 1,
        keeps_pins=keeps_pins,
    )


def copies_weights(architecture: str, placement: Placement) -> bool:
    """Whether a step copies weights from where they lie to where they are computed with."""
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


class _Run(NamedTuple):
    """Layers that repeat a pattern.

    first: where the pattern begins
    period: its length in layers
    times: how often it recurs behind the periods that are built
    kept: how many are
    """

    first: int
    period: int
    times: int
    kept: int

    @property
    def built_end(self) -> int:
        """The first layer that is left out."""
        return self.first + self.kept * self.period

    @property
    def end(self) -> int:
        """The layer behind those that are left out."""
        return self.built_end + self.times * self.period


def _runs(kinds: Sequence[object], kept: int) -> Iterator[_Run]:
    """The patterns worth leaving out, in order. The last layer is always built: it alone picks the rows for the logits."""
    numbers: dict[object, int] = {}
    series = [numbers.setdefault(kind, len(numbers)) for kind in kinds[:-1]]
    first = 0
    while first < len(series):
        run = _run_from(series, first, kept)
        if run:
            yield run
        first = run.end if run else first + 1


def _run_from(series: Sequence[int], first: int, kept: int) -> _Run | None:
    for period in range(1, _LONGEST_PERIOD + 1):
        end = first + period
        while end < len(series) and series[end] == series[end - period]:
            end += 1
        # One more period follows, because a split may reach into the next layer.
        times = (end - first) // period - kept - 1
        if times > 0:
            return _Run(first=first, period=period, times=times, kept=kept)
    return None
