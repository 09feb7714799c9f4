"""Hyper-connections: several residual streams that every layer mixes (src/models/deepseek4.cpp: build_hc_pre, build_hc_post, build_hc_head).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/deepseek4.cpp
"""

from functools import partial, reduce

from runlocal.architectures.blocks.compressed import HyperConnections
from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.tensors import F32, concat, cont, get_rows, like, mul_mat, new, reshape, sum_rows, transpose, view

PRE, COMB, POST = "DSV4_HC_PRE", "DSV4_HC_COMB", "DSV4_HC_POST"
FUSED = (PRE, COMB, POST)  # in the order in which llama.cpp finds out where they run
_TURNS = 20  # hc_sinkhorn_iters, the same in all models


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
    if COMB in c.settings.unfused:
        across = like(
            "MUL", view(weights, (streams**2, tokens), (weights.strides[1],), 2 * streams * F32.block_bytes), view(scale, (1,), (), 2 * F32.block_bytes)
        )
        across = like("ADD", across, view(base, (streams**2,), (), 2 * streams * F32.block_bytes))
        across = _balanced(reshape(across, streams, streams, tokens))
    else:
        across = c.fused_node(new(COMB, F32, (streams, streams, tokens, 1), weights, scale, base), layer)
    if PRE in c.settings.unfused:
        mixed = reduce(partial(like, "ADD"), (like("MUL", _stream(x, index), _weight(into, index)) for index in range(streams)))
    else:
        mixed = c.fused_node(new(PRE, F32, (block.hidden_size, tokens, 1, 1), x, into), layer)
    return Read(mixed=mixed, out=out, across=across)


def _stream(x: Node, index: int) -> Node:
    return view(x, (x.shape[0], x.shape[2]), (x.strides[2],), index * x.strides[1])


def _weight(weights: Node, index: int) -> Node:
    return view(weights, (1, weights.shape[1]), (weights.strides[1],), index * weights.strides[0])


def _balanced(across: Node) -> Node:
    """Rows and columns are normed in turn (build_hc_sinkhorn)."""
    little = like("FILL", new(NONE, F32, (1, 1, 1, 1)))
    across = like("ADD", like("SOFT_MAX", across), little)
    for turn in range(_TURNS):
        if turn:
            across = like("DIV", across, like("ADD", sum_rows(across), little))
        across = like("DIV", across, transpose(like("ADD", sum_rows(cont(transpose(across))), little)))
    return across


def scatter(c: Context, result: Node, x: Node, read: Read, layer: int) -> Node:
    """The streams behind half of a layer."""
    if POST not in c.settings.unfused:
        return c.fused_node(new(POST, F32, x.shape, result, x, read.out, read.across), layer)
    (d, streams, tokens, _), across = x.shape, read.across
    mixed = []
    for into in range(streams):
        total = like("MUL", result, _weight(read.out, into))
        for source in range(streams):
            weight = view(across, (1, tokens), (across.strides[2],), into * across.strides[0] + source * across.strides[1])
            total = like("ADD", total, like("MUL", _stream(x, source), weight))
        mixed.append(reshape(total, d, 1, tokens))
    return reduce(lambda all_before, one: concat(all_before, one, 1), mixed)


def narrow(c: Context, block: HyperConnections, x: Node) -> Node:
    """One stream of the rows that logits are wanted of."""
    d, streams = block.hidden_size, block.streams
    flat = get_rows(reshape(x, block.width, c.tokens), c.output_rows)
    rows = flat.shape[1]
    x = reshape(flat, d, streams, rows)
    if block.exact:
        each = [view(x, (d, rows), (x.strides[2],), index * x.strides[1]) for index in range(streams)]
        return like("SCALE", reduce(partial(like, "ADD"), each))
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
