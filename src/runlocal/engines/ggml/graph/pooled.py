"""Latent attention to chosen pools of tokens, over several residual streams (src/models/glm5-next.cpp, src/llama-memory-hybrid-idx.cpp).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/glm5-next.cpp
"""

from collections.abc import Sequence

from runlocal.architectures.blocks.pooled import ROWS, PooledLatentAttention
from runlocal.core.layout import Block
from runlocal.core.noun import NamedTuple
from runlocal.core.units import pad
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.attention import attention, store_keys
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.family import NotModelled
from runlocal.engines.ggml.graph.hyper import gather, scatter
from runlocal.engines.ggml.graph.layers import Layer, feed_forward, mixed
from runlocal.engines.ggml.graph.tensors import (
    F16,
    F32,
    I32,
    I64,
    concat,
    cont,
    get_rows,
    given,
    lightning_indexer,
    like,
    look,
    mul_mat,
    new,
    permute,
    repeat,
    reshape,
    set_rows,
    sum_rows,
    top_k,
    transpose,
    view,
)

_POOL_PADDING = 64  # kpool_pad
_MOST_GATHERED = 16  # tokens of a step up to which what was chosen is gathered, not masked


class PoolInputs(NamedTuple):
    """What all layers read beside their caches (llm_graph_input_kpool). When memory is reserved every pool of a full cache counts as new.

    cells: the cell of each pool's key
    members: the cells of its tokens
    mask: who sees which pool
    tail: the tokens behind the last pool
    live: which of the chosen are there
    new_members, new_cells: the same of the pools that this step completes
    rows: cells that new tokens go to
    """

    cells: Node
    members: Node
    mask: Node
    tail: Node
    live: Node
    new_members: Node
    new_cells: Node
    rows: Node


def prepare(c: Context, layers: Sequence[Layer], x: Node) -> Node:
    """Makes the inputs, before any layer; the embedding enters the first as it is."""
    block = next((layer.mixer for layer in layers if isinstance(layer.mixer, PooledLatentAttention)), None)
    if block is None:
        raise NotModelled("no layer with latents")
    settings, size = c.settings, block.pool_tokens
    complete = settings.cells // size * settings.sequences
    pools = max(_POOL_PADDING, pad(complete + 1, _POOL_PADDING))
    chosen = size * min(pools, block.top_k // size) + size - 1
    inputs = PoolInputs(
        cells=given(I32, pools),
        members=given(I32, size, pools),
        mask=given(F16, pools, c.tokens),
        tail=given(I32, size - 1, c.tokens),
        live=given(F32, chosen, 1, 1, c.tokens),
        new_members=given(I32, size, max(complete, 1)),
        new_cells=given(I64, max(complete, 1)),
        rows=given(I64, c.tokens),
    )
    for node in inputs[:5]:
        c.graph.expand(node)
    c.shared.update(inputs._asdict())
    return x


def streamed_layer(c: Context, blocks: Layer, block: Block, x: Node, layer: int) -> Node:
    """A layer over several residual streams."""
    connections = blocks.connections
    if connections is None or blocks.mlp is None:
        raise NotModelled("half a layer over several residual streams")
    read = gather(c, connections, "attn", x, layer)
    normed = c.norm(read.mixed, "attn_norm", layer)
    c.graph.expand(normed)
    x = scatter(c, mixed(c, block, normed, layer), x, read, layer)
    read = gather(c, connections, "ffn", x, layer)
    return scatter(c, feed_forward(c, blocks.mlp, c.norm(read.mixed, "ffn_norm", layer), layer), x, read, layer)


def attend_pooled(c: Context, block: PooledLatentAttention, x: Node, layer: int) -> Node:
    """The attention half of a layer, output projection included."""
    latent, inputs = block.latent, PoolInputs(**c.shared)
    d, heads, rank, tokens, query_rank = latent.hidden_size, latent.heads, latent.kv_lora_rank, c.tokens, latent.q_lora_rank or 0
    cache_inputs, settings = c.cache_inputs(latent), c.settings
    compressed = c.norm(mul_mat(c.weight("attn_q_a", layer, d, query_rank), x), "attn_q_a_norm", layer)
    q = reshape(mul_mat(c.weight("attn_q_b", layer, query_rank, heads * latent.nope_dim), compressed), latent.nope_dim, heads, tokens)
    kv = reshape(c.norm(mul_mat(c.weight("attn_kv_a_mqa", layer, d, rank), x), "attn_kv_a_norm", layer), rank, 1, tokens)
    q = permute(mul_mat(c.weight("attn_k_b", layer, latent.nope_dim, rank, heads), permute(q)))
    ids = _choose(c, block, inputs, compressed, x, layer)
    gathers = tokens <= _MOST_GATHERED and settings.cells > ids.shape[0]
    mask = cache_inputs.mask if gathers else _unmasked(c, inputs, cache_inputs.mask, ids)
    for node in (q, kv):
        c.graph.expand(node)
    cache = c.cache(settings.type_k, layer, rank, settings.cells, settings.streams)
    c.graph.expand(store_keys(c, cache, kv, cache_inputs.k_rows))
    decompress = c.weight("attn_v_b", layer, rank, latent.value_dim, heads)
    if gathers:
        c.graph.expand(mask)
        out = _gathered(c, inputs, q, cache, ids, decompress)
    else:
        keys = view(cache, (rank, 1, settings.cells, settings.streams), (cache.strides[1], cache.strides[1], cache.strides[2]))
        out = attention(c, q, keys, view(keys, keys.shape, keys.strides[1:]), mask, decompress=decompress)
    return mul_mat(c.weight("attn_output", layer, heads * latent.value_dim, d), out)


def _choose(c: Context, block: PooledLatentAttention, inputs: PoolInputs, compressed: Node, x: Node, layer: int) -> Node:
    """The cells of the tokens that a layer looks at (build_kpool_select)."""
    settings, d, dim, heads, tokens, size = c.settings, block.latent.hidden_size, block.head_dim, block.heads, c.tokens, block.pool_tokens
    queries = reshape(mul_mat(c.weight("indexer.attn_q_b", layer, compressed.shape[0], heads * dim), compressed), dim, heads, tokens)
    key = like("NORM", mul_mat(c.weight("indexer.attn_k", layer, d, dim), x))
    if c.pins:
        key.device = c.devices.layers[layer]
    key = like("ADD", like("MUL", key, c.weight("indexer.k_norm", layer, dim)), c.weight("indexer.k_norm.bias", layer, dim))
    gate = mul_mat(c.weight("indexer_compressor_gate", layer, d, dim), x)
    nothing = like("FILL", new(NONE, F32, (dim, tokens, 1, 1)))
    packed = reshape(concat(concat(key, gate), nothing), ROWS * dim, 1, tokens)
    cache = c.cache(settings.type_k, layer, ROWS * dim, settings.cells, settings.streams)
    c.graph.expand(store_keys(c, cache, packed, inputs.rows))

    everywhere = settings.cells * settings.streams
    both, pooled = (view(cache, (width, everywhere), (cache.strides[1],), offset) for width, offset in ((2 * dim, 0), (dim, _row_bytes(cache, 2 * dim))))
    count = inputs.new_cells.shape[0]
    rows = reshape(get_rows(both, reshape(inputs.new_members, size * count)), 2 * dim, size, count)
    keys, gates = (view(rows, (dim, size, count), rows.strides[1:3], offset * F32.block_bytes) for offset in (0, dim))
    weights = cont(transpose(like("ADD", gates, c.weight("indexer_compressor_ape", layer, dim, size))))
    weights = reshape(like("SOFT_MAX", reshape(weights, size, dim * count)), size, dim, count)
    fresh = reshape(sum_rows(like("MUL", weights, cont(transpose(keys)))), dim, count)
    c.graph.expand(set_rows(pooled, fresh, inputs.new_cells))
    pools = inputs.cells.shape[0]
    pool_keys = reshape(get_rows(pooled, inputs.cells), dim, 1, pools)

    scores = lightning_indexer(queries, pool_keys, like("SCALE", mul_mat(c.weight("indexer.proj", layer, d, heads), x)), inputs.mask)
    most = min(pools, block.top_k // size)
    best = top_k(scores, most)
    order = new("ARGSORT", I32, (most, tokens, 1, 1), reshape(get_rows(reshape(scores, 1, pools, tokens), best), most, tokens))
    best = get_rows(reshape(new("CPY", F32, best.shape, best), 1, most, tokens), order)
    best = cont(reshape(best, most, tokens))
    best = new("CPY", I32, best.shape, best)
    ids = reshape(get_rows(inputs.members, reshape(best, most * tokens)), size * most, tokens)
    return concat(ids, inputs.tail)


def _unmasked(c: Context, inputs: PoolInputs, mask: Node, ids: Node) -> Node:
    """The mask of a layer: everything is hidden but what was chosen; what was chosen and is not there goes behind the cells."""
    cells, (count, tokens) = mask.shape[0], ids.shape[:2]
    seed = view(ids, (1,))
    seed = new("CPY", F32, seed.shape, seed)
    hidden = like("FILL", seed if mask.type is F32 else new("CPY", mask.type, seed.shape, seed))
    hidden = reshape(repeat(hidden, 1, cells + count, tokens), 1, cells + count, tokens)
    zeros = reshape(repeat(like("FILL", seed), 1, count, tokens), 1, count, tokens)
    live = like("EXP", reshape(inputs.live, count, tokens))
    behind = new("ARANGE", F32, (count, 1, 1, 1))
    places = like("ADD", like("MUL", like("SUB", new("CPY", F32, ids.shape, ids), behind), live), behind)
    places = reshape(new("CPY", I32, places.shape, places), count, tokens, 1)
    shown = set_rows(hidden, zeros, places)
    shown = like("ADD", view(shown, (cells, tokens), (shown.strides[2],)), reshape(mask, cells, tokens))
    return reshape(shown, *mask.shape)


def _gathered(c: Context, inputs: PoolInputs, q: Node, cache: Node, ids: Node, decompress: Node) -> Node:
    """A few tokens look at the latents that were chosen for each, and not at a mask."""
    (count, tokens), rank = ids.shape[:2], cache.shape[0]
    rows = view(cache, (rank, cache.shape[1] * cache.shape[2]), (cache.strides[1],))
    keys = reshape(get_rows(rows, reshape(ids, count * tokens)), rank, count, 1, tokens)
    (s0, s1, s2, s3), (n0, n1, n2, n3) = q.shape, q.strides
    scores = mul_mat(keys, look("PERMUTE", q, (s0, s3, s1, s2), (n0, n3, n1, n2)))
    scores = like("SOFT_MAX", scores, inputs.live)
    out = mul_mat(decompress, mul_mat(cont(transpose(keys)), scores))
    return reshape(cont(permute(out)), out.shape[0] * out.shape[2], tokens)


def _row_bytes(cache: Node, values: int) -> int:
    return values // cache.type.block_elements * cache.type.block_bytes
