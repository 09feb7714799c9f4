"""The layers of Gemma 4 (src/models/gemma4.cpp), and embeddings that every layer has of its own."""

from typing import TYPE_CHECKING

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.gemma import LayerInput, OutputScale
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.attention import through_cache
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.mlp import dense, experts
from runlocal.engines.ggml.graph.tensors import F32, I32, cont, get_rows, given, like, mul_mat, new, permute, reshape, view

if TYPE_CHECKING:
    from runlocal.engines.ggml.graph.decoder import Layer


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


def gemma4_layer(c: Context, blocks: "Layer", block: Attention, x: Node, layer: int) -> Node:
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
