"""Kimi delta attention as config.json describes it: Kimi Linear, Kimi K3, GLM-5.3 Flash."""

from collections.abc import Mapping
from typing import Any

from runlocal.core.model import KimiDelta
from runlocal.sources.keys import LARGEST_LAYERS, Keys

DELTA = ("glm5-next", "kimi-k3", "kimi-linear")
UNPRICED = {"kimi-k3": "llama.cpp's converter leaves its tower for images out, which is not priced."}


def renamed(keys: Keys, architecture: str) -> Keys:
    """The keys under the names that `config` reads."""
    if architecture == "glm5-next":
        return keys
    table = {
        "max_position_embeddings": keys.number("max_position_embeddings", "model_max_length"),
        "n_routed_experts": keys.number("num_experts"),
        "n_shared_experts": keys.maybe("num_shared_experts"),
        "num_experts_per_tok": keys.number("num_experts_per_token", "num_experts_per_tok"),
    }
    return keys._replace(table={**keys.table, **table})


def gained(keys: Keys, architecture: str) -> Mapping[str, Any]:
    """The fields of `Text` that no other class has. Raises Problem as `config` does."""
    layers, linear = min(keys.number("num_hidden_layers"), LARGEST_LAYERS), keys.inner("linear_attn_config")
    if linear is None:
        raise keys.bad("linear_attn_config", "is missing")
    if (keys.get("gate_lower_bound") or linear.get("gate_lower_bound")) is None and architecture != "kimi-linear":
        raise keys.not_computed("the decay of its linear layers has no lower bound")
    where = _of_kinds(keys, layers) if architecture == "glm5-next" else _counted_from_one(keys, linear, layers)
    if linear.number("num_heads") != keys.number("num_attention_heads"):
        raise keys.not_computed("its linear layers have another number of heads")
    found: dict[str, Any] = {"kimi_delta": KimiDelta(linear.number("num_heads"), linear.number("head_dim"), linear.number("short_conv_kernel_size"), where)}
    if architecture == "glm5-next":
        if not keys.flag("mhc", True) or not keys.flag("index_kpool_always_select_tail", True):
            raise keys.not_computed("it has no residual streams, or leaves out what is behind the last pool")
        found["hc_mult"] = keys.number("hc_mult")
    if architecture == "kimi-k3":
        full_gate, normed = linear.flag("use_full_rank_gate"), keys.flag("latent_moe_use_norm", True)
        if not full_gate or not normed or not keys.flag("mla_use_output_gate"):
            raise keys.not_computed("it has other gates than Kimi K3")
        found["residual_block"] = keys.number("attn_res_block_size")
    return found


def _of_kinds(keys: Keys, layers: int) -> tuple[int, ...]:
    kinds = keys.items("layer_types") or ()
    if len(kinds) != layers or not set(kinds) <= {"linear_attention", "deepseek_sparse_attention"}:
        raise keys.bad("layer_types", "does not name every layer linear_attention or deepseek_sparse_attention")
    return tuple(layer for layer, kind in enumerate(kinds) if kind == "linear_attention")


def _counted_from_one(keys: Keys, linear: Keys, layers: int) -> tuple[int, ...]:
    full = linear.indices("full_attn_layers", layers + 1)
    if full is None:
        raise linear.bad("full_attn_layers", "is missing")
    if full[:1] in ((), (0,)):
        raise linear.bad("full_attn_layers", "does not count from 1")
    found = tuple(layer for layer in range(layers) if layer + 1 not in full)
    named = linear.indices("kda_layers", layers + 1)
    if named is not None and named != tuple(layer + 1 for layer in found):
        raise linear.bad("kda_layers", "does not name the layers without full attention")
    return found
