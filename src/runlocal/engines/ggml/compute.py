"""The compute buffer: what llama.cpp's graph allocator reserves for one step of `ubatch` tokens.

For a given model the buffer is a term that follows the masks plus one constant, in f32 values per token of the ubatch
(S = masks + K, bytes = 4 × ubatch × S). K was measured for some models; for the others it follows from the shape, block by block:
each block has a moment at which most of its activations are alive, and the buffer holds the largest.
"""

from collections.abc import Iterator, Mapping

from runlocal.architectures.blocks.attention import Attention, LatentAttention
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp
from runlocal.core.cache import CacheKind
from runlocal.core.layout import Layout
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings
from runlocal.engines.ggml.weights import INPUTS, Weight

F32_BYTES, F16_BYTES = 4, 2
PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES
OFFLOADED_ROWS = 32  # from this many rows on, a product with a matrix on the host is computed on the GPU (`offload_op`)
# Positions, output ids and alignment: what is left over every measured constant, in values per token.
SMALL_INPUTS = 5
QUANTIZED_INPUTS = 45
_PARALLEL = ("cohere2", "phi2")  # these keep the attention's output alive beside the MLP
_PARALLEL_SCRATCH = ("cohere2", "command-r")  # and in these the unpacked cache lies beside the MLP too
_DEEPSTACK_TAPS = {"qwen3vl": 3, "qwen3vlmoe": 3}


class Measured(NamedTuple):
    """Constants of one model, in f32 values per token.

    flash, flash_quantized, plain: K with flash attention, with it and a quantized cache, without it
    logits_excess: (least, most) that a whole ubatch of logits adds beyond the larger of the two
    """

    flash: int
    flash_quantized: int | None
    plain: int | None
    logits_excess: tuple[int, int]


class Peak(NamedTuple):
    """A moment of the graph.

    name: which
    values: f32 values per token alive then, without masks
    weights: roles of the matrices that are copied to the GPU then, where they lie on the host
    """

    name: str
    values: float
    weights: tuple[str, ...]


class Buffer(NamedTuple):
    """A compute buffer.

    bytes: its size
    measured: whether the constant behind it is a measurement
    because: the formula with its numbers
    """

    bytes: int
    measured: bool
    because: str


def gpu_buffer(layout: Layout, settings: Settings, placement: Placement, weights: tuple[Weight, ...], device: str, known: Measured | None) -> Buffer:
    """The compute buffer of one GPU.

    weights: every weight on its device; those on the host are copied over for a step, the largest at a time
    known: the model's measured constants, used where this GPU holds all of the model
    """
    held = {layer for layer, place in enumerate(placement.layers) if place == device and layer < layout.layers}
    # Layers on the host are computed on a GPU too once a step is large enough: the first GPU takes them.
    if device == placement.devices()[0]:
        held |= {layer for layer, place in enumerate(placement.layers) if place == HOST and layer < layout.layers}
    masks = _masks(layout, settings, held)
    single = placement.gpus == 1
    peaks = _peaks_known(list(_peaks(layout, settings, held, known if single else None)), known if single else None)
    if device == placement.output or (placement.output == HOST and settings.output_rows >= OFFLOADED_ROWS):
        peaks += _logits(layout, settings, peaks, masks, known if single else None)
    from_host = _largest_on_host(weights, placement) if device == placement.devices()[0] or placement.experts_on_host else {}
    unit = F32_BYTES * settings.ubatch_tokens
    sized = [(round(unit * (peak.values + (0 if peak.name == "logits" else masks))) + max((from_host.get(role, 0) for role in peak.weights), default=0), peak) for peak in peaks]
    size, peak = max(sized, default=(0, Peak("nothing", 0, ())))
    because = f"4 B × {settings.ubatch_tokens} tokens × ({masks:,.0f} of masks + {peak.values:,.0f} at the {peak.name})"
    if peak.name == "logits":
        because = f"4 B × {settings.ubatch_tokens} tokens × {peak.values:,.0f} at the logits"
    if copied := max((from_host.get(role, 0) for role in peak.weights), default=0):
        because += f" + {copied:,} B of the largest matrix copied from the host"
    if placement.pipelined:
        inputs = 4 if device == placement.devices()[0] else 8
        copies = round(unit * ((PIPELINE_COPIES - 1) * (masks + _plain_values(layout, settings)) + inputs * layout.hidden_size))
        size += copies
        because += f" + {copies:,} B for {PIPELINE_COPIES} copies of the inputs that pass between GPUs"
    return Buffer(size, known is not None and single and placement.all_on_gpus, because)


def host_buffer(layout: Layout, settings: Settings, placement: Placement) -> int:
    """Bytes of the pinned host buffer: masks and embeddings, several times over where steps overlap."""
    everything = set(range(layout.layers))
    masks = _masks(layout, settings, everything)
    d, unit = layout.hidden_size, F32_BYTES * settings.ubatch_tokens
    plain = _plain_values(layout, settings)
    if placement.pipelined:
        return round(unit * (PIPELINE_COPIES * (masks + plain + d) + d))
    return round(unit * (masks + plain + 2 * d + SMALL_INPUTS))


def _masks(layout: Layout, settings: Settings, held: set[int]) -> float:
    """Values per token of the attention masks: f16 with flash attention, else f32; one for all cells, one for windows."""
    kinds = {cache.kind in (CacheKind.SLIDING, CacheKind.CHUNKED) and settings.windows: cache for cache in layout.caches() if cache.kind is not CacheKind.RECURRENT and held & set(cache.layers)}
    width = 0.5 if settings.flash_attention else 1.0
    return width * sum(settings.cells_of(cache) for cache in kinds.values())


def _plain_values(layout: Layout, settings: Settings) -> int:
    """Without flash attention V is written transposed, through an index per value and kind of cache."""
    if settings.flash_attention:
        return 0
    caches = [cache for cache in layout.caches() if cache.kind is not CacheKind.RECURRENT]
    kinds = {cache.kind for cache in caches}
    return 2 * max((cache.v_values for cache in caches), default=0) * len(kinds)


def _peaks(layout: Layout, settings: Settings, held: set[int], known: Measured | None) -> Iterator[Peak]:
    d = layout.hidden_size
    blocks = [block for block, layers in layout.placed if held & set(layers)]
    attention = [block for block in blocks if isinstance(block, Attention)]
    query = max((block.query_width for block in attention if not block.fused), default=0)
    # The experts' peak leaves room for the attention's output or the router's scores, whichever is wider.
    output = max((block.output_width for block in attention), default=0) or max((b.heads * b.value_dim for b in blocks if isinstance(b, LatentAttention)), default=0)
    extra: float = (d if layout.architecture in _PARALLEL else 0) + _DEEPSTACK_TAPS.get(layout.architecture, 0) * d
    shared = 0
    scratch = _copied_cache(layout, settings, held)
    if scratch and layout.architecture in _PARALLEL_SCRATCH:
        extra = d + scratch
    for block in blocks:
        if isinstance(block, DenseMlp):
            width = block.intermediate_size
            yield Peak("MLP", (3 if block.gated else 1) * width + 2 * d + query + extra + SMALL_INPUTS, ("ffn_up", "ffn_gate", "ffn_down"))
        elif isinstance(block, ExpertMlp):
            shared = max(shared, 2 * block.used * d if block.shared_size else 0)
            yield Peak("experts", _expert_values(block, d, output) + SMALL_INPUTS, ("ffn_up_exps", "ffn_gate_exps", "ffn_down_exps"))
    weights = ("attn_q", "attn_qkv", "attn_output", "attn_q_b")
    for block in blocks:
        if isinstance(block, Attention):
            yield _attention_peak(block, settings, d, scratch, shared, weights, known)
        elif isinstance(block, LatentAttention):
            yield _latent_peak(block, settings, d, scratch, weights, known)


def _peaks_known(peaks: list[Peak], known: Measured | None) -> list[Peak]:
    """The widest block takes the measured constant, and no other block may exceed it."""
    blocks = [peak for peak in peaks if peak.name in ("MLP", "experts")]
    if known is None or not blocks:
        return peaks
    widest = max(blocks, key=lambda peak: peak.values)
    return [
        peak._replace(values=known.flash, name=f"{peak.name} (measured)") if peak is widest else peak._replace(values=min(peak.values, known.flash)) if peak in blocks else peak
        for peak in peaks
    ]


def _expert_values(block: ExpertMlp, d: int, output: int) -> int:
    wide, out = block.used * block.intermediate_size, block.used * d
    if block.used == 1:
        return 3 * wide + 2 * d + output
    if not block.gated:
        return (wide + out if out <= wide else wide + 2 * out) + 2 * d + output
    experts = max(3 * wide, 2 * out) if out <= 2 * wide else 3 * wide + out if out <= 3 * wide else 3 * wide + 2 * out
    return experts + 2 * d + max(output, d + 3 * block.count)


def _attention_peak(block: Attention, settings: Settings, d: int, scratch: float, shared: int, weights: tuple[str, ...], known: Measured | None) -> Peak:
    query = 0 if block.fused else block.query_width
    if not settings.flash_attention:
        indices = 2 * block.value_width * (2 if block.window_tokens and settings.windows else 1)
        constant = 2 * d + 2 * query + indices if known is None or known.plain is None else known.plain
        return Peak("attention scores", block.heads * settings.cells + constant, weights)
    if scratch and known is not None and known.flash_quantized is not None:
        return Peak("attention (measured)", known.flash_quantized + scratch, weights)
    held_over = 2 * query if not block.fused else block.query_width
    return Peak("attention", 2 * d + held_over + (shared + QUANTIZED_INPUTS if scratch else 0) + scratch, weights)


def _latent_peak(block: LatentAttention, settings: Settings, d: int, scratch: float, weights: tuple[str, ...], known: Measured | None) -> Peak:
    heads = block.heads
    keys = heads * (block.nope_dim + block.rope_dim)
    if not settings.flash_attention:
        constant = 3 * d + 2 * heads * block.latent_width + keys if known is None or known.plain is None else known.plain
        return Peak("attention scores", heads * settings.cells + constant, weights)
    if scratch and known is not None and known.flash_quantized is not None:
        return Peak("attention (measured)", known.flash_quantized + scratch, weights)
    values = heads * block.kv_lora_rank
    return Peak("attention", 2 * d + heads * block.latent_width + keys + (2 * values if scratch else values) + scratch, weights)


def _copied_cache(layout: Layout, settings: Settings, held: set[int]) -> float:
    """The flash-attention kernels read f16: a quantized cache of one layer is unpacked inside the operation, in values per token of the ubatch."""
    if not (settings.flash_attention and settings.kv_is_quantized):
        return 0.0
    widest = 0
    for cache in layout.caches():
        if cache.kind is CacheKind.RECURRENT or not held & set(cache.layers):
            continue
        values = (cache.k_values if settings.type_k.block_elements > 1 else 0) + (cache.v_values if settings.type_v.block_elements > 1 else 0)
        widest = max(widest, settings.cells_of(cache) * settings.streams * values)
    return widest * F16_BYTES / (F32_BYTES * settings.ubatch_tokens)


def _logits(layout: Layout, settings: Settings, peaks: list[Peak], masks: float, known: Measured | None) -> list[Peak]:
    rows = settings.output_rows / settings.ubatch_tokens
    values = (layout.vocabulary_size + layout.hidden_size) * rows
    if rows < 1:
        return [Peak("logits", values, ("output", "token_embd"))]
    body = max((peak.values + masks for peak in peaks if "attention" not in peak.name), default=0)
    if known is not None:
        excess = sum(known.logits_excess) / 2
    else:
        shared = [block for block, _ in layout.placed if isinstance(block, ExpertMlp) and block.shared_size]
        excess = max((2 * block.used * block.hidden_size + 2 * block.hidden_size for block in shared), default=0)
    return [Peak("logits", max(body, values) + excess, ("output", "token_embd"))]


def _largest_on_host(weights: tuple[Weight, ...], placement: Placement) -> Mapping[str, int]:
    """The largest matrix of each role that lies on the host; embeddings are looked up there and only copied as the output."""
    largest: dict[str, int] = {}
    for weight in weights:
        if weight.device == HOST and (weight.role not in INPUTS or placement.output == HOST):
            largest[weight.role] = max(largest.get(weight.role, 0), weight.largest_bytes)
    return largest
