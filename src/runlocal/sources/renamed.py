"""Classes with keys of their own: under the names that `config` reads, which are DeepSeek's for experts and MiMo's for heads of layers with a window."""

from collections.abc import Callable, Mapping
from typing import Any

from runlocal.sources.keys import LARGEST_LAYERS, Keys

_LARGEST_FACTOR = 64
_FULL, _SLIDING = "full_attention", "sliding_attention"


def _leading_dense(keys: Keys, kinds: tuple[Any, ...], dense: object) -> int:
    """How many layers come before the first with experts. Raises Problem where a dense one follows it."""
    leading = next((layer for layer, kind in enumerate(kinds) if kind != dense), len(kinds))
    if dense in kinds[leading:]:
        raise keys.not_computed("not every layer behind the dense ones has experts")
    return leading


def _shared(keys: Keys, width: int) -> int:
    """How many experts all tokens share, of which config.json has the width of all together."""
    if width % keys.number("moe_intermediate_size"):
        raise keys.not_computed("its shared experts are not as wide as the others")
    return width // keys.number("moe_intermediate_size")


def _same(keys: Keys, key: str, numbers: list[int]) -> int | None:
    if len(set(numbers)) > 1:
        raise keys.not_computed(f"its layers differ in {keys.where}{key} beyond those with a window")
    return numbers[0] if numbers else None


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


def _laguna(keys: Keys) -> Keys:
    """Laguna: query heads by layer, kinds of MLP by layer."""
    layers = min(keys.number("num_hidden_layers"), LARGEST_LAYERS)
    gates = {str(kind).replace("-", "_") for kind in keys.items("gating_types") or (keys.get("gating"),)}
    if not gates <= {"per_head", "True"}:
        raise keys.not_computed("its attention has no gate per head")
    table: dict[str, Any] = {
        "n_routed_experts": keys.number("num_experts"),
        "n_shared_experts": _shared(keys, keys.number("shared_expert_intermediate_size")),
        "first_k_dense_replace": _leading_dense(keys, keys.items("mlp_layer_types") or (), "dense"),
    }
    kinds = keys.items("layer_types") or (_FULL,) * layers
    if heads := keys.items("num_attention_heads_per_layer"):
        if len(heads) != layers or len(kinds) != layers or not all(isinstance(count, int) and count > 0 for count in heads):
            raise keys.bad("num_attention_heads_per_layer", "does not name the heads of every layer")
        for key, kind in (("num_attention_heads", _FULL), ("swa_num_attention_heads", _SLIDING)):
            table[key] = _same(keys, "num_attention_heads_per_layer", [count for count, is_kind in zip(heads, kinds, strict=True) if is_kind == kind])
    return keys._replace(table={**keys.table, **table})


def _mimo2(keys: Keys) -> Keys:
    """MiMo V2: layers with a window and with experts are marked by ones. The number of next-token layers is nowhere in the file."""
    for key, other in (("swa_head_dim", "head_dim"), ("swa_v_head_dim", "v_head_dim"), ("swa_num_attention_heads", "num_attention_heads")):
        if keys.number(key) != keys.number(other):
            raise keys.not_computed(f"{key} is not {other}")
    if keys.flag("add_full_attention_sink_bias") or not keys.flag("add_swa_attention_sink_bias"):
        raise keys.not_computed("its attention sinks are not in the layers with a window alone")
    table = {
        "layer_types": [_SLIDING if kind else _FULL for kind in keys.items("hybrid_layer_pattern") or ()] or None,
        "first_k_dense_replace": _leading_dense(keys, keys.items("moe_layer_freq") or (), 0),
        "moe_layer_freq": 1,
    }
    return keys._replace(table={**keys.table, **table})


def _step35(keys: Keys) -> Keys:
    """Step 3.5: a second set of heads, layers with experts as text, next-token layers among the kinds of layers."""
    layers = min(keys.number("num_hidden_layers"), LARGEST_LAYERS)
    if not keys.flag("use_head_wise_attn_gate"):
        raise keys.not_computed("its attention has no gate per head")
    named = {part.strip() for part in (keys.text("moe_layers_enum") or "").split(",")}
    other = keys.inner("attention_other_setting")
    table = {
        "layer_types": list(keys.items("layer_types") or ())[:layers] or None,
        "max_position_embeddings": keys.number("max_position_embeddings", "max_seq_len"),
        "num_key_value_heads": keys.number("num_attention_groups"),
        "swa_num_attention_heads": other.number("num_attention_heads") if other else None,
        "swa_num_key_value_heads": other.number("num_attention_groups") if other else None,
        "n_routed_experts": keys.number("moe_num_experts"),
        "num_experts_per_tok": keys.number("moe_top_k"),
        "n_shared_experts": _shared(keys, keys.number("share_expert_dim")),
        "first_k_dense_replace": _leading_dense(keys, tuple(str(layer) in named for layer in range(layers)), dense=False),
    }
    return keys._replace(table={**keys.table, **table})


def _cohere2moe(keys: Keys) -> Keys:
    """Cohere's mixture: `intermediate_size` is an expert's width; with `rms_norm_eps` its norms are RMSNorm, else LayerNorm."""
    if keys.get("rms_norm_eps") is None or keys.flag("use_qk_norm") or keys.flag("attention_bias") or not keys.flag("use_parallel_block", True):
        raise keys.not_computed("it has another layer than North Mini Code")
    if keys.maybe("num_shared_experts") != 0:
        raise keys.not_computed("it has shared experts")
    width = keys.number("intermediate_size")
    kinds = keys.items("mlp_layer_types")
    table = {
        "n_routed_experts": keys.number("num_experts"),
        "moe_intermediate_size": width,
        "intermediate_size": keys.maybe("prefix_dense_intermediate_size") or width,
        "first_k_dense_replace": keys.maybe("first_k_dense_replace") if kinds is None else _leading_dense(keys, kinds, "dense"),
    }
    return keys._replace(table={**keys.table, **table})


def _qwen(keys: Keys) -> Keys:
    """The first Qwen counts gate and up together."""
    return keys._replace(table={**keys.table, "intermediate_size": keys.number("intermediate_size") // 2})


def _dbrx(keys: Keys) -> Keys:
    """DBRX's keys, two objects of them, under the names that the others have (DbrxConfig)."""
    attention, mlp = keys.inner("attn_config"), keys.inner("ffn_config")
    if attention is None or mlp is None:
        raise keys.bad("attn_config" if attention is None else "ffn_config", "is missing")
    return keys._replace(
        table={
            **keys.table,
            "hidden_size": keys.number("d_model"),
            "num_attention_heads": keys.number("n_heads"),
            "num_hidden_layers": keys.number("n_layers"),
            "max_position_embeddings": keys.number("max_seq_len"),
            "num_key_value_heads": attention.number("kv_n_heads"),
            "intermediate_size": mlp.number("ffn_hidden_size"),
            "num_local_experts": mlp.number("moe_num_experts"),
            "num_experts_per_tok": mlp.number("moe_top_k"),
        }
    )


def _minicpm3(keys: Keys) -> Keys:
    """MiniCPM3: a value is as wide as the hidden size has room for, where config.json does not say."""
    return keys._replace(defaults={**keys.defaults, "v_head_dim": keys.number("hidden_size") // keys.number("num_attention_heads")})


def _lfm2(keys: Keys) -> Keys:
    """LFM2: the width of the MLP is adjusted as Lfm2MLP does, unless config.json says otherwise."""
    if keys.flag("conv_bias"):
        raise keys.not_computed("its convolutions have biases")
    width = keys.number("block_ff_dim", "intermediate_size")
    if keys.flag("block_auto_adjust_ff_dim", True):
        factor = keys.get("block_ffn_dim_multiplier")
        if factor is not None and (isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= _LARGEST_FACTOR):
            raise keys.bad("block_ffn_dim_multiplier", "is no sensible factor")
        unit = keys.number("block_multiple_of")
        width = -(-int((factor or 1.0) * (2 * width // 3)) // unit) * unit
    return keys._replace(table={**keys.table, "intermediate_size": width})


def _lfm2moe(keys: Keys) -> Keys:
    """LFM2 with experts."""
    if keys.flag("conv_bias") or not keys.flag("use_expert_bias", True):
        raise keys.not_computed("its convolutions have biases, or its router has none")
    return keys._replace(table={**keys.table, "n_routed_experts": keys.number("num_experts"), "first_k_dense_replace": keys.maybe("num_dense_layers")})


def _minimax_m3(keys: Keys) -> Keys:
    """MiniMax M3: an object of its own for the choice of blocks; layers with experts, and those that choose, are marked by ones."""
    sparse, kinds = keys.inner("sparse_attention_config"), keys.items("moe_layer_freq")
    if sparse is None or kinds is None:
        raise keys.bad("moe_layer_freq" if sparse else "sparse_attention_config", "is missing")
    if len(kinds) != keys.number("num_hidden_layers"):
        raise keys.bad("moe_layer_freq", f"names {len(kinds)} layers")
    if not sparse.flag("use_sparse_attention", True) or sparse.items("sparse_attention_freq") not in (None, kinds):
        raise keys.not_computed("its layers with experts and those that choose blocks of tokens are not the same")
    if keys.flag("attention_output_gate") or keys.text("qk_norm_type") not in (None, "per_head"):
        raise keys.not_computed("its attention has a gate, or a norm over all heads")
    if keys.number("num_key_value_heads") != sparse.number("sparse_num_index_heads"):
        raise keys.not_computed("its indexer has not one head per key and value head")
    table = {
        "n_routed_experts": keys.number("num_local_experts"),
        "moe_intermediate_size": keys.number("intermediate_size"),
        "intermediate_size": keys.number("dense_intermediate_size"),
        "first_k_dense_replace": _leading_dense(keys, kinds, 0),
        "moe_layer_freq": 1,
        "index_n_heads": sparse.number("sparse_num_index_heads"),
        "index_head_dim": sparse.number("sparse_index_dim"),
        "index_topk": sparse.number("sparse_topk_blocks"),
        "index_block_size": sparse.number("sparse_block_size"),
    }
    return keys._replace(table={**keys.table, **table})


RENAMED: Mapping[str, Callable[[Keys], Keys]] = {
    "cohere2moe": _cohere2moe,
    "dbrx": _dbrx,
    "falcon": _falcon,
    "laguna": _laguna,
    "mimo2": _mimo2,
    "minicpm3": _minicpm3,
    "minimax-m3": _minimax_m3,
    "qwen": _qwen,
    "lfm2": _lfm2,
    "lfm2moe": _lfm2moe,
    "step35": _step35,
}
