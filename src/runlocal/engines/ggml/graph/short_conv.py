"""Gated short convolutions (src/models/lfm2.cpp)."""

from runlocal.architectures.blocks.short_conv import ShortConvolution
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.state import load, state
from runlocal.engines.ggml.graph.tensors import F32, concat, copy, like, mul_mat, new, reshape, transpose, view


def convolve_gated(c: Context, block: ShortConvolution, x: Node, layer: int) -> Node:
    """build_shortconv_block."""
    d, length, sequences = block.hidden_size, block.conv_size - 1, c.settings.sequences
    tokens = c.tokens // sequences
    joined = mul_mat(c.weight("shortconv.in_proj", layer, d, 3 * d), reshape(x, d, tokens, sequences))
    strides = (joined.strides[1], joined.strides[2])
    before, after, values = (view(joined, (d, tokens, sequences), strides, part * d * F32.block_bytes) for part in range(3))
    gated = transpose(like("MUL", before, values))
    states = state(c, layer, block.conv_values)
    remembered = reshape(load(c, states), length, d, sequences)
    behind = concat(remembered, gated)
    last = view(behind, (length, d, sequences), (behind.strides[1], behind.strides[2]), tokens * behind.strides[0])
    c.graph.expand(copy(last, view(states, (length * d * sequences,))))
    out = new("SSM_CONV", F32, (d, tokens, sequences, 1), behind, c.weight("shortconv.conv", layer, length + 1, d))
    out = mul_mat(c.weight("shortconv.out_proj", layer, d, d), like("MUL", after, out))
    return reshape(out, d, c.tokens)
