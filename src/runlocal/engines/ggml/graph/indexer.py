"""Sparse attention (DSA): an indexer chooses the tokens that attention looks at (src/models/deepseek32.cpp, src/models/glm-dsa.cpp).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/deepseek32.cpp
"""

from runlocal.architectures.blocks.attention import Indexer
from runlocal.core.tensor import StorageType
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.attention import rope, store_keys
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.tensors import F32, cont, lightning_indexer, like, mul_mat, new, reshape, set_rows, top_k, view


def choose(c: Context, block: Indexer, queries: Node, x: Node, layer: int) -> Node:
    """The ids of the tokens that a layer looks at. queries: compressed, as attention's own are made of"""
    inputs, settings, d, dim, heads = c.indexer_inputs(block), c.settings, block.hidden_size, block.head_dim, block.heads
    q = mul_mat(c.weight("indexer.attn_q_b", layer, block.query_width, heads * dim), queries)
    q = mul_mat(inputs.rotation, rope(c, reshape(q, dim, heads, c.tokens), layer))
    k = like("NORM", mul_mat(c.weight("indexer.attn_k", layer, d, dim), x))
    if c.pins:
        k.device = c.devices.layers[layer]
    k = like("ADD", like("MUL", k, c.weight("indexer.k_norm", layer, dim)), c.weight("indexer.k_norm.bias", layer, dim))
    k = mul_mat(inputs.rotation, rope(c, reshape(k, dim, 1, c.tokens), layer))
    cache = c.cache(settings.type_k, layer, dim, settings.cells, settings.streams)
    c.graph.expand(store_keys(c, cache, k, inputs.rows))
    weights = mul_mat(c.weight("indexer.proj", layer, d, heads), x)
    row, streams = cache.strides[1], settings.streams
    keys = view(cache, (dim, 1, settings.cells, streams), (row, row, cache.strides[2]))
    each = c.tokens // streams
    q = view(q, (dim, heads, each, streams), (q.strides[1], q.strides[2], q.strides[3] // streams))
    weights = view(weights, (heads, each, 1, streams), (weights.strides[1], weights.strides[2] // streams, weights.strides[3] // streams))
    scores = lightning_indexer(q, keys, like("SCALE", weights), inputs.mask)
    return cont(top_k(scores, min(settings.cells, block.top_k)))


def unmasked(c: Context, mask: Node, chosen: Node, zero: StorageType = F32) -> Node:
    """The mask of a layer: everything is hidden but what was chosen. The zeros that uncover it are a tensor of every layer."""
    cells, each, _, streams = mask.shape
    count = chosen.shape[0]
    hidden = like("FILL", mask)
    hidden = view(hidden, (1, cells, each, streams), (hidden.strides[0], hidden.strides[1], hidden.strides[2]))
    ids = view(chosen, (count, each, streams, 1), (chosen.strides[1], chosen.strides[2], streams * chosen.strides[3]))
    zeros = like("FILL", new(NONE, zero, (1, count, each, streams)))
    shown = set_rows(hidden, zeros, ids)
    return like("ADD", view(shown, (cells, each, 1, streams), (shown.strides[2], shown.strides[3], shown.strides[3])), mask)
