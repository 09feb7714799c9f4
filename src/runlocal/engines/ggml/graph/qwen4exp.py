"""Several residual streams, attention to chosen blocks and a table of hashed n-grams (src/models/qwen4exp.cpp).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/qwen4exp.cpp
"""

from collections.abc import Sequence
from functools import partial, reduce

from runlocal.architectures.blocks.ngrams import LowRankConnections, NgramEmbedding
from runlocal.architectures.blocks.pooled import PooledAttention
from runlocal.core.layout import Block
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.attention import attend_masked, rope, store_keys
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.family import NotModelled
from runlocal.engines.ggml.graph.hyper import POST, PRE
from runlocal.engines.ggml.graph.indexer import unmasked
from runlocal.engines.ggml.graph.layers import Layer, feed_forward, mixed
from runlocal.engines.ggml.graph.mamba import remember
from runlocal.engines.ggml.graph.state import load, state
from runlocal.engines.ggml.graph.tensors import (
    F16,
    F32,
    I32,
    I64,
    cont,
    get_rows,
    given,
    like,
    mul_mat,
    new,
    repeat,
    reshape,
    sum_rows,
    top_k,
    transpose,
    view,
)

_POSITIONS = 4  # of a token, as the interleaved rotation wants them


def begin(c: Context, layers: Sequence[Layer], x: Node) -> Node:
    """Reads the table, and makes every stream of the embedding."""
    streams = _connections(layers[0])
    row = next(tensor.columns for tensor in c.layout.outer if tensor.role == "per_layer_token_embd")
    table = new(NONE, F32, (row, 1, 1, 1))
    table.stored = table.weight = True
    table.device = c.devices.host
    rows = next(block for block, _ in c.layout.placed if isinstance(block, NgramEmbedding)).heads
    read = reshape(get_rows(table, given(I32, rows * c.tokens)), row * rows, c.tokens)
    c.graph.expand(read)
    c.shared["ngrams"] = read
    return repeat(reshape(x, streams.hidden_size, 1, c.tokens), streams.hidden_size, streams.streams, c.tokens)


def end(c: Context, x: Node) -> Node:
    """One stream of all, normed."""
    block = next(block for block, _ in c.layout.placed if isinstance(block, LowRankConnections))
    x, _ = _mix(c, block, "output_hc", x, None)
    x.is_output = True
    return x


def _connections(blocks: Layer) -> LowRankConnections:
    found = next((other for other in blocks.others if isinstance(other, LowRankConnections)), None)
    if found is None:
        raise NotModelled("a layer without its streams")
    return found


def streamed_layer(c: Context, blocks: Layer, block: Block, x: Node, layer: int) -> Node:
    """A layer over several residual streams; one of them reads the table first."""
    streams = _connections(blocks)
    if blocks.mlp is None:
        raise NotModelled("half a layer over several residual streams")
    for other in blocks.others:
        if isinstance(other, NgramEmbedding):
            x = _read_table(c, other, x, layer)
    read, normed = _mix(c, streams, "hc_attn", x, layer)
    weights = mul_mat(c.weight("hc_attn_inject", layer, streams.width, streams.streams), normed)
    c.graph.expand(read)
    out = mixed(c, block, read, layer)
    if c.picks:
        out, weights = get_rows(out, c.output_rows), get_rows(weights, c.output_rows)
        picked = get_rows(reshape(x, streams.width, c.tokens), c.output_rows)
        x = reshape(picked, streams.hidden_size, streams.streams, picked.shape[1])
    x = _add(c, x, out, weights, layer)
    read, normed = _mix(c, streams, "hc_ffn", x, layer)
    weights = mul_mat(c.weight("hc_ffn_inject", layer, streams.width, streams.streams), normed)
    x = _add(c, x, feed_forward(c, blocks.mlp, read, layer), weights, layer)
    if c.pins:
        x.device = c.devices.layers[layer]
    return x


def _mix(c: Context, block: LowRankConnections, name: str, x: Node, layer: int | None) -> tuple[Node, Node]:
    """The mean of the gated streams, and the streams normed (build_hc_mix)."""
    (d, streams, tokens), width = x.shape[:3], block.width
    normed = reshape(like("MUL", like("RMS_NORM", x), c.weight(f"{name}_norm", layer, d, streams)), width, tokens)
    low = like("SILU", like("SCALE", mul_mat(c.weight(f"{name}_down", layer, width, block.rank), normed)))
    gate = mul_mat(c.weight(f"{name}_up", layer, block.rank, width), low)
    if layer is not None and PRE not in c.settings.unfused:
        whole = new(PRE, F32, (d, tokens, 1, 1), reshape(normed, d, streams, tokens), reshape(gate, d, streams, tokens))
        return c.fused_node(whole, layer), normed
    gated = reshape(like("MUL", normed, like("SIGMOID", gate)), d, streams, tokens)
    each = [view(gated, (d, tokens), (gated.strides[2],), index * gated.strides[1]) for index in range(streams)]
    return like("SCALE", reduce(partial(like, "ADD"), [cont(each[0]), *each[1:]])), normed


def _add(c: Context, x: Node, out: Node, weights: Node, layer: int) -> Node:
    """The result in every stream, by its weight (build_hc_combine)."""
    d, streams, tokens = x.shape[:3]
    weights = like("SCALE", like("SIGMOID", like("SCALE", weights)))
    if POST not in c.settings.unfused:
        return c.fused_node(new(POST, F32, x.shape, out, x, weights), layer)
    everywhere = repeat(reshape(out, d, 1, tokens), d, streams, tokens)
    return like("ADD", x, like("MUL", everywhere, reshape(weights, 1, streams, tokens)))


def attend_blocks(c: Context, block: PooledAttention, x: Node, layer: int) -> Node:
    """The attention half of a layer, output projection included."""
    mask = c.cache_inputs(block.attention).mask
    return attend_masked(c, block.attention, x, layer, unmasked(c, mask, _choose(c, block, mask, x, layer)))


def _choose(c: Context, block: PooledAttention, mask: Node, x: Node, layer: int) -> Node:
    """The cells that a layer looks at (build_qsa_top_k)."""
    settings, d, dim, heads, size = c.settings, block.attention.hidden_size, block.head_dim, block.heads, block.pool_tokens
    cells, streams, tokens = settings.cells, settings.streams, c.tokens
    blocks, each = -(-cells // size), tokens // streams
    inputs = c.shared
    if "blocks_of_cells" not in inputs:
        inputs["indexer_rows"] = given(I64, tokens)
        inputs["blocks_of_cells"] = given(I32, cells, streams)
        inputs["cells_of_blocks"] = given(I32, size * blocks, streams)
        inputs["block_positions"] = given(I32, _POSITIONS * blocks * streams)
        inputs["block_bias"] = given(F32, blocks, each, streams)
    key = reshape(mul_mat(c.weight("indexer.k_proj", layer, d, dim), x), dim, 1, tokens)
    cache = c.cache(settings.type_k, layer, dim, cells, streams)
    c.graph.expand(store_keys(c, cache, key, inputs["indexer_rows"]))

    members = get_rows(view(cache, (dim, cells, streams), cache.strides[1:3]), inputs["cells_of_blocks"])
    members = reshape(members, dim, size, blocks, streams)
    slices = (cont(view(members, (dim, blocks, streams), members.strides[2:4], index * members.strides[1])) for index in range(size))
    pooled = reshape(like("SCALE", reduce(partial(like, "ADD"), slices)), dim, blocks * streams, 1)
    pooled = reshape(c.norm(pooled, "indexer.k_norm", layer), dim, 1, blocks * streams)
    pooled = reshape(like("ROPE", pooled, inputs["block_positions"]), dim, blocks, streams)
    q = reshape(mul_mat(c.weight("indexer.q_proj", layer, d, heads * dim), x), dim, heads, tokens)
    q = rope(c, c.norm(q, "indexer.q_norm", layer), layer)

    scores = like("RELU", reshape(mul_mat(pooled, reshape(q, dim, heads * each, streams)), blocks, heads, each, streams))
    by_head = [view(scores, (blocks, each, streams), scores.strides[2:4], head * scores.strides[1]) for head in range(heads)]
    total = like("ADD", reduce(partial(like, "ADD"), [cont(by_head[0]), *by_head[1:]]), inputs["block_bias"])
    by_cell = cont(transpose(get_rows(cont(transpose(total)), inputs["blocks_of_cells"])))
    whole = mask if mask.type is F32 else new("CPY", F32, mask.shape, mask)
    by_cell = like("ADD", by_cell, reshape(whole, cells, each, streams))
    width = min(cells, block.top_k + size - 1)
    return reshape(cont(top_k(by_cell, width)), width, each, 1, streams)


def _read_table(c: Context, block: NgramEmbedding, x: Node, layer: int) -> Node:
    """The rows of the table, gated by every stream and convolved (build_ple)."""
    d, streams, tokens, width, sequences = block.hidden_size, block.streams, c.tokens, block.width, c.settings.sequences
    read = c.shared["ngrams"]
    key = mul_mat(c.weight("ple_key", layer, read.shape[0], width), read)
    value = mul_mat(c.weight("ple_value", layer, read.shape[0], d), read)

    def normed(a: Node, name: str) -> Node:
        return like("MUL", like("RMS_NORM", reshape(a, d, streams, tokens)), c.weight(f"ple_norm_{name}", layer, d, streams))

    key, query = normed(key, "key"), normed(x, "query")
    score = like("SCALE", sum_rows(like("MUL", key, query)))
    size = like("SQRT", like("CLAMP", like("ABS", score)))
    gate = like("SIGMOID", like("MUL", like("SGN", score), size))
    gated = like("MUL", repeat(reshape(value, d, 1, tokens), d, streams, tokens), gate)
    behind = reshape(normed(reshape(gated, width, tokens), "conv"), width, tokens // sequences, sequences)
    remembered = state(c, layer, block.history * width)
    joined = remember(c, remembered, reshape(load(c, remembered), block.history, width, sequences), behind, copied=True)
    kernel = c.weight("ple_conv1d", layer, block.conv_size, width)
    terms = []
    for tap in range(block.conv_size):
        start = block.history - (block.conv_size - 1 - tap) * block.size
        shifted = view(joined, (tokens // sequences, width, sequences), joined.strides[1:3], start * joined.strides[0])
        # Its rows are too short for any quantized type.
        column = reshape(new("CONT", F16, (1, width, 1, 1), view(kernel, (1, width), (kernel.strides[1],), tap * kernel.strides[0])), width)
        terms.append(like("MUL", cont(transpose(shifted)), new("CPY", F32, column.shape, column)))
    out = like("SILU", reduce(partial(like, "ADD"), terms))
    out = reshape(cont(out), d, streams, tokens)
    return like("ADD", x, like("ADD", gated, out))
