"""Hyper-connections: several residual streams that every layer mixes (src/models/deepseek4.cpp: build_hc_pre, build_hc_post, build_hc_head).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/deepseek4.cpp
"""

from runlocal.architectures.blocks.compressed import HyperConnections
from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.tensors import F32, get_rows, like, mul_mat, new, reshape, view


class Read(NamedTuple):
    """What half of a layer reads, and how its result goes back.

    mixed: one stream, made of all
    out: weights of the result in each stream
    across: weights of each stream in each
    """

    mixed: Node
    out: Node
    across: Node


def widen(c: Context, block: HyperConnections, x: Node) -> Node:
    """The embedding, once for every stream."""
    d = block.hidden_size
    return new("REPEAT", F32, (d, block.streams, c.tokens, 1), reshape(x, d, 1, c.tokens))


def gather(c: Context, block: HyperConnections, half: str, x: Node, layer: int) -> Read:
    """One stream of all, by the kernels that fuse it (ggml_dsv4_hc_comb, ggml_dsv4_hc_pre)."""
    streams, tokens = block.streams, c.tokens
    fn = c.weight(f"hc_{half}_fn", layer, block.width, block.mixes)
    scale, base = c.weight(f"hc_{half}_scale", layer, 3), c.weight(f"hc_{half}_base", layer, block.mixes)
    weights = mul_mat(fn, like("RMS_NORM", reshape(x, block.width, tokens)))

    def gate(index: int) -> Node:
        size, first = F32.block_bytes, index * streams
        part = view(weights, (streams, tokens), (weights.strides[1],), first * size)
        part = like("MUL", part, view(scale, (1,), (), index * size))
        part = like("ADD", part, view(base, (streams,), (), first * size))
        return like("SCALE", like("SIGMOID", part))

    into, out = gate(0), gate(1)
    across = new("DSV4_HC_COMB", F32, (streams, streams, tokens, 1), weights, scale, base)
    return Read(mixed=new("DSV4_HC_PRE", F32, (block.hidden_size, tokens, 1, 1), x, into), out=out, across=across)


def scatter(result: Node, x: Node, read: Read) -> Node:
    """The streams behind half of a layer."""
    return new("DSV4_HC_POST", F32, x.shape, result, x, read.out, read.across)


def narrow(c: Context, block: HyperConnections, x: Node) -> Node:
    """One stream of the rows that logits are wanted of."""
    d, streams = block.hidden_size, block.streams
    flat = get_rows(reshape(x, block.width, c.tokens), c.output_rows)
    rows = flat.shape[1]
    x = reshape(flat, d, streams, rows)
    weights = mul_mat(c.weight("output_hc_fn", None, block.width, streams), like("RMS_NORM", reshape(x, block.width, rows)))
    weights = like("ADD", like("MUL", weights, c.weight("output_hc_scale", None, 1)), c.weight("output_hc_base", None, streams))
    weights = like("SCALE", like("SIGMOID", weights))
    parts = [
        like(
            "MUL",
            view(x, (d, rows), (x.strides[2],), index * x.strides[1]),
            view(weights, (1, rows), (weights.strides[1],), index * weights.strides[0]),
        )
        for index in range(streams)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = like("ADD", total, part)
    return total
