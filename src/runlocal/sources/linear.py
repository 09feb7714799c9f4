"""Linear attention as config.json describes it: MiniMax-01, RWKV 6 and 7; what it leaves open is what llama.cpp's converter makes of it.

https://github.com/ggml-org/llama.cpp/tree/0c1e57098/conversion (minimax.py, rwkv.py)
"""

from collections.abc import Callable, Mapping
from typing import Any

from runlocal.core.model import Lightning, Rwkv
from runlocal.sources.keys import LARGEST_LAYERS, Keys

_ENDLESS = 1 << 20  # the context that the converter writes where nothing limits it
_RANK_STEP = 32
_WIDE = 4096  # hidden size of the larger models of RWKV 6

Gained = Mapping[str, Any]


def _layers(keys: Keys) -> int:
    return min(keys.number("num_hidden_layers"), LARGEST_LAYERS)


def _minimax(keys: Keys) -> tuple[Gained, Gained]:
    """A one in `attn_type_list` is a layer with full attention."""
    layers, head_dim = _layers(keys), keys.number("head_dim")
    kinds = keys.items("attn_type_list")
    if kinds is None or len(kinds) != layers or any(isinstance(kind, bool) or kind not in (0, 1) for kind in kinds):
        raise keys.bad("attn_type_list", "does not name every layer 0 or 1")
    if keys.maybe("shared_intermediate_size"):
        raise keys.not_computed("it has shared experts")
    rotated = keys.number("rotary_dim")
    if rotated > head_dim:
        raise keys.bad("rotary_dim", f"is {rotated}, more than a head has")
    linear = tuple(layer for layer, kind in enumerate(kinds) if not kind)
    gained = {"lightning": Lightning(layers=linear)} if linear else {}
    return {"partial_rotary_factor": rotated / head_dim}, gained


def _rwkv6(keys: Keys) -> tuple[Gained, Gained]:
    hidden = keys.number("hidden_size")
    wide = hidden == _WIDE
    shape = Rwkv(
        intermediate_size=keys.maybe("intermediate_size") or hidden * 7 // 2 // _RANK_STEP * _RANK_STEP,
        head_size=keys.number("head_size"),
        decay_rank=128 if wide else 64,
        version=6,
        mix_rank=64 if wide else 32,
        rescale_every=keys.maybe("rescale_every") or 0,
    )
    return _rwkv(keys, shape)


def _rwkv7(keys: Keys) -> tuple[Gained, Gained]:
    """RWKV's own names of ranks, or those of flash-linear-attention; where neither is there, a rank follows from the width."""
    hidden = keys.number("hidden_size")

    def rank(own: str, other: str, exponent: float, factor: float) -> int:
        return keys.maybe(own) or keys.maybe(other) or max(1, round(hidden**exponent * factor / _RANK_STEP)) * _RANK_STEP

    shape = Rwkv(
        intermediate_size=keys.maybe("intermediate_size") or 4 * hidden,
        head_size=keys.number("head_size", "head_dim"),
        decay_rank=rank("lora_rank_decay", "decay_low_rank_dim", 0.5, 1.8),
        rate_rank=rank("lora_rank_iclr", "a_low_rank_dim", 0.5, 1.8),
        value_rank=rank("lora_rank_value_residual_mix", "v_low_rank_dim", 0.5, 1.3),
        gate_rank=rank("lora_rank_gate", "gate_low_rank_dim", 0.8, 0.6),
    )
    return _rwkv(keys, shape)


def _rwkv(keys: Keys, shape: Rwkv) -> tuple[Gained, Gained]:
    """Neither attention nor an MLP beside it: heads count for nothing."""
    if keys.number("hidden_size") % shape.head_size:
        raise keys.not_computed(f"its width cannot be divided into heads of {shape.head_size}")
    nothing = {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 1, "intermediate_size": 1, "max_position_embeddings": _ENDLESS}
    gained = {"heads": 0, "kv_heads": 0, "head_dim": 0, "rope_dimensions": None, "intermediate_size": 0, "rwkv": shape}
    return nothing, gained


LINEAR: Mapping[str, Callable[[Keys], tuple[Gained, Gained]]] = {"minimax-01": _minimax, "rwkv6": _rwkv6, "rwkv7": _rwkv7}
