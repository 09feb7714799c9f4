"""State-space layers as config.json describes them: Mamba, and the hybrids that mix it with attention."""

from collections.abc import Callable, Mapping
from typing import Any

from runlocal.core.model import Experts, Mamba
from runlocal.sources.files import clean
from runlocal.sources.keys import LARGEST_LAYERS, Keys

_ENDLESS = 1 << 20  # the context that llama.cpp's converter writes where nothing limits it
_PER_RANK = 16  # inputs to a value of the time step's projection
_VOCABULARY = 8  # the converter pads the vocabulary to a multiple

Gained = Mapping[str, Any]


def stateful(keys: Keys, architecture: str) -> tuple[Keys, Gained, str]:
    """The keys under the names that `config` reads, the fields of `Text` that it does not know, and the architecture. Raises Problem as `config` does."""
    if not keys.flag("use_conv_bias", True) or not keys.flag("mamba_conv_bias", True):
        raise keys.not_computed("its convolutions have no bias")
    for key in ("use_bias", "mamba_proj_bias", "projectors_bias"):
        if keys.flag(key):
            raise keys.not_computed("its state-space layers have biases")
    renamed, gained = _READERS[architecture](keys)
    if architecture == "nemotron_h" and "experts" in gained:
        architecture = "nemotron_h_moe"
    return keys._replace(table={**keys.table, **renamed}), gained, architecture


def _rank(keys: Keys, key: str) -> int:
    return -(-keys.number("hidden_size") // _PER_RANK) if keys.get(key) in (None, "auto") else keys.number(key)


def _grouped(keys: Keys, inner: int, heads: int, groups: int) -> None:
    if inner % heads or inner % groups:
        raise keys.not_computed(f"its state-space layers of {inner} values cannot be divided into {heads} heads and {groups} groups")


def _attending(keys: Keys, kinds: tuple[Any, ...], layers: int, known: Mapping[Any, str]) -> dict[str, tuple[int, ...]]:
    """The layers of every kind. Raises Problem where they are not as many as the model has or one is not known."""
    if len(kinds) != layers:
        raise keys.not_computed(f"it names {len(kinds)} layers of {layers}")
    if other := next((kind for kind in kinds if not isinstance(kind, str) or kind not in known), None):
        raise keys.not_computed(f"it has layers of {clean(repr(other), 40)}")
    return {name: tuple(layer for layer, kind in enumerate(kinds) if known[kind] == name) for name in set(known.values())}


def _pure(keys: Keys) -> tuple[Gained, Gained]:
    """Mamba 1 and 2: no attention and no MLP."""
    hidden, vocabulary = keys.number("hidden_size", "d_model"), keys.number("vocab_size")
    inner = keys.maybe("intermediate_size") or (keys.maybe("expand") or 2) * hidden
    second = keys.text("model_type") == "mamba2" or keys.maybe("num_heads") is not None
    size = keys.maybe("state_size") or (128 if second else 16)
    if second:
        heads, groups = keys.number("num_heads"), keys.maybe("n_groups") or 1
        _grouped(keys, inner, heads, groups)
        mamba = Mamba(2, inner, size, keys.maybe("conv_kernel") or 4, heads=heads, groups=groups)
    else:
        norm = "plain" if keys.text("model_type") == "falcon_mamba" else "none"
        mamba = Mamba(1, inner, size, keys.maybe("conv_kernel") or 4, time_step_rank=_rank(keys, "time_step_rank"), norm=norm)
    renamed = {
        "hidden_size": hidden,
        "num_hidden_layers": keys.number("num_hidden_layers", "n_layer"),
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 1,
        "intermediate_size": inner,
        "vocab_size": -(-vocabulary // _VOCABULARY) * _VOCABULARY,
        "max_position_embeddings": keys.maybe("max_position_embeddings") or _ENDLESS,
    }
    return renamed, {"heads": 0, "kv_heads": 0, "head_dim": 0, "rope_dimensions": None, "intermediate_size": 0, "mamba": mamba}


def _jamba(keys: Keys) -> tuple[Gained, Gained]:
    layers, hidden = min(keys.number("num_hidden_layers"), LARGEST_LAYERS), keys.number("hidden_size")
    period, offset = keys.number("attn_layer_period"), keys.maybe("attn_layer_offset") or 0
    mamba = Mamba(
        1,
        (keys.maybe("mamba_expand") or 2) * hidden,
        keys.maybe("mamba_d_state") or 16,
        keys.maybe("mamba_d_conv") or 4,
        time_step_rank=_rank(keys, "mamba_dt_rank"),
        layers=tuple(layer for layer in range(layers) if layer < offset or (layer - offset) % period),
    )
    gained: dict[str, Any] = {"mamba": mamba}
    count = keys.maybe("num_experts") or 1
    if count > 1:
        every, first = keys.number("expert_layer_period"), keys.maybe("expert_layer_offset") or 0
        gained["experts"] = Experts(
            count=count,
            used=keys.number("num_experts_per_tok"),
            intermediate_size=keys.number("intermediate_size"),
            layers=tuple(layer for layer in range(layers) if layer >= first and not (layer - first) % every),
        )
        _fewer(keys, gained["experts"])
    return {"max_position_embeddings": keys.number("max_position_embeddings", "n_ctx")}, gained


def _fewer(keys: Keys, experts: Experts) -> None:
    if experts.used > experts.count or experts.layers == ():
        raise keys.not_computed(f"{experts.used} of {experts.count} experts contradict each other")


def _granite(keys: Keys) -> tuple[Gained, Gained]:
    layers = min(keys.number("num_hidden_layers"), LARGEST_LAYERS)
    found = _attending(keys, keys.items("layer_types") or (), layers, {"mamba": "state", "attention": "attention"})
    gained: dict[str, Any] = {}
    if found["state"]:
        inner, heads = (keys.maybe("mamba_expand") or 2) * keys.number("hidden_size"), keys.number("mamba_n_heads")
        groups = keys.maybe("mamba_n_groups") or 1
        _grouped(keys, inner, heads, groups)
        size, conv = keys.number("mamba_d_state"), keys.maybe("mamba_d_conv") or 4
        gained["mamba"] = Mamba(2, inner, size, conv, heads=heads, groups=groups, layers=found["state"])
    count, shared = keys.maybe("num_local_experts") or 0, keys.number("shared_intermediate_size")
    if count:
        used, width = keys.number("num_experts_per_tok"), keys.number("intermediate_size")
        gained |= {"experts": Experts(count=count, used=used, intermediate_size=width, shared_intermediate_size=shared), "intermediate_size": 0}
        _fewer(keys, gained["experts"])
    return {"intermediate_size": shared}, gained


_NEMOTRON = {
    "M": "state",
    "*": "attention",
    "-": "mlp",
    "E": "mlp",
    "mamba": "state",
    "linear_attention": "state",
    "attention": "attention",
    "full_attention": "attention",
    "mlp": "mlp",
    "moe": "mlp",
}


def _nemotron(keys: Keys) -> tuple[Gained, Gained]:
    pattern = keys.get("hybrid_override_pattern")
    kinds = tuple(pattern[:LARGEST_LAYERS]) if isinstance(pattern, str) else keys.items("layers_block_type") or ()
    layers = keys.maybe("num_hidden_layers") or len(kinds)
    found = _attending(keys, kinds, min(layers, LARGEST_LAYERS), _NEMOTRON)
    if not all(found.values()):
        raise keys.not_computed("it has no layers of one kind")
    heads, groups = keys.number("mamba_num_heads"), keys.maybe("n_groups") or 1
    inner = heads * keys.number("mamba_head_dim")
    _grouped(keys, inner, heads, groups)
    mamba = Mamba(2, inner, keys.number("ssm_state_size"), keys.maybe("conv_kernel") or 4, heads=heads, groups=groups, layers=found["state"])
    gained: dict[str, Any] = {"mamba": mamba, "attention_layers": found["attention"], "mlp_layers": found["mlp"]}
    if used := keys.maybe("num_experts_per_tok"):
        width, shared = keys.number("moe_intermediate_size"), keys.number("moe_shared_expert_intermediate_size")
        gained |= {
            "experts": Experts(
                count=keys.number("n_routed_experts"),
                used=used,
                intermediate_size=width,
                shared_intermediate_size=shared,
                router_bias=True,
                latent_size=keys.maybe("moe_latent_size") or None,
            ),
            "intermediate_size": 0,
        }
        _fewer(keys, gained["experts"])
    return {"num_hidden_layers": layers, "head_dim": keys.number("head_dim", "attention_head_dim")}, gained


def _falcon_h1(keys: Keys) -> tuple[Gained, Gained]:
    inner, heads, groups = keys.number("mamba_d_ssm"), keys.number("mamba_n_heads"), keys.maybe("mamba_n_groups") or 1
    _grouped(keys, inner, heads, groups)
    norm = "weights" if keys.flag("mamba_rms_norm") else "none"
    mamba = Mamba(2, inner, keys.number("mamba_d_state"), keys.maybe("mamba_d_conv") or 4, heads=heads, groups=groups, norm=norm)
    return {}, {"mamba": mamba, "attention_layers": tuple(range(min(keys.number("num_hidden_layers"), LARGEST_LAYERS)))}


_READERS: Mapping[str, Callable[[Keys], tuple[Gained, Gained]]] = {
    "falcon-h1": _falcon_h1,
    "granitehybrid": _granite,
    "jamba": _jamba,
    "mamba": _pure,
    "mamba2": _pure,
    "nemotron_h": _nemotron,
}
STATEFUL = frozenset(_READERS)
