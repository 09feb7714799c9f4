"""config.json of Hugging Face's transformers to `ModelSpec`."""

import json
import os
from collections.abc import Mapping
from typing import Any

from runlocal.architectures.blocks.compressed import RATIOS
from runlocal.core.errors import Code, Problem
from runlocal.core.model import Compressed, Cross, DeltaNet, Indexer, Latent, ModelSpec, NextTokens, ShortConv, Text, Window
from runlocal.sources import delta, gemma
from runlocal.sources import vision as towers
from runlocal.sources.encoders import ENCODERS, pooled
from runlocal.sources.families import FAMILIES, MODEL_TYPES, WRAPPERS, Family, Sliding, Wrapper
from runlocal.sources.files import bad_file, clean, identifier, label, read_all
from runlocal.sources.keys import LARGEST_LAYERS, Keys
from runlocal.sources.linear import LINEAR
from runlocal.sources.mixtures import experts
from runlocal.sources.renamed import RENAMED
from runlocal.sources.searched import searched
from runlocal.sources.states import STATEFUL, stateful
from runlocal.sources.stranger import UNKNOWN, stranger

LIMIT_BYTES = 4 << 20

# What LlamaConfig and MistralConfig assume, and a config nested in another one leaves out where it is so.
_NESTED = {
    "llama": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "max_position_embeddings": 2048,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "vocab_size": 32000,
    },
    "mistral": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
    },
}
_TYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "half": "F16", "float": "F32"}
_FACTORS = {"llama3": "llama3", "longrope": "longrope", "su": "longrope"}
_MLLAMA_EXTRA_ROWS = 8
"""MllamaTextModel's embedding has eight rows more than the vocabulary, for image tokens."""


def read_config(path: str) -> ModelSpec:
    """The model that the config.json at `path` describes; its id is the name of the folder it lies in.

    Raises Problem: bad_file where it is no JSON object or a field is missing (named) or senseless; not_computed for a class of model that this
    version does not lay out (named).
    """
    folder = os.path.dirname(os.path.abspath(path))
    return pooled(spec(parse_object(read_all(path, LIMIT_BYTES), path), path, identifier(os.path.basename(folder))), folder)


def parse_object(content: bytes, path: str) -> dict[str, Any]:
    """The JSON object in `content`. Raises Problem (bad_file)."""
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad_file(path, "is no JSON: the file is broken or cut short", hint="download it again") from error
    if not isinstance(table, dict):
        raise bad_file(path, "holds no JSON object")
    return table


def spec(table: Mapping[str, Any], path: str, model_id: str) -> ModelSpec:
    """The model that the object describes. Raises Problem as `read_config` does."""
    top = Keys(table, path)
    name = _class_name(top)
    if name is None:
        raise top.bad("architectures", "is missing")
    if wrapper := WRAPPERS.get(name):
        text_class, inner = _inner_text(top, wrapper)
        family = FAMILIES[text_class]
        if wrapper.architecture and family.architecture not in wrapper.keeps:
            family = family._replace(architecture=wrapper.architecture)
    elif found := FAMILIES.get(name):
        family, inner = found, top
    else:
        raise Problem(
            Code.NOT_COMPUTED,
            f"{label(path)} describes a {clean(name)}, a class of model that this version does not read",
            hint="`runlocal models` lists the models that are known by name",
        )
    keys = inner._replace(defaults={**inner.defaults, **family.defaults}, names=family.names)
    if family.architecture == "falcon":
        keys = _falcon(keys)
    if rename := RENAMED.get(family.architecture):
        keys = rename(keys)
    gained: Mapping[str, Any] = {}
    if family.architecture == "deci":
        keys, gained = searched(keys)
    if family.architecture in delta.DELTA:
        keys, gained = delta.renamed(keys, family.architecture), delta.gained(keys, family.architecture)
    if family.architecture in STATEFUL:
        keys, gained, architecture = stateful(keys, family.architecture)
        family = family._replace(architecture=architecture)
    if reader := (LINEAR.get(family.architecture) or ENCODERS.get(family.architecture)):
        renamed, gained = reader(keys)
        keys = keys._replace(table={**keys.table, **renamed})
    text = _text(keys, top, family)._replace(**gained)
    if family.architecture == "gemma4":
        text = gemma.gemma4(keys, text)
    elif family.architecture == "gemma3n":
        text = gemma.gemma3n(keys, text)
    unpriced = {**gemma.UNPRICED, **delta.UNPRICED}.get(family.architecture)
    seen = towers.read(top, wrapper.tower, text.hidden_size) if wrapper and not unpriced else None
    if text.cross and seen is None:
        raise top.bad("vision_config", "is missing")
    described = stranger(
        path,
        model_id=model_id,
        architecture=family.architecture,
        hf_architecture=name,
        checkpoint_type=checkpoint_type(top, keys),
        context_tokens=keys.number("max_position_embeddings"),
        text=text,
        what="config.json",
        vision=seen,
        note=unpriced if wrapper else None,
    )
    if family.architecture in gemma.HEARING and top.get("audio_config"):
        return described._replace(modalities=(*described.modalities, "audio"), note=gemma.NOTE)
    return described


def _class_name(keys: Keys) -> str | None:
    named = keys.items("architectures")
    return clean(named[0]) if named and isinstance(named[0], str) else MODEL_TYPES.get(keys.text("model_type") or "")


def _inner_text(top: Keys, wrapper: Wrapper) -> tuple[str, Keys]:
    """The class of the language model behind a tower, and its config: nested, or (in older files) the file itself."""
    nested = next((found for key in ("text_config", "llm_config", "language_config") if (found := top.inner(key)) is not None), top)
    named = wrapper.text or (_class_name(nested) if nested is not top else None)
    if named is None or named not in FAMILIES:
        raise nested.not_computed(f"its language model is {clean(named or nested.text('model_type') or 'not named')}")
    if nested is top:
        return named, top
    return named, nested._replace(defaults=_NESTED.get(nested.text("model_type") or "", {}))


def checkpoint_type(top: Keys, inner: Keys) -> str:
    """What the checkpoint is stored in: its quantization, else its dtype, `unknown` where config.json names neither."""
    for keys in (top, inner):
        quantized = keys.inner("quantization_config")
        method = quantized.text("quant_method") if quantized else None
        match method:
            case None:
                continue
            case "fp8" | "fbgemm_fp8":
                return "FP8"
            case "modelopt":
                return ((quantized and quantized.text("quant_algo")) or method).upper()
            case "compressed-tensors":
                form = (quantized and quantized.text("format")) or ""
                return "MXFP4" if form.startswith("mxfp4") else "INT4" if "pack" in form else "FP8"
            case _:
                return method.upper()
    for keys in (top, inner):
        for key in ("dtype", "torch_dtype"):
            if found := _TYPES.get((keys.text(key) or "").removeprefix("torch.")):
                return found
    return UNKNOWN


def _decided(keys: Keys, rule: bool | str) -> bool:
    return rule if isinstance(rule, bool) else keys.flag(rule, default=rule == "use_bias" and keys.text("model_type") == "starcoder2")


def _text(keys: Keys, top: Keys, family: Family) -> Text:
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
        window=_own_heads(keys, family, heads, kv_heads, _window(keys, family, layers)),
        cross=Cross(layers=cross) if cross else None,
        next_tokens=_next_tokens(keys, family),
        short_conv=_short_conv(keys, layers) if family.architecture in ("lfm2", "lfm2moe") else None,
        value_dim=keys.number("v_head_dim") if family.architecture == "mimo2" else None,
        hc_mult=keys.number("hc_mult") if family.compressed else 1,
    )


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


def _window(keys: Keys, family: Family, layers: int) -> Window | None:
    """The window, None where there is none or it is as long as the context."""
    if family.sliding is None:
        return None
    if family.sliding is Sliding.CHUNKED:
        tokens, chunked = keys.maybe("attention_chunk_size"), True
    else:
        tokens, chunked = keys.maybe("sliding_window"), False
    if not tokens or tokens >= keys.number("max_position_embeddings") or not keys.flag("use_sliding_window", family.sliding is not Sliding.SWITCHED):
        return None
    kinds = keys.items("layer_types")
    if kinds is not None:
        if len(kinds) != layers:
            raise keys.bad("layer_types", f"names {len(kinds)} layers of {layers}")
        if other := next((kind for kind in kinds if kind not in ("full_attention", "sliding_attention", "chunked_attention")), None):
            raise keys.not_computed(f"it has layers of {clean(str(other))}")
        full = tuple(layer for layer, kind in enumerate(kinds) if kind == "full_attention")
    elif family.sliding is Sliding.SWITCHED:
        full = tuple(range(min(layers, keys.number("max_window_layers"))))
    elif family.sliding is Sliding.EVERY:
        full = ()
    else:
        full = _pattern(keys, family, layers)
    return Window(tokens=tokens, full_layers=full, chunked=chunked) if len(full) < layers else None


def _own_heads(keys: Keys, family: Family, heads: int, kv_heads: int, window: Window | None) -> Window | None:
    """The window with the heads of its layers where those have others."""
    if window is None or family.architecture not in RENAMED:
        return window
    own = keys.maybe("swa_num_attention_heads") or heads
    own_kv = keys.maybe("swa_num_key_value_heads") or kv_heads
    if own % own_kv:
        raise keys.bad("swa_num_key_value_heads", f"is {own_kv}, by which {own} heads cannot be divided")
    return window._replace(heads=own if own != heads else None, kv_heads=own_kv if own_kv != kv_heads else None)


def _pattern(keys: Keys, family: Family, layers: int) -> tuple[int, ...]:
    """The layers that see everything: the last of each period, whose length the file or the class gives; Exaone writes it as `LLLG`."""
    written = keys.get("sliding_window_pattern")
    if isinstance(written, str) and written:
        return tuple(layer for layer in range(layers) if written[layer % len(written)] == "G")
    period = keys.maybe("sliding_window_pattern") or family.pattern
    if not period:
        raise keys.bad("layer_types", "is missing")
    return tuple(range(period - 1, layers, period))


def _falcon(keys: Keys) -> Keys:
    """Falcon's keys under the names that the others have (FalconConfig)."""
    grouped = keys.flag("new_decoder_architecture")
    heads = keys.number("num_attention_heads", "n_head")
    kv_heads = keys.maybe("num_kv_heads") if grouped else None if not keys.flag("multi_query", True) else 1
    return keys._replace(
        table={
            **keys.table,
            "num_attention_heads": heads,
            "num_hidden_layers": keys.number("num_hidden_layers", "n_layer"),
            "num_key_value_heads": kv_heads or heads,
            "intermediate_size": keys.maybe("ffn_hidden_size") or 4 * keys.number("hidden_size"),
            "max_position_embeddings": keys.maybe("max_position_embeddings") or 2048,
            "norms_per_layer": (keys.maybe("num_ln_in_parallel_attn") or 2) if grouped else 1,
        }
    )
