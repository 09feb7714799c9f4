"""What llama.cpp makes of a workload: padded contexts, streams, batch sizes."""

from collections.abc import Mapping
from typing import Any

from runlocal.architectures.blocks.attention import Attention
from runlocal.core.cache import Cache, CacheKind
from runlocal.core.layout import Layout
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.core.workload import Workload

CELL_PADDING = 256  # llama_context pads n_ctx, and llama_kv_cache its cells, to this many


class Settings(NamedTuple):
    """A context as `llama_context` sets it up (src/llama-context.cpp).

    cells: cells of one stream (`n_ctx_seq`)
    streams: separate cell ranges of the cache: one if unified, else one per sequence; some architectures keep them apart in any case
    sequences: `n_seq_max`
    ubatch_tokens: tokens of one graph
    output_rows: rows of logits reserved per graph
    flash_attention: resolved, not asked
    type_k, type_v: storage types of the cache
    swa_full: windows keep the whole context
    windows: whether this architecture's loader applies windows at all
    flash_on_host: the host runs flash attention, because the GPU's kernels do not take heads of these widths
    v_in_rows: V is kept as with flash attention though there is none: what turns it off finds out only once the cache stands
    padded_v_values: width that every layer's V has without flash attention where their widths differ, else 0
    resting: sequences that states are kept for beside those of the graph
    snapshots: earlier states kept of each sequence, to go back to where guessed tokens were wrong
    hidden_kept: what the last layer yields is kept of every token, for next-token layers
    unfused: operations that run as several, for one would not run where its layer does
    positions: positions that blocks of tokens are chosen among: so many when memory is reserved, for the cache is empty then
    """

    cells: int
    streams: int
    sequences: int
    ubatch_tokens: int
    output_rows: int
    flash_attention: bool
    type_k: StorageType
    type_v: StorageType
    swa_full: bool
    windows: bool
    flash_on_host: bool = False
    v_in_rows: bool = False
    padded_v_values: int = 0
    resting: int = 0
    snapshots: int = 0
    hidden_kept: bool = False
    positions: int = CELL_PADDING
    unfused: tuple[str, ...] = ()

    def cells_of(self, cache: Cache) -> int:
        """Cells that one layer of `cache` holds per stream."""
        if cache.kind is CacheKind.CROSS:
            return cache.cells or 0
        if cache.ratio > 1:
            return pad(max(1, -(-self.cells // cache.ratio)), CELL_PADDING)
        if cache.kind not in (CacheKind.SLIDING, CacheKind.CHUNKED) or self.swa_full or not self.windows:
            return self.cells
        # One stream serves all sequences, so each needs its own window in it.
        window = (cache.window_tokens or 0) * (self.sequences if self.streams == 1 else 1)
        return pad(min(self.cells, window + self.ubatch_tokens), CELL_PADDING)

    @property
    def v_transposed(self) -> bool:
        """Whether every value of V is a row of its own."""
        return not self.flash_attention and not self.v_in_rows

    @property
    def kv_is_quantized(self) -> bool:
        return self.type_k.block_elements > 1 or self.type_v.block_elements > 1


def settle(
    layout: Layout, workload: Workload, types: Mapping[str, StorageType], facts: Mapping[str, Any], *, batch_tokens: int, ubatch_tokens: int, drafted: int = 0
) -> Settings:
    """The settings that llama.cpp arrives at.

    facts: `window_architectures`, `separate_stream_architectures`, `flash_attention_head_dims`, `without_flash_attention`
    batch_tokens, ubatch_tokens: what the runtime asks for (`-b`, `-ub`)
    drafted: tokens that are guessed ahead and then checked in one step, a row of logits each
    """
    sequences = workload.sequences
    pool = workload.pool_tokens if workload.pool_tokens is not None else workload.context_tokens * sequences
    context = pad(pool, CELL_PADDING)
    cells = context if workload.unified_kv else pad(context // sequences, CELL_PADDING)
    ubatch = min(context if layout.encoder else pool, max(batch_tokens, ubatch_tokens), ubatch_tokens)  # before the context is padded, but in encoders
    type_v = types[workload.cache_type_v.upper()]
    available = flash_is_available(layout, facts)
    flash = workload.flash_attention
    if flash is None:
        # A quantized V needs it, so that turns it on whatever the GPU can do (llama_init_from_model).
        flash = available or type_v.block_elements > 1
    without = layout.architecture in facts["without_flash_attention"]
    flash = flash and not without
    v_in_rows = not flash and not without and workload.flash_attention is None
    return Settings(
        cells=cells,
        streams=1 if workload.unified_kv and layout.architecture not in facts["separate_stream_architectures"] else sequences,
        sequences=sequences,
        ubatch_tokens=ubatch,
        output_rows=min(ubatch, workload.output_tokens or (ubatch if layout.pooling else sequences * (1 + drafted))),
        flash_attention=flash,
        type_k=types[workload.cache_type_k.upper()],
        type_v=type_v,
        swa_full=workload.swa_full,
        windows=layout.architecture in facts["window_architectures"],
        flash_on_host=flash and not available,
        v_in_rows=v_in_rows,
        padded_v_values=0 if flash or v_in_rows else _widest_of_several(layout),
    )


def _widest_of_several(layout: Layout) -> int:
    """The widest V where layers differ in it, else 0."""
    widths = {cache.v_values for cache in layout.caches() if cache.kind in (CacheKind.FULL, CacheKind.SLIDING, CacheKind.CHUNKED)}
    return max(widths) if len(widths) > 1 else 0


def flash_is_available(layout: Layout, facts: Mapping[str, Any]) -> bool:
    """Whether the CUDA kernels take the model's head widths; where one layer's do not, `auto` turns flash attention off for all."""
    supported = {tuple(pair) for pair in facts["flash_attention_head_dims"]}
    heads = (block for block, _ in layout.placed if isinstance(block, Attention) and not block.cached)
    return all((block.head_dim, block.value_dim) in supported for block in heads) and all(
        (cache.k_values // cache.heads, cache.v_values // cache.heads if cache.v_values else None) in supported
        or (cache.v_values == 0 and any(cache.k_values == k for k, _ in supported))
        for cache in layout.caches()
        if cache.k_values and cache.kind not in (CacheKind.RECURRENT, CacheKind.INDEXER)
    )
