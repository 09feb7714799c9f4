"""Attention residuals (src/models/kimi-k3.cpp: res_push, res_mix).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/kimi-k3.cpp
"""

from runlocal.architectures.blocks.residuals import AttentionResiduals
from runlocal.core.layout import Block
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.family import NotModelled
from runlocal.engines.ggml.graph.layers import Layer, feed_forward, mixed
from runlocal.engines.ggml.graph.tensors import F32, concat, cont, like, new, reshape, sum_rows, view

KEPT = "kept"


def mixing_layer(c: Context, blocks: Layer, block: Block, x: Node, layer: int) -> Node:
    """A layer whose halves each read the stream mixed with what was kept; a stream that is kept starts anew."""
    residuals = next((other for other in blocks.others if isinstance(other, AttentionResiduals)), None)
    if residuals is None or blocks.mlp is None:
        raise NotModelled("half a layer with attention residuals")
    d = residuals.hidden_size
    read = mix(c, x, c.weight("attn_res_score", layer, d))
    keeps = layer % residuals.block_layers == 0
    if keeps:
        kept = reshape(x, d, 1, c.tokens)
        c.shared[KEPT] = concat(c.shared[KEPT], kept, 1) if KEPT in c.shared else kept
    read = c.norm(read, "attn_norm", layer)
    c.graph.expand(read)
    out = mixed(c, block, read, layer)
    x = out if keeps else like("ADD", x, out)
    read = c.norm(mix(c, x, c.weight("ffn_res_score", layer, d)), "ffn_norm", layer)
    return like("ADD", x, feed_forward(c, blocks.mlp, read, layer))


def mix(c: Context, x: Node, scores: Node) -> Node:
    """The stream and all that was kept, weighed by their scores."""
    if KEPT not in c.shared:
        return x
    kept = c.shared[KEPT]
    count, tokens = kept.shape[1], c.tokens
    of_kept = reshape(sum_rows(like("MUL", like("RMS_NORM", kept), scores)), count, tokens)
    own = sum_rows(like("MUL", like("RMS_NORM", x), scores))
    weights = like("SOFT_MAX", concat(of_kept, own))
    row, size = weights.strides[1], F32.block_bytes
    into, beside = cont(view(weights, (count, tokens), (row,))), cont(view(weights, (1, tokens), (row,), count * size))
    return like("ADD", new("DSV4_HC_PRE", F32, (kept.shape[0], tokens, 1, 1), kept, into), like("MUL", x, beside))
