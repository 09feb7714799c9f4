"""Delta rule layers (src/models/delta-net-base.cpp, qwen3next.cpp, qwen35.cpp, kimi-linear.cpp)."""

from runlocal.architectures.blocks.delta import GatedDeltaNet, KimiDeltaAttention
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.mamba import remember
from runlocal.engines.ggml.graph.state import load, state
from runlocal.engines.ggml.graph.tensors import F32, cont, copy, like, mul_mat, new, reshape, view

_PARTS = "qkv"


def correct(c: Context, block: GatedDeltaNet, x: Node, layer: int) -> Node:
    """build_layer_attn_linear."""
    d, dim, k_heads, v_heads, sequences = block.hidden_size, block.head_dim, block.key_heads, block.value_heads, c.settings.sequences
    tokens = c.tokens // sequences
    c.graph.expand(x)
    mixed = reshape(mul_mat(c.weight("attn_qkv", layer, d, block.conv_width), x), block.conv_width, tokens, sequences)
    z = mul_mat(c.weight("attn_gate", layer, d, block.value_width), x)
    beta, alpha = _joined(c, block, x, layer) if block.joined else _separate(c, block, x, layer)
    step = like("SOFTPLUS", like("ADD", alpha, c.weight("ssm_dt.bias", layer, v_heads)))
    gate = reshape(like("MUL", step, c.weight("ssm_a", layer, v_heads)), 1, v_heads, tokens, sequences)
    remembered = state(c, layer, block.conv_values)
    loaded = reshape(load(c, remembered), block.conv_size - 1, block.conv_width, sequences)
    convolved = remember(c, remembered, loaded, mixed, copied=block.sigmoid)
    states = state(c, layer, block.state_values)
    before = reshape(load(c, states), dim, dim, v_heads, sequences)
    hidden = new("SSM_CONV", F32, (block.conv_width, tokens, sequences, 1), convolved, c.weight("ssm_conv1d", layer, block.conv_size, block.conv_width))
    hidden = like("SILU", hidden)
    strides = (dim * F32.block_bytes, hidden.strides[1], hidden.strides[2])
    q, k, v = (
        view(hidden, (dim, heads, tokens, sequences), strides, offset * strides[0])
        for heads, offset in ((k_heads, 0), (k_heads, k_heads), (v_heads, 2 * k_heads))
    )
    q, k = unit(q), unit(k)
    if block.joined and k_heads != v_heads:
        q, k = _repeated(q, v_heads), _repeated(k, v_heads)
    out = c.norm(delta_rule(c, states, (q, k, v, gate, beta, before)), "ssm_norm", layer)
    out = like("MUL", out, like("SIGMOID" if block.sigmoid else "SILU", reshape(z, dim, v_heads, tokens, sequences)))
    out = reshape(out, block.value_width, tokens, sequences)
    return reshape(mul_mat(c.weight("ssm_out", layer, block.value_width, d), out), d, c.tokens)


def correct_by_value(c: Context, block: KimiDeltaAttention, x: Node, layer: int) -> Node:
    """Kimi delta attention, output projection included."""
    d, dim, heads, width, sequences = block.hidden_size, block.head_dim, block.heads, block.width, c.settings.sequences
    tokens = c.tokens // sequences
    c.graph.expand(x)
    remembered = state(c, layer, block.conv_values)
    loaded = load(c, remembered)
    q, k, v = (_short(c, block, x, layer, remembered, loaded, part) for part in range(len(_PARTS)))
    gate = mul_mat(c.weight("ssm_f_b", layer, dim, width), mul_mat(c.weight("ssm_f_a", layer, d, dim), x))
    gate = like("ADD", gate, c.weight("ssm_dt.bias", layer, width))
    gate = reshape(gate if block.bounded else like("SOFTPLUS", gate), dim, heads, c.tokens)
    gate = like("MUL", gate, reshape(c.weight("ssm_a", layer, 1, heads), 1, heads, 1))
    if block.bounded:
        gate = like("SCALE", like("SIGMOID", like("SCALE", gate)))
    gate = reshape(gate, dim, heads, tokens, sequences)
    beta = like("SIGMOID", reshape(mul_mat(c.weight("ssm_beta", layer, d, heads), x), 1, heads, tokens, sequences))
    states = state(c, layer, block.state_values)
    before = reshape(load(c, states), dim, dim, heads, sequences)
    out = cont(delta_rule(c, states, (unit(q), unit(k), v, gate, beta, before)))
    out = c.norm(reshape(out, dim, heads, c.tokens), "ssm_norm", layer)
    if block.full_gate:
        gate = mul_mat(c.weight("ssm_g", layer, d, width), x)
    else:
        gate = mul_mat(c.weight("ssm_g_b", layer, dim, width), mul_mat(c.weight("ssm_g_a", layer, d, dim), x))
    out = like("MUL", out, like("SIGMOID", reshape(gate, dim, heads, c.tokens)))
    return mul_mat(c.weight("attn_output", layer, width, d), cont(out, width, c.tokens))


def _short(c: Context, block: KimiDeltaAttention, x: Node, layer: int, states: Node, loaded: Node, part: int) -> Node:
    """causal_conv1d: queries, keys or values, through a convolution of their own."""
    width, sequences, before = block.width, c.settings.sequences, block.conv_size - 1
    tokens, size = c.tokens // sequences, F32.block_bytes
    remembered = view(loaded, (before, width, sequences), (before * size, block.conv_values * size), part * before * width * size)
    projected = mul_mat(c.weight(f"attn_{_PARTS[part]}", layer, block.hidden_size, width), x)
    joined = remember(c, states, remembered, reshape(projected, width, tokens, sequences))
    kernel = reshape(c.weight(f"ssm_conv1d_{_PARTS[part]}", layer, block.conv_size, 1, width), block.conv_size, width)
    out = new("SSM_CONV", F32, (width, tokens, sequences, 1), joined, kernel)
    return reshape(like("SILU", reshape(out, width, c.tokens)), block.head_dim, block.heads, tokens, sequences)


def unit(a: Node) -> Node:
    """build_gdn_l2_norm."""
    return like("SCALE", like("RMS_NORM", a))


def delta_rule(c: Context, states: Node, operands: tuple[Node, ...]) -> Node:
    """ggml_gated_delta_net, fused: results of all tokens and, behind them, the states that follow; operands end with values, gate, beta, states."""
    dim, heads, tokens, sequences = operands[2].shape
    out = new("GATED_DELTA_NET", F32, (dim * heads, tokens * sequences + dim * sequences * (1 + c.settings.snapshots), 1, 1), *operands)
    row = dim * F32.block_bytes
    written = dim * dim * heads * sequences * min(tokens, 1 + c.settings.snapshots)
    after = view(out, (written,), (), tokens * sequences * heads * row)
    c.graph.expand(copy(after, view(states, (written,))))
    return view(out, (dim, heads, tokens, sequences), (row, heads * row, tokens * heads * row))


def _separate(c: Context, block: GatedDeltaNet, x: Node, layer: int) -> tuple[Node, Node]:
    """Beta and alpha from a matrix each."""
    heads, sequences = block.value_heads, c.settings.sequences
    tokens = c.tokens // sequences
    beta = like("SIGMOID", reshape(mul_mat(c.weight("ssm_beta", layer, block.hidden_size, heads), x), 1, heads, tokens, sequences))
    return beta, reshape(mul_mat(c.weight("ssm_alpha", layer, block.hidden_size, heads), x), heads, tokens, sequences)


def _joined(c: Context, block: GatedDeltaNet, x: Node, layer: int) -> tuple[Node, Node]:
    """Beta and alpha from one matrix, which has them side by side for each key head."""
    heads, sequences = block.value_heads, c.settings.sequences
    tokens, each = c.tokens // sequences, heads // block.key_heads
    both = mul_mat(c.weight("ssm_ba", layer, block.hidden_size, 2 * heads), x)
    both = reshape(both, 2 * each, block.key_heads, tokens, sequences)
    b, a = (view(both, (each, *both.shape[1:]), both.strides[1:], offset * F32.block_bytes) for offset in (0, each))
    beta = reshape(like("SIGMOID", cont(b)), 1, heads, tokens, sequences)
    return beta, cont(a, heads, tokens, sequences)


def _repeated(a: Node, heads: int) -> Node:
    """Every head as often as values have heads for it."""
    dim, few, tokens, sequences = a.shape
    flat = reshape(a, dim, 1, few, tokens * sequences)
    return reshape(new("REPEAT", F32, (dim, heads // few, few, tokens * sequences), flat), dim, heads, tokens, sequences)
