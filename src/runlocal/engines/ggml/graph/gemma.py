"""The layers of Gemma 4 and Gemma 3n (src/models/gemma4.cpp, gemma3n.cpp), and embeddings that every layer has of its own."""

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.gemma import LayerInput, OutputScale, Streams
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.attention import through_cache
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.layers import Layer
from runlocal.engines.ggml.graph.mlp import dense, experts
from runlocal.engines.ggml.graph.tensors import (
    F32,
    I32,
    cont,
    get_rows,
    given,
    like,
    mul_mat,
    new,
    permute,
    repeat,
    reshape,
    rotate_axes,
    stack,
    sum_rows,
    transpose,
    view,
)

_SPARSE_LAYERS = 10  # n_layer_sparsity of src/models/models.h: the first layers whose gates are cut off


def layer_inputs(c: Context, x: Node, size: int) -> Node:
    """build_inp_per_layer and project_per_layer_inputs: (size, tokens, layers), from the table and from the token's own embedding `x`."""
    d, layers, tokens = c.layout.hidden_size, c.layout.layers, c.tokens
    table = new(NONE, F32, (size * layers, 1, 1, 1))
    table.stored = table.weight = True
    table.device = c.devices.host
    rows = like("SCALE", reshape(get_rows(table, given(I32, tokens)), size, layers, tokens))
    c.graph.expand(rows)
    projected = like("SCALE", mul_mat(c.weight("per_layer_model_proj", None, d, size * layers, beside=0), x))
    projected = c.norm(reshape(projected, size, layers, tokens), "per_layer_proj_norm", None, beside=0)
    return cont(permute(like("SCALE", like("ADD", projected, rows))))


def layer_input(c: Context, layer: int) -> Node:
    """A layer's slice of them."""
    every = c.layer_inputs
    if every is None:
        raise ValueError("this model has no embeddings per layer")
    return view(every, every.shape[:2], every.strides[1:2], layer * every.strides[2])


def attend(c: Context, block: Attention, x: Node, layer: int, *, factors: bool) -> Node:
    """The attention half of a layer: values are normed too, and some layers read the cache of an earlier one.

    factors: there are rotary factors, which layers without a window use
    """
    d, tokens = block.hidden_size, c.tokens

    def project(role: str, heads: int) -> Node:
        return mul_mat(c.weight(role, layer, d, heads * block.head_dim), x)

    def rope(a: Node) -> Node:
        return like("ROPE", a, c.positions, *(c.rope_factors(layer) if factors and block.window_tokens is None else ()))

    q = reshape(project("attn_q", block.heads), block.head_dim, block.heads, tokens)
    q = rope(c.norm(q, "attn_q_norm", layer))
    pair = None
    if block.reads is None:
        keys = project("attn_k", block.kv_heads)
        values = project("attn_v", block.kv_heads) if block.values else keys
        keys, values = (reshape(each, block.head_dim, block.kv_heads, tokens) for each in (keys, values))
        pair = rope(c.norm(keys, "attn_k_norm", layer)), like("RMS_NORM", values)
    out = through_cache(c, block, q, pair, layer)
    return mul_mat(c.weight("attn_output", layer, block.output_width, d), out)


def gemma4_layer(c: Context, blocks: Layer, block: Attention, x: Node, layer: int) -> Node:
    """One layer; rows for the logits are picked behind the last."""
    out = attend(c, block, c.norm(x, "attn_norm", layer), layer, factors=True)
    x = like("ADD", c.norm(out, "post_attention_norm", layer), x)
    if isinstance(blocks.mlp, ExpertMlp) and blocks.beside:
        out = _both(c, blocks.beside, blocks.mlp, x, layer)
    elif isinstance(blocks.mlp, DenseMlp):
        out = dense(c, blocks.mlp, c.norm(x, "ffn_norm", layer), layer)
    x = like("ADD", c.norm(out, "post_ffw_norm", layer, pinned=False), x)
    for other in blocks.others:
        if isinstance(other, LayerInput):
            x = like("ADD", x, _from_input(c, other, x, layer))
        if isinstance(other, OutputScale):
            x = like("MUL", x, c.weight("layer_output_scale", layer, 1))
    return x


def _both(c: Context, beside: DenseMlp, block: ExpertMlp, x: Node, layer: int) -> Node:
    """A dense MLP and experts; the router reads the residual stream itself, normed and scaled."""
    plain = dense(c, beside, c.norm(x, "ffn_norm", layer), layer)
    plain = c.norm(plain, "post_ffw_norm_1", layer)
    routed = c.norm(x, "pre_ffw_norm_2", layer)
    scaled = like("MUL", like("SCALE", like("RMS_NORM", x)), c.weight("ffn_gate_inp.scale", layer, block.hidden_size))
    logits = mul_mat(c.weight("ffn_gate_inp", layer, block.hidden_size, block.count), scaled)
    routed = c.norm(experts(c, block, routed, layer, logits), "post_ffw_norm_2", layer)
    return like("ADD", plain, routed)


def _from_input(c: Context, block: LayerInput, x: Node, layer: int) -> Node:
    """What the token's embedding of this layer adds."""
    d, size = block.hidden_size, block.size
    gated = like("GELU", mul_mat(c.weight("inp_gate", layer, d, size), x))
    gated = like("MUL", gated, layer_input(c, layer))
    return c.norm(mul_mat(c.weight("proj", layer, size, d), gated), "post_norm", layer)


def streams_of(c: Context, x: Node, count: int) -> Node:
    """The streams that the embedding is turned into, (width, tokens, streams)."""
    d = c.layout.hidden_size
    added = mul_mat(c.weight("altup_proj", None, d, d, count - 1), repeat(x, d, c.tokens, count - 1))
    return stack(x, like("DIV", like("MUL", added, _magnitude(x)), _magnitude(added)))


def stream_mean(c: Context, x: Node) -> Node:
    """One stream of all, the rows for the logits of it."""
    d, first, others = c.layout.hidden_size, _stream(x, 0), _others(x)
    target = _magnitude(first)
    unembedded = mul_mat(c.weight("altup_unembd_proj", None, d, d, others.shape[2]), others)
    unembedded = like("DIV", like("MUL", unembedded, target), _magnitude(unembedded))
    total = _stream(x, 0)
    for index in range(others.shape[2]):
        total = like("ADD", total, _stream(unembedded, index))
    return get_rows(like("SCALE", total), c.output_rows)


def gemma3n_layer(c: Context, blocks: Layer, block: Attention, x: Node, layer: int) -> Node:
    """One layer: all streams are predicted, one goes through attention and MLP, all are corrected by what came of it."""
    streams = next(other for other in blocks.others if isinstance(other, Streams))
    own = next(other for other in blocks.others if isinstance(other, LayerInput))
    if not isinstance(blocks.mlp, DenseMlp):
        raise TypeError("experts in a layer of Gemma 3n")
    predictions = _predict(c, streams, x, layer)
    active = _stream(predictions, 0)
    normed = c.norm(active, "attn_norm", layer)
    laurel = mul_mat(c.weight("laurel_l", layer, streams.hidden_size, streams.laurel_rank), normed)
    laurel = mul_mat(c.weight("laurel_r", layer, streams.laurel_rank, streams.hidden_size), laurel)
    laurel = like("ADD", c.norm(laurel, "laurel_post_norm", layer), normed)
    out = c.norm(attend(c, block, normed, layer, factors=False), "post_attention_norm", layer)
    attended = like("SCALE", like("ADD", like("ADD", out, active), laurel))
    out = _sparse_mlp(c, blocks.mlp, c.norm(attended, "ffn_norm", layer), layer)
    out = like("ADD", c.norm(out, "post_ffw_norm", layer, pinned=False), attended)
    corrected = _correct(c, streams, predictions, out, layer)
    first = like("MUL", _stream(corrected, 0), c.weight("altup_correct_scale", layer, streams.hidden_size))
    first = _from_input(c, own, first, layer)
    return stack(_stream(corrected, 0), like("ADD", _others(corrected), first))


def _magnitude(x: Node) -> Node:
    return like("SQRT", sum_rows(like("SQR", x)))


def _stream(x: Node, index: int) -> Node:
    return view(x, x.shape[:2], x.strides[1:2], index * x.strides[2])


def _others(x: Node) -> Node:
    """All streams but the first."""
    return view(x, (*x.shape[:2], x.shape[2] - 1), x.strides[1:3], x.strides[2])


def _modalities(c: Context, block: Streams, x: Node, layer: int) -> Node:
    """altup_compute_router_modalities."""
    routed = like("SCALE", c.norm(x, "altup_router_norm", layer))
    return like("TANH", mul_mat(c.weight("altup_router", layer, block.hidden_size, block.inputs), routed))


def _predict(c: Context, block: Streams, x: Node, layer: int) -> Node:
    """altup_predict."""
    count = block.inputs
    factors = mul_mat(c.weight("altup_predict_coef", layer, count, count * count), _modalities(c, block, _stream(x, 0), layer))
    mixed = mul_mat(cont(rotate_axes(x)), reshape(factors, count, count, c.tokens))
    return like("ADD", cont(permute(mixed)), x)


def _correct(c: Context, block: Streams, predictions: Node, out: Node, layer: int) -> Node:
    """altup_correct."""
    count = block.inputs
    modalities = _modalities(c, block, out, layer)
    innovation = like("SUB", out, _stream(predictions, 0))
    factors = like("SCALE", mul_mat(c.weight("altup_correct_coef", layer, count, count), modalities))
    factors = new("CONT", F32, (1, c.tokens, count, 1), transpose(factors))
    corrected = like("MUL", repeat(innovation, block.hidden_size, c.tokens, count), factors)
    return like("ADD", corrected, predictions)


def _sparse_mlp(c: Context, block: DenseMlp, x: Node, layer: int) -> Node:
    """An MLP whose gate is cut off below so many deviations from its mean in the first layers (gaussian_topk)."""
    d, width = block.hidden_size, block.intermediate_size
    up = mul_mat(c.weight("ffn_up", layer, d, width), x)
    gate = mul_mat(c.weight("ffn_gate", layer, d, width), x)
    if layer < _SPARSE_LAYERS:
        mean = new("MEAN", F32, (1, *gate.shape[1:]), gate)
        deviation = like("SQRT", like("SCALE", sum_rows(like("SQR", like("SUB", gate, mean)))))
        gate = like("RELU", like("SUB", gate, like("ADD", mean, like("SCALE", deviation))))
    return mul_mat(c.weight("ffn_down", layer, width, d), like("MUL", up, like("GELU", gate)))
