"""The language model that a config.json describes, but for what only some architectures have (`gemma`, `states`, `linear`, …)."""

from runlocal.architectures.blocks.compressed import RATIOS
from runlocal.core.model import Compressed, Cross, DeltaNet, Indexer, Latent, NextTokens, ShortConv, Text
from runlocal.sources.family import Family
from runlocal.sources.files import clean
from runlocal.sources.keys import LARGEST_LAYERS, Keys
from runlocal.sources.mixtures import experts
from runlocal.sources.windows import window_of, with_own_heads

_FACTORS = {"llama3": "llama3", "longrope": "longrope", "su": "longrope"}
_MLLAMA_EXTRA_ROWS = 8
"""MllamaTextModel's embedding has eight rows more than the vocabulary, for image tokens."""


def read_text(keys: Keys, top: Keys, family: Family) -> Text:
    """The language model. top: the object that `keys` may be nested in. Raises Problem (bad_file, not_computed)."""
    layers = keys.number("num_hidden_layers")
    if layers > LARGEST_LAYERS:
        raise keys.bad("num_hidden_layers", f"is {layers:,}, more than any model has")
    hidden_size, heads = keys.number("hidden_size"), keys.number("num_attention_heads")
    latent = _latent(keys) if family.latent else None
    head_dim = latent.qk_nope_head_dim + latent.qk_rope_head_dim if latent else keys.maybe("head_dim") or hidden_size // heads
    kv_heads = heads if latent else keys.maybe("num_key_value_heads") or heads
    if heads % kv_heads:
        raise keys.bad("num_key_value_heads", f"is {kv_heads}, by which {heads} heads cannot be divided")
    mixture = experts(keys, family, layers)
    if mixture and family.compressed:
        mixture = mixture._replace(hash_layers=min(layers, keys.maybe("num_hash_layers") or 0))
    all_experts = mixture is not None and not mixture.leading_dense_layers and mixture.layers is None
    dense_key = "intermediate_size_mlp" if family.architecture == "llama4" else "intermediate_size"
    rotated = int(head_dim * (keys.share("partial_rotary_factor") or _rope(keys).share("partial_rotary_factor") or family.rotary / 4))
    if family.architecture == "stablelm" and keys.flag("qk_layernorm"):
        raise keys.not_computed("its queries and keys have a norm per head")
    if family.architecture == "spark2_5" and not keys.flag("headwise_attn_output_gate", True):
        raise keys.not_computed("its heads have no gates")
    if family.architecture == "minicpm" and keys.maybe("num_experts"):
        raise keys.not_computed("it has experts, which llama.cpp's converter does not read")
    cross = keys.indices("cross_attention_layers", layers) if family.architecture == "mllama" else None
    if family.architecture == "mllama" and not cross:
        raise keys.bad("cross_attention_layers", "is missing")
    return Text(
        layers=layers,
        hidden_size=hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary_size=keys.number("vocab_size"),
        tied_embeddings=_tied(keys, top, family),
        intermediate_size=0 if all_experts else keys.number(dense_key),
        qkv_bias=_decided(keys, family.qkv_bias),
        output_bias=_decided(keys, family.output_bias),
        mlp_bias=_decided(keys, family.mlp_bias),
        gated_mlp=family.gated_mlp,
        qk_norm=family.qk_norm if family.qk_norm_key is None or keys.flag(family.qk_norm_key) else None,
        norm=family.norm,
        norms_per_layer=keys.maybe("norms_per_layer") or family.norms_per_layer,
        extra_embedding_rows=_MLLAMA_EXTRA_ROWS if family.architecture == "mllama" else 0,
        rope_scaling=_FACTORS.get(_rope(keys).text("rope_type") or _rope(keys).text("type") or ""),
        rope_dimensions=rotated if rotated != head_dim and not latent else None,
        experts=mixture,
        latent=latent,
        indexer=_indexer(keys, layers) if family.indexer else None,
        compressed=_compressed(keys, layers, heads) if family.compressed else None,
        delta_net=_delta_net(keys, layers) if family.delta_net else None,
        window=with_own_heads(keys, family, heads, kv_heads, window_of(keys, family, layers)),
        cross=Cross(layers=cross) if cross else None,
        next_tokens=_next_tokens(keys, family),
        short_conv=_short_conv(keys, layers) if family.architecture in ("lfm2", "lfm2moe") else None,
        value_dim=keys.number("v_head_dim") if family.architecture == "mimo2" else None,
        hc_mult=keys.number("hc_mult") if family.compressed else 1,
    )


def _decided(keys: Keys, rule: bool | str) -> bool:
    return rule if isinstance(rule, bool) else keys.flag(rule, default=rule == "use_bias" and keys.text("model_type") == "starcoder2")


def _tied(keys: Keys, top: Keys, family: Family) -> bool:
    """Of a config nested in another one, the outer one decides where it says anything."""
    outer = top.get("tie_word_embeddings")
    return outer if isinstance(outer, bool) else keys.flag("tie_word_embeddings", family.tied)


def _rope(keys: Keys) -> Keys:
    """The object that describes rotary positions: `rope_parameters` since transformers 5, `rope_scaling` before."""
    return keys.inner("rope_parameters") or keys.inner("rope_scaling") or Keys({}, keys.path)


def _latent(keys: Keys) -> Latent:
    if keys.flag("attention_bias"):
        raise keys.not_computed("its latent attention has biases")
    return Latent(
        kv_lora_rank=keys.number("kv_lora_rank"),
        qk_rope_head_dim=keys.number("qk_rope_head_dim") if keys.maybe("qk_rope_head_dim") != 0 else 0,
        qk_nope_head_dim=keys.number("qk_nope_head_dim"),
        v_head_dim=keys.number("v_head_dim"),
        q_lora_rank=keys.maybe("q_lora_rank") or None,
    )


def _compressed(keys: Keys, layers: int, heads: int) -> Compressed:
    """The list of ratios goes on behind the last layer, for those that predict further tokens."""
    ratios = keys.items("compress_ratios")
    if ratios is None or len(ratios) < layers:
        raise keys.bad("compress_ratios", "is missing" if ratios is None else f"names {len(ratios)} layers of {layers}")
    if other := next((ratio for ratio in ratios[:layers] if isinstance(ratio, bool) or ratio not in RATIOS), None):
        raise keys.not_computed(f"it makes one of {clean(repr(other), 40)} tokens")
    groups = keys.number("o_groups")
    if heads % groups:
        raise keys.bad("o_groups", f"is {groups}, by which {heads} heads cannot be divided")
    return Compressed(
        q_lora_rank=keys.number("q_lora_rank"), o_groups=groups, o_lora_rank=keys.number("o_lora_rank"), compress_ratios=tuple(map(int, ratios[:layers]))
    )


def _indexer(keys: Keys, layers: int) -> Indexer:
    kinds = keys.items("indexer_types")
    if kinds is not None and (len(kinds) != layers or kinds[0] != "full" or any(kind not in ("full", "shared") for kind in kinds)):
        raise keys.bad("indexer_types", "does not name every layer full or shared, the first full")
    return Indexer(
        heads=keys.number("index_n_heads"),
        head_dim=keys.number("index_head_dim"),
        top_k=keys.number("index_topk"),
        layers=tuple(layer for layer, kind in enumerate(kinds) if kind == "full") if kinds and "shared" in kinds else None,
        block_tokens=keys.maybe("index_block_size"),
        pool_tokens=keys.maybe("index_kpool"),
    )


def _delta_net(keys: Keys, layers: int) -> DeltaNet:
    """The gated delta net of the layers that `layer_types` or the interval of full attention leave to it."""
    kinds = keys.items("layer_types")
    if kinds is None:
        every = keys.number("full_attention_interval")
        kinds = tuple("linear_attention" if (layer + 1) % every else "full_attention" for layer in range(layers))
    if len(kinds) != layers:
        raise keys.bad("layer_types", f"names {len(kinds)} layers of {layers}")
    if other := next((kind for kind in kinds if kind not in ("full_attention", "linear_attention")), None):
        raise keys.not_computed(f"it has layers of {clean(str(other))}")
    dim, key_heads, value_heads = keys.number("linear_key_head_dim"), keys.number("linear_num_key_heads"), keys.number("linear_num_value_heads")
    if keys.number("linear_value_head_dim") != dim or value_heads % key_heads:
        raise keys.not_computed("the keys and values of its linear attention do not go together")
    if not keys.flag("attn_output_gate", True):
        raise keys.not_computed("its attention has no gate")
    linear = tuple(layer for layer, kind in enumerate(kinds) if kind == "linear_attention")
    return DeltaNet(key_heads, value_heads, dim, keys.number("linear_conv_kernel_dim"), linear)


def _next_tokens(keys: Keys, family: Family) -> NextTokens | None:
    count = keys.maybe("num_nextn_predict_layers") if family.next_tokens is not None else None
    if count and count > keys.number("num_hidden_layers"):
        raise keys.bad("num_nextn_predict_layers", f"is {count:,}, more than the model has layers")
    return NextTokens(layers=count, in_gguf=bool(family.next_tokens), shared_embeddings=family.shared_embeddings) if count else None


def _short_conv(keys: Keys, layers: int) -> ShortConv | None:
    """The layers that are not named as attention; older files name those by their indices."""
    kinds = keys.items("layer_types")
    attending = keys.indices("full_attn_idxs", layers) if kinds is None else tuple(layer for layer, kind in enumerate(kinds) if kind == "full_attention")
    if attending is None:
        raise keys.bad("layer_types", "is missing")
    if kinds is not None and len(kinds) != layers:
        raise keys.bad("layer_types", f"names {len(kinds)} layers of {layers}")
    size = keys.number("conv_L_cache")
    if size < 2:
        raise keys.bad("conv_L_cache", f"is {size}, which remembers nothing")
    others = tuple(layer for layer in range(layers) if layer not in attending)
    return ShortConv(conv_size=size, layers=others) if others else None
