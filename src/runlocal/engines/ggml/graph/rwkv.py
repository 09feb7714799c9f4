"""RWKV 6 and 7 (src/models/rwkv6.cpp, rwkv6-base.cpp, rwkv7.cpp, rwkv7-base.cpp)."""

from runlocal.architectures.blocks.rwkv import Rwkv6, Rwkv7
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.state import load, state
from runlocal.engines.ggml.graph.tensors import F32, cont, copy, get_rows, like, look, mul_mat, new, reshape, sum_rows, view


def layer_6(c: Context, block: Rwkv6, x: Node, layer: int, *, last: bool) -> Node:
    """A whole layer of version 6."""
    d, width = block.hidden_size, block.intermediate_size
    x, second, shifted = _first_half(c, block, x, layer, last=last)
    difference = like("SUB", shifted, second)
    to_key = like("ADD", like("MUL", difference, c.weight("channel_mix_lerp_k", layer, d)), second)
    to_gate = like("ADD", like("MUL", difference, c.weight("channel_mix_lerp_r", layer, d)), second)
    gate = like("SIGMOID", mul_mat(c.weight("channel_mix_receptance", layer, d, d), to_gate))
    wide = like("SQR", like("RELU", mul_mat(c.weight("channel_mix_key", layer, d, width), to_key)))
    out = like("ADD", like("MUL", gate, mul_mat(c.weight("channel_mix_value", layer, width, d), wide)), x)
    return like("SCALE", out) if block.halved else out


def layer_7(c: Context, block: Rwkv7, x: Node, layer: int, *, last: bool) -> Node:
    """A whole layer of version 7."""
    d, width = block.hidden_size, block.intermediate_size
    x, second, shifted = _first_half(c, block, x, layer, last=last)
    mixed = like("ADD", like("MUL", like("SUB", shifted, second), c.weight("channel_mix_lerp_k", layer, d)), second)
    wide = like("SQR", like("RELU", mul_mat(c.weight("channel_mix_key", layer, d, width), mixed)))
    return like("ADD", mul_mat(c.weight("channel_mix_value", layer, width, d), wide), x)


def _first_half(c: Context, block: Rwkv6 | Rwkv7, x: Node, layer: int, *, last: bool) -> tuple[Node, Node, Node]:
    """The residual stream behind the first half; its norm, and that of the token before."""
    d, sequences = block.hidden_size, c.settings.sequences
    tokens = c.tokens // sequences
    if block.first:
        x = c.norm(x, "token_embd_norm", layer, bias=True)
    x = reshape(x, d, tokens, sequences)
    states = state(c, layer, block.shift_values)
    shift = reshape(load(c, states), d, 2, sequences)
    before = [view(shift, (d, 1, sequences), (shift.strides[1], shift.strides[2]), half * d * F32.block_bytes) for half in range(2)]
    normed = c.norm(x, "attn_norm", layer, bias=True)
    shifted = _joined(before[0], _tokens(normed, 0, tokens - 1))
    mixed = _mix_time_6(c, block, normed, shifted, layer) if isinstance(block, Rwkv6) else _mix_time_7(c, block, normed, shifted, layer)
    x = like("ADD", mixed, x)
    second = c.norm(x, "attn_norm_2", layer, bias=True)
    shifted = _joined(before[1], _tokens(second, 0, tokens - 1))
    kept = _joined(_tokens(normed, tokens - 1, 1), _tokens(second, tokens - 1, 1))
    c.graph.expand(copy(view(kept, (2 * d * sequences,)), view(states, (2 * d * sequences,))))
    x, second, shifted = (reshape(a, d, c.tokens) for a in (x, second, shifted))
    if last:
        x, second, shifted = (get_rows(a, c.output_rows) for a in (x, second, shifted))
    return x, second, shifted


def _tokens(a: Node, start: int, count: int) -> Node:
    """Some tokens of every sequence."""
    return view(a, (a.shape[0], count, a.shape[2]), (a.strides[1], a.strides[2]), start * a.strides[1])


def _joined(a: Node, b: Node) -> Node:
    """ggml_concat along the tokens."""
    return new("CONCAT", F32, (a.shape[0], a.shape[1] + b.shape[1], a.shape[2], 1), a, b)


def _mix_time_7(c: Context, block: Rwkv7, x: Node, before: Node, layer: int) -> Node:
    """build_rwkv7_time_mix."""
    d, size, all_tokens, sequences = block.hidden_size, block.head_size, c.tokens, c.settings.sequences
    heads, tokens = d // size, c.tokens // c.settings.sequences

    def weight(name: str, *shape: int) -> Node:
        return c.weight(f"time_mix_{name}", layer, *(shape or (d,)))

    def low_rank(name: str, rank: int, a: Node, between: str | None = None) -> Node:
        inner = mul_mat(weight(f"{name}1", d, rank), a)
        return mul_mat(weight(f"{name}2", rank, d), like(between, inner) if between else inner)

    difference = new("REPEAT", F32, (d, tokens, sequences, 6), like("SUB", before, x))
    mixed = like("ADD", like("MUL", difference, weight("lerp_fused", d, 1, 1, 6)), x)
    x_r, x_w, x_k, x_v, x_a, x_g = (view(mixed, (d, all_tokens), (mixed.strides[1],), part * d * all_tokens * F32.block_bytes) for part in range(6))
    r = mul_mat(weight("receptance", d, d), x_r)
    w = like("ADD", low_rank("w", block.decay_rank, x_w, "TANH"), weight("w0"))
    w = like("EXP", like("SCALE", like("SIGMOID", w)))
    k = mul_mat(weight("key", d, d), x_k)
    v = mul_mat(weight("value", d, d), x_v)
    if block.first or c.first_value is None:
        c.first_value = v
    else:
        share = like("SIGMOID", like("ADD", low_rank("v", block.value_rank, x_v), weight("v0")))
        v = like("ADD", v, like("MUL", like("SUB", c.first_value, v), share))
    gate = low_rank("g", block.gate_rank, x_g, "SIGMOID")
    a = like("SIGMOID", like("ADD", low_rank("a", block.rate_rank, x_a), weight("a0")))
    directions = new("L2_NORM", F32, (size, heads, all_tokens, 1), reshape(like("MUL", k, weight("k_k")), size, heads, all_tokens))
    scaled = like("MUL", k, weight("k_a"))
    k = like("ADD", k, like("SUB", like("MUL", a, scaled), scaled))
    r, w, k, v, a = (reshape(part, size, heads, all_tokens) for part in (r, w, k, v, a))
    states = state(c, layer, block.state_values)
    held = load(c, states)
    out = new("RWKV_WKV7", F32, (d, all_tokens + size * sequences, 1, 1), r, w, k, v, like("NEG", directions), like("MUL", directions, a), held)
    y = _normed_by_head(c, block, out, states, weight("ln"), weight("ln.bias"))
    bonus = sum_rows(like("MUL", like("MUL", k, r), reshape(weight("r_k"), size, heads)))
    y = like("ADD", y, reshape(like("MUL", v, bonus), d, all_tokens))
    y = mul_mat(weight("output", d, d), like("MUL", y, gate))
    return reshape(y, d, tokens, sequences)


def _mix_time_6(c: Context, block: Rwkv6, x: Node, before: Node, layer: int) -> Node:
    """build_rwkv6_time_mix."""
    d, size, all_tokens, sequences, rank = block.hidden_size, block.head_size, c.tokens, c.settings.sequences, block.mix_rank
    heads, tokens, parts = d // size, c.tokens // c.settings.sequences, 5

    def weight(name: str, *shape: int) -> Node:
        return c.weight(f"time_mix_{name}", layer, *(shape or (d,)))

    difference = reshape(like("SUB", before, x), d, all_tokens)
    x = reshape(x, d, all_tokens)
    mixed = like("ADD", like("MUL", difference, weight("lerp_x")), x)
    low = reshape(like("TANH", mul_mat(weight("w1", d, parts * rank), mixed)), rank, 1, parts, all_tokens)
    n0, n1, n2, n3 = low.strides
    low = cont(look("PERMUTE", low, (rank, 1, all_tokens, parts), (n0, n1, n3, n2)))
    wide = mul_mat(reshape(weight("w2", rank, d, parts), rank, d, 1, parts), low)
    difference, x = reshape(difference, d, 1, all_tokens), reshape(x, d, 1, all_tokens)
    mixed = like("ADD", like("MUL", like("ADD", wide, weight("lerp_fused", d, 1, 1, parts)), difference), x)
    x_w, x_k, x_v, x_r, x_g = (view(mixed, (d, all_tokens), (mixed.strides[1],), part * d * all_tokens * F32.block_bytes) for part in range(parts))
    r, k, v = mul_mat(weight("receptance", d, d), x_r), mul_mat(weight("key", d, d), x_k), mul_mat(weight("value", d, d), x_v)
    gate = like("SILU", mul_mat(weight("gate", d, d), x_g))
    k, v, r = (reshape(part, size, heads, all_tokens) for part in (k, v, r))
    decay = mul_mat(weight("decay_w2", block.decay_rank, d), like("TANH", mul_mat(weight("decay_w1", d, block.decay_rank), x_w)))
    decay = reshape(like("EXP", like("NEG", like("EXP", like("ADD", decay, weight("decay"))))), size, heads, all_tokens)
    states = state(c, layer, block.state_values)
    held = load(c, states)
    out = new("RWKV_WKV6", F32, (d, all_tokens + size * sequences, 1, 1), k, v, r, weight("first", size, heads), decay, held)
    y = _normed_by_head(c, block, out, states, weight("ln"), weight("ln.bias"))
    return reshape(mul_mat(weight("output", d, d), like("MUL", y, gate)), d, tokens, sequences)


def _normed_by_head(c: Context, block: Rwkv6 | Rwkv7, out: Node, states: Node, weights: Node, bias: Node) -> Node:
    """What a state yields, with a norm for each head; the state that follows is kept."""
    d, size, all_tokens, sequences = block.hidden_size, block.head_size, c.tokens, c.settings.sequences
    y = view(out, (d * all_tokens,))
    after = view(out, (d * size * sequences,), (), d * all_tokens * F32.block_bytes)
    c.graph.expand(copy(after, view(states, (d * size * sequences,))))
    y = reshape(like("NORM", reshape(y, size, d // size, all_tokens)), d, all_tokens)
    return like("ADD", like("MUL", y, weights), bias)
