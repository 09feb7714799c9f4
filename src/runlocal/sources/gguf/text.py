"""The language model that a file holds, but for what only some architectures have (`gemma`, `states`, `delta`)."""

from runlocal.core.model import Experts, NextTokens, Text
from runlocal.sources.files import bad_file
from runlocal.sources.gguf.metadata import BROKEN, Metadata
from runlocal.sources.gguf.mixers import compressed_of, delta_net_of, indexer_of, latent_of, short_conv_of
from runlocal.sources.gguf.shapes import Shapes, columns_of, rows_of, table_rows_of
from runlocal.sources.gguf.stored import matrices
from runlocal.sources.gguf.windows import WINDOWS, window_of

_NORMS = ("attn_norm", "attn_norm_2", "attn_output_norm", "layer_output_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
_POOLINGS = {1: "mean", 2: "cls", 3: "last"}  # enum llama_pooling_type
# Whose queries, keys and values are one matrix in some files: the converter takes it apart, older ones and Moondream's script did not.
_FUSED_OR_APART = ("phi2",)
# Whose values may be narrower than keys.
_NARROW_VALUES = ("mimo2",)


def read_text(fields: Metadata, shapes: Shapes) -> Text:
    """The language model. Raises Problem (bad_file, not_computed)."""
    hidden_size = fields.positive("embedding_length")
    if columns_of(fields, shapes, "token_embd") != hidden_size:
        raise bad_file(fields.path, f"embedding_length says {hidden_size}, the embedding's rows are otherwise", hint=BROKEN)
    tied = not shapes.has("output")
    rows = rows_of(fields, shapes, "token_embd")
    vocabulary_size = rows if tied else rows_of(fields, shapes, "output")
    next_layers = fields.number("nextn_predict_layers", 0)
    if next_layers >= fields.layers:
        raise bad_file(fields.path, "all its layers predict further tokens", hint=BROKEN)
    layers = fields.layers - next_layers
    window = window_of(fields, layers)
    full = window.full_layers if window and window.full_layers and WINDOWS[fields.architecture].own_heads else None
    short_conv = short_conv_of(fields, shapes, layers)
    if short_conv:
        full = tuple(layer for layer in range(layers) if layer not in short_conv.layers)
    heads = fields.positive("attention.head_count", among=full)
    latent = latent_of(fields)
    head_dim = latent.qk_nope_head_dim + latent.qk_rope_head_dim if latent else fields.positive("attention.key_length", hidden_size // heads)
    value_dim = None if latent else fields.positive("attention.value_length", head_dim)
    if value_dim not in (None, head_dim) and fields.architecture not in _NARROW_VALUES:
        raise fields.not_computed("its keys and values differ in width")
    kv_heads = heads if latent else fields.positive("attention.head_count_kv", heads, among=full)
    _divides(fields, heads, kv_heads)
    if window and full:
        local = [layer for layer in range(fields.layers) if layer not in full]
        own, own_kv = fields.positive("attention.head_count", among=local), fields.positive("attention.head_count_kv", heads, among=local)
        _divides(fields, own, own_kv)
        window = window._replace(heads=own if own != heads else None, kv_heads=own_kv if own_kv != kv_heads else None)
    if fields.architecture == "cohere2moe" and (shapes.has("ffn_down_shexp") or _norm(fields, shapes) != "rmsnorm"):
        raise fields.not_computed("it has another layer than North Mini Code")
    if fields.architecture == "laguna" and rows_of(fields, shapes, "attn_gate") not in (heads, window.heads if window else heads):
        raise fields.not_computed("its attention has a gate for every value")
    rotated = fields.optional("rope.dimension_count")
    return Text(
        layers=layers,
        hidden_size=hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary_size=vocabulary_size,
        tied_embeddings=tied,
        intermediate_size=columns_of(fields, shapes, "ffn_down") if shapes.has("ffn_down") else 0,
        qkv_bias=shapes.has("attn_q.bias", "attn_qkv.bias"),
        fused_qkv=fields.architecture in _FUSED_OR_APART and shapes.has("attn_qkv"),
        output_bias=shapes.has("attn_output.bias"),
        mlp_bias=shapes.has("ffn_down.bias", "ffn_down_exps.bias"),
        gated_mlp=shapes.has("ffn_gate", "ffn_gate_exps", "ffn_gate_up_exps") or _fused(shapes),
        qk_norm=_qk_norm(shapes, heads, head_dim),
        norm=_norm(fields, shapes),
        norms_per_layer=sum(shapes.has(role) for role in _NORMS),
        extra_embedding_rows=max(0, rows - vocabulary_size),
        rope_scaling="llama3" if shapes.has("rope_freqs") else "longrope" if shapes.has("rope_factors_long") else None,
        rope_dimensions=rotated if rotated and rotated != head_dim and not latent else None,
        deepstack=fields.optional("n_deepstack_layers") != 0,
        experts=_experts(fields, shapes),
        latent=latent,
        indexer=indexer_of(fields, shapes, layers),
        compressed=compressed_of(fields),
        delta_net=delta_net_of(fields, shapes),
        window=window,
        next_tokens=_next_tokens(shapes, layers, next_layers),
        value_dim=value_dim if value_dim != head_dim else None,
        position_embeddings=table_rows_of(shapes, "position_embd"),
        token_types=table_rows_of(shapes, "token_types"),
        pooling=_POOLINGS.get(fields.optional("pooling_type") or 0),
        hc_mult=fields.positive("hyper_connection.count", 1),
        short_conv=short_conv,
    )


def searched(fields: Metadata, shapes: Shapes, text: Text) -> Text:
    """What a search left of each layer."""
    attending = shapes.layers.get("attn_q", ())
    if shapes.layers.get("attn_output", ()) != attending:
        raise fields.not_computed("it has a matrix in place of attention")
    widths = {layer: shape[0] for role, layer, shape in matrices(fields.header) if role == "ffn_down" and layer is not None}
    if not attending or not widths:
        raise bad_file(fields.path, "holds no attention or no MLP", hint=BROKEN)
    return text._replace(
        intermediate_size=max(widths.values()),
        attention_layers=attending,
        mlp_layers=tuple(sorted(widths)) if len(widths) < text.layers else None,
        intermediate_sizes=tuple(widths.get(layer, 0) for layer in range(text.layers)),
    )


def _divides(fields: Metadata, heads: int, kv_heads: int) -> None:
    if heads % kv_heads:
        raise bad_file(fields.path, f"{heads} heads cannot share {kv_heads} key and value heads", hint=BROKEN)


def _fused(shapes: Shapes) -> bool:
    """Gate and up are one matrix, stored as `ffn_up`."""
    up, down = shapes.dimensions.get("ffn_up"), shapes.dimensions.get("ffn_down")
    return up is not None and down is not None and len(up) > 1 and up[1] == 2 * down[0]


def _qk_norm(shapes: Shapes, heads: int, head_dim: int) -> str | None:
    found = shapes.dimensions.get("attn_q_norm")
    if found is None:
        return None
    if len(found) > 1:
        return "per_head"
    return "full" if found[0] == heads * head_dim and heads > 1 else "head"


def _norm(fields: Metadata, shapes: Shapes) -> str:
    if not any(shapes.has(role) for role in _NORMS):
        return "none"
    if shapes.has("attn_norm.bias", "attn_output_norm.bias"):
        return "layernorm"
    named = {kind for kind in ("", "rms_") if f"{fields.architecture}.attention.layer_norm_{kind}epsilon" in fields.header.fields}
    return "layernorm_no_bias" if named == {""} else "rmsnorm"


def _experts(fields: Metadata, shapes: Shapes) -> Experts | None:
    count = fields.number("expert_count", 0)
    if not count:
        return None
    with_experts = shapes.layers.get("ffn_down_exps")
    if with_experts is None:
        raise fields.not_computed(
            "it keeps every expert in tensors of its own, as files of early 2024 do", hint="convert the model again with today's llama.cpp"
        )
    used = fields.positive("expert_used_count")
    found = shapes.dimensions["ffn_down_exps"]
    if len(found) != 3 or found[2] != count or used > count:
        raise bad_file(fields.path, f"{count} experts, {used} of them used, contradict the tensor ffn_down_exps", hint=BROKEN)
    leading = with_experts[0]
    dense = set(shapes.layers.get("ffn_down", ()))
    return Experts(
        count=count,
        used=used,
        intermediate_size=found[0],
        shared_intermediate_size=columns_of(fields, shapes, "ffn_down_shexp") if shapes.has("ffn_down_shexp") else 0,
        shared_gate=shapes.has("ffn_gate_inp_shexp"),
        leading_dense_layers=leading,
        layers=None if with_experts == tuple(range(leading, fields.layers)) else with_experts,
        router_bias=shapes.has("exp_probs_b.bias", "exp_probs_b", "ffn_gate_inp.bias"),
        parallel_dense=bool(dense.intersection(with_experts)),
        hash_layers=len(shapes.layers.get("ffn_gate_tid2eid", ())),
    )


def _next_tokens(shapes: Shapes, layers: int, next_layers: int) -> NextTokens | None:
    if not next_layers:
        return None
    stored = any(layer >= layers for found in shapes.layers.values() for layer in found)
    return NextTokens(layers=next_layers, in_gguf=stored, shared_embeddings=stored and not shapes.has("nextn.embed_tokens", "nextn.shared_head_head"))
