"""Multi-head latent attention in its absorbed form (src/models/deepseek2.cpp; build_attn with llm_graph_input_attn_k)."""

from runlocal.architectures.blocks.attention import LatentAttention
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.attention import attention, rope, store_keys, through_cache
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.family import Rope
from runlocal.engines.ggml.graph.indexer import choose, unmasked
from runlocal.engines.ggml.graph.tensors import concat, cont, in_place, like, mul_mat, new, permute, reshape, view


def attend_latent(c: Context, block: LatentAttention, x: Node, layer: int) -> Node:
    """The attention half of a layer, output projection included."""
    if block.expanded:
        return _attend_expanded(c, block, x, layer)
    d, heads, tokens, rank = block.hidden_size, block.heads, c.tokens, block.kv_lora_rank
    key_dim = block.nope_dim + block.rope_dim
    if block.q_lora_rank:
        q = c.norm(mul_mat(c.weight("attn_q_a", layer, d, block.q_lora_rank), x), "attn_q_a_norm", layer)
        if block.indexer:
            c.chosen_tokens = choose(c, block.indexer, q, x, layer)
        q = mul_mat(c.weight("attn_q_b", layer, block.q_lora_rank, heads * key_dim), q)
    else:
        q = mul_mat(c.weight("attn_q", layer, d, heads * key_dim), x)
    q = reshape(q, key_dim, heads, tokens)
    both = mul_mat(c.weight("attn_kv_a_mqa", layer, d, block.latent_width), x)
    size, row = both.type.block_bytes, both.strides[1]
    k_rotary = view(both, (block.rope_dim, 1, tokens), (row, row), rank * size)
    latent = c.norm(view(both, (rank, tokens), (row,)), "attn_kv_a_norm", layer)
    q_plain = view(q, (block.nope_dim, heads, tokens), (q.strides[1], q.strides[2]))
    q_rotary = view(q, (block.rope_dim, heads, tokens), (q.strides[1], q.strides[2]), block.nope_dim * size)
    if c.family.rope is not Rope.NONE:
        q_rotary, k_rotary = rope(c, q_rotary, layer), rope(c, k_rotary, layer)
    absorbed = permute(mul_mat(c.weight("attn_k_b", layer, block.nope_dim, rank, heads), permute(q_plain)))
    queries = concat(absorbed, q_rotary)
    latent = reshape(latent, rank, 1, tokens)
    keys = concat(latent, k_rotary)
    if c.family.temperature == "all":
        queries = like("MUL", queries, c.temperature)
    out = _through_cache(c, block, queries, keys, latent, layer)
    if block.gate:
        out = like("MUL", out, like("SIGMOID", mul_mat(c.weight("attn_gate", layer, d, heads * block.value_dim), x)))
    return mul_mat(c.weight("attn_output", layer, heads * block.value_dim, d), out)


def _through_cache(c: Context, block: LatentAttention, q: Node, k: Node, v: Node, layer: int) -> Node:
    settings, inputs = c.settings, c.cache_inputs(block)
    for node in (q, v, k):
        c.graph.expand(node)
    cells, streams = inputs.cells, settings.streams
    cache = c.cache(settings.type_k, layer, block.latent_width, cells, streams)
    c.graph.expand(store_keys(c, cache, k, inputs.k_rows))
    keys = view(cache, (block.latent_width, 1, cells, streams), (cache.strides[1], cache.strides[1], cache.strides[2]))
    values = view(keys, (block.kv_lora_rank, *keys.shape[1:]), keys.strides[1:])
    decompress = c.weight("attn_v_b", layer, block.kv_lora_rank, block.value_dim, block.heads)
    mask = inputs.mask if c.chosen_tokens is None else unmasked(c, inputs.mask, c.chosen_tokens)
    return attention(c, q, keys, values, mask, decompress=decompress)


def _attend_expanded(c: Context, block: LatentAttention, x: Node, layer: int) -> Node:
    """The latent is expanded to keys and values of every head before they are cached (src/models/minicpm3.cpp)."""
    d, heads, tokens, rank = block.hidden_size, block.heads, c.tokens, block.kv_lora_rank
    plain, rotary, value = block.nope_dim, block.rope_dim, block.value_dim
    q = c.norm(mul_mat(c.weight("attn_q_a", layer, d, block.q_lora_rank or 0), x), "attn_q_a_norm", layer)
    q = mul_mat(c.weight("attn_q_b", layer, block.q_lora_rank or 0, heads * (plain + rotary)), q)
    size = q.type.block_bytes
    strides = ((plain + rotary) * size, heads * (plain + rotary) * size)
    q_plain, q_rotary = view(q, (plain, heads, tokens), strides), view(q, (rotary, heads, tokens), strides, plain * size)
    both = mul_mat(c.weight("attn_kv_a_mqa", layer, d, block.latent_width), x)
    row = both.strides[1]
    k_rotary = view(both, (rotary, 1, tokens), (row, row), rank * size)
    latent = c.norm(view(both, (rank, tokens), (row,)), "attn_kv_a_norm", layer)
    pairs = mul_mat(c.weight("attn_kv_b", layer, rank, heads * (plain + value)), latent)
    strides = ((plain + value) * size, heads * (plain + value) * size)
    k_plain = view(pairs, (plain, heads, tokens), strides)
    v = cont(view(pairs, (value, heads, tokens), strides, plain * size))
    # As measured: the rotary part of the queries is rotated where it lies.
    q = concat(q_plain, in_place(rope(c, q_rotary, layer)))
    k_rotary = rope(c, k_rotary, layer)
    k = concat(k_plain, new("REPEAT", k_rotary.type, q_rotary.shape, k_rotary))
    out = through_cache(c, block.whole, q, (k, v), layer)
    return mul_mat(c.weight("attn_output", layer, heads * value, d), out)
