"""State-space layers (src/models/mamba-base.cpp)."""

from runlocal.architectures.blocks.mamba import Mamba1, Mamba2
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.state import load, state
from runlocal.engines.ggml.graph.tensors import F32, concat, cont, copy, glu, like, mul_mat, new, reshape, transpose, view


def scan_1(c: Context, block: Mamba1, x: Node, layer: int) -> Node:
    """build_mamba_layer."""
    d, inner, size, rank = block.hidden_size, block.inner_size, block.state_size, block.time_step_rank
    sequences = c.settings.sequences
    tokens = c.tokens // sequences
    states = state(c, layer, block.conv_values)
    remembered = reshape(load(c, states), block.conv_size - 1, inner, sequences)
    both = mul_mat(c.weight("ssm_in", layer, d, 2 * inner), reshape(x, d, tokens, sequences))
    shape, strides = (inner, tokens, sequences), (both.strides[1], both.strides[2])
    z = view(both, shape, strides, inner * F32.block_bytes)
    hidden = convolve(c, states, remembered, view(both, shape, strides), layer)
    projected = mul_mat(c.weight("ssm_x", layer, inner, rank + 2 * size), hidden)
    row, plane = projected.strides[1], projected.strides[2]
    step = view(projected, (rank, tokens, sequences), (row, plane))
    b, c_ = (view(projected, (size, 1, tokens, sequences), (size * F32.block_bytes, row, plane), (rank + offset) * F32.block_bytes) for offset in (0, size))
    if block.norm == "plain":
        step, b, c_ = like("RMS_NORM", step), like("RMS_NORM", b), like("RMS_NORM", c_)
    elif block.norm == "weights":
        step, b, c_ = c.norm(step, "ssm_dt_norm", layer), c.norm(b, "ssm_b_norm", layer), c.norm(c_, "ssm_c_norm", layer)
    step = like("ADD", mul_mat(c.weight("ssm_dt", layer, rank, inner), step), c.weight("ssm_dt.bias", layer, inner))
    heads = reshape(hidden, 1, inner, tokens, sequences)
    a = c.weight("ssm_a", layer, size, inner)
    y = _scan(c, heads, step, a, b, c_, size, layer)
    y = view(y, (inner, tokens, sequences), (heads.strides[2], heads.strides[3]))
    y = like("ADD", y, like("MUL", hidden, c.weight("ssm_d", layer, inner)))
    y = glu(cont(z), y)
    return reshape(mul_mat(c.weight("ssm_out", layer, inner, d), y), d, c.tokens)


def scan_2(c: Context, block: Mamba2, x: Node, layer: int) -> Node:
    """build_mamba2_layer."""
    d, inner, size, heads, groups = block.hidden_size, block.inner_size, block.state_size, block.heads, block.groups
    sequences, head_dim = c.settings.sequences, inner // heads
    tokens = c.tokens // sequences
    states = state(c, layer, block.conv_values)
    remembered = reshape(load(c, states), block.conv_size - 1, block.conv_width, sequences)
    width = inner + block.conv_width + heads
    joined = reshape(mul_mat(c.weight("ssm_in", layer, d, width), x), width, tokens, sequences)
    strides = (joined.strides[1], joined.strides[2])
    z = view(joined, (head_dim, heads, tokens, sequences), (head_dim * F32.block_bytes, *strides))
    xbc = view(joined, (block.conv_width, tokens, sequences), strides, inner * F32.block_bytes)
    step = view(joined, (heads, tokens, sequences), strides, (inner + block.conv_width) * F32.block_bytes)
    xbc = convolve(c, states, remembered, xbc, layer)
    strides = (xbc.strides[1], xbc.strides[2])
    hidden = view(xbc, (head_dim, heads, tokens, sequences), (head_dim * F32.block_bytes, *strides))
    b, c_ = (
        view(xbc, (size, groups, tokens, sequences), (size * F32.block_bytes, *strides), (inner + offset) * F32.block_bytes) for offset in (0, groups * size)
    )
    step = like("ADD", cont(step), c.weight("ssm_dt.bias", layer, heads))
    a = c.weight("ssm_a", layer, 1, heads)
    y = _scan(c, hidden, step, a, b, c_, size, layer)
    row = hidden.strides[1]
    y = view(y, (head_dim, heads, tokens, sequences), (row, heads * row, tokens * heads * row))
    y = like("ADD", y, like("MUL", hidden, c.weight("ssm_d", layer, 1, heads)))
    y = glu(cont(z), y)
    if block.normed:
        y = c.norm(reshape(y, inner // groups, groups, tokens, sequences), "ssm_norm", layer)
    return mul_mat(c.weight("ssm_out", layer, inner, d), reshape(y, inner, c.tokens))


def convolve(c: Context, states: Node, remembered: Node, x: Node, layer: int) -> Node:
    """The causal convolution of x, (width, tokens, sequences), behind what is remembered; the last columns are remembered in turn."""
    length, width, sequences = remembered.shape[:3]
    tokens = x.shape[1]
    joined = remember(c, states, remembered, x)
    out = new("SSM_CONV", F32, (width, tokens, sequences, 1), joined, c.weight("ssm_conv1d", layer, length + 1, width))
    return like("SILU", like("ADD", out, c.weight("ssm_conv1d.bias", layer, width)))


def remember(c: Context, states: Node, remembered: Node, x: Node, *, copied: bool = False) -> Node:
    """x, (width, tokens, sequences), behind what is remembered; the last columns are remembered in turn. copied: by way of a tensor of their own"""
    length, width, sequences = remembered.shape[:3]
    joined = concat(remembered, transpose(x))
    # The newest is kept, and as many before it as may be gone back to.
    for earlier in range(min(x.shape[1], 1 + c.settings.snapshots)):
        last = view(joined, (length, width, sequences), (joined.strides[1], joined.strides[2]), (x.shape[1] - earlier) * joined.strides[0])
        last = cont(last) if copied else last
        c.graph.expand(copy(last, view(states, (length * width * sequences,), (), earlier * sequences * states.strides[1])))
    return joined


def _scan(c: Context, x: Node, step: Node, a: Node, b: Node, c_: Node, size: int, layer: int) -> Node:
    """ggml_ssm_scan: results of all tokens and, behind them, the states that follow."""
    head_dim, heads, tokens, sequences = x.shape
    inner = head_dim * heads

    def scan(rows: Node, ids: Node) -> Node:
        values = inner * tokens * sequences + size * inner * sequences * (1 + c.settings.snapshots)
        return new("SSM_SCAN", F32, (values, 1, 1, 1), reshape(rows, size, head_dim, heads, rows.shape[1]), x, step, a, b, c_, ids)

    states = state(c, layer, size * inner)
    y = load(c, states, scan)
    written = size * inner * sequences * min(tokens, 1 + c.settings.snapshots)
    after = view(y, (written,), (), inner * tokens * sequences * F32.block_bytes)
    c.graph.expand(copy(after, view(states, (written,))))
    return y
