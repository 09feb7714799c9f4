"""Lightning attention (src/models/minimax-01.cpp)."""

from runlocal.architectures.blocks.lightning import LightningAttention
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.state import load, state
from runlocal.engines.ggml.graph.tensors import F32, cont, copy, given, like, look, mul_mat, permute, reshape, view


def attend_linearly(c: Context, block: LightningAttention, x: Node, layer: int) -> Node:
    """The attention half of a layer, output projection included."""
    d, dim, heads, width, sequences = block.hidden_size, block.head_dim, block.heads, block.width, c.settings.sequences
    tokens = c.tokens // sequences
    load(c, state(c, layer, 0))  # there is no convolution, and its memory of no size is loaded all the same
    x = reshape(x, d, tokens, 1, sequences)
    joined = reshape(like("SILU", mul_mat(c.weight("attn_qkv", layer, d, 3 * width), x)), 3 * dim, heads, tokens, sequences)
    q, k, v = (view(joined, (dim, heads, tokens, sequences), joined.strides[1:], part * dim * F32.block_bytes) for part in range(3))
    states = state(c, layer, block.state_values)
    before = reshape(load(c, states), dim, dim, heads, sequences)
    q_decay, k_decay = (_decay(_input(c, name, 1, heads, tokens, sequences)) for name in ("q_decay", "k_decay"))
    from_state = mul_mat(before, permute(like("MUL", q, q_decay)))
    scores = like("MUL", mul_mat(permute(k), permute(q)), _decay(_input(c, "diag_decay", tokens, tokens, heads, sequences)))
    values = cont(_tokens_first(v))
    out = like("ADD", from_state, mul_mat(values, scores))
    c.graph.expand(out)
    block_decay = _decay(like("SCALE", _input(c, "slopes", heads)))
    kept = like("MUL", before, reshape(block_decay, 1, 1, heads))
    after = like("ADD", kept, mul_mat(cont(_tokens_first(like("MUL", k, k_decay))), values))
    c.graph.expand(copy(after, view(states, (block.state_values * sequences,))))
    out = c.norm(reshape(cont(permute(out)), width, tokens, 1, sequences), "attn_norm_2", layer)
    out = like("MUL", like("SIGMOID", mul_mat(c.weight("attn_gate", layer, d, width), x)), out)
    return reshape(mul_mat(c.weight("attn_output", layer, width, d), out), d, c.tokens)


def _input(c: Context, name: str, *shape: int) -> Node:
    """An input that all such layers read."""
    if name not in c.shared:
        c.shared[name] = given(F32, *shape)
    return c.shared[name]


def _decay(a: Node) -> Node:
    return like("EXP", like("SCALE", a))


def _tokens_first(a: Node) -> Node:
    """ggml_permute(a, 1, 2, 0, 3)."""
    (s0, s1, s2, s3), (n0, n1, n2, n3) = a.shape, a.strides
    return look("PERMUTE", a, (s2, s0, s1, s3), (n2, n0, n1, n3))
