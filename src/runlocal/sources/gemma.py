"""What a config.json of Gemma 3n or Gemma 4 says beyond what others do."""

from runlocal.architectures.gemma3n import OWNERS
from runlocal.core.model import AltUp, Experts, Text, Window
from runlocal.sources.keys import Keys

HEARING = ("gemma4",)
NOTE = "What it needs for speech is not priced."
UNPRICED = {"gemma3n": "Its towers for images and speech are not priced."}
_STREAMS, _LAUREL_RANK, _PER_LAYER, _SHARED = 4, 64, 256, 15  # Gemma3nTextConfig
_GLOBAL_HEAD_DIM = 512
"""Width of a head in layers without a window where `global_head_dim` is absent (Gemma4TextConfig)."""


def gemma4(keys: Keys, text: Text) -> Text:
    """`text` as read so far holds the heads of the layers with a window. Raises Problem (bad_file) naming the field that is senseless."""
    if text.window is None:
        raise keys.not_computed("it has no layers with a window")
    k_eq_v = keys.flag("attention_k_eq_v")
    shared = keys.maybe("num_kv_shared_layers") or 0
    if shared > text.layers - 2:
        raise keys.bad("num_kv_shared_layers", f"is {shared}, more than layers can read the cache of others")
    kv_heads = (keys.maybe("num_global_key_value_heads") if k_eq_v else None) or text.kv_heads
    head_dim = keys.maybe("global_head_dim") or _GLOBAL_HEAD_DIM
    if text.heads % kv_heads:
        raise keys.bad("num_global_key_value_heads", f"is {kv_heads}, by which {text.heads} heads cannot be divided")
    return text._replace(
        kv_heads=kv_heads,
        head_dim=head_dim,
        shared_kv_layers=shared,
        idle_kv=shared > 0,  # as in Google's checkpoints; config.json does not say
        double_wide_mlp=keys.flag("use_double_wide_mlp") and shared > 0,
        k_eq_v=k_eq_v,
        hidden_size_per_layer_input=keys.maybe("hidden_size_per_layer_input") or 0,
        experts=_experts(keys) if keys.flag("enable_moe_block") else None,
        window=_window(text.window, text, kv_heads, head_dim),
    )


def gemma3n(keys: Keys, text: Text) -> Text:
    """`text` with its streams and the layers that have no cache of their own."""
    shared = keys.maybe("num_kv_shared_layers")
    shared = _SHARED if shared is None else shared
    if text.layers - shared != OWNERS:
        raise keys.not_computed(f"{text.layers - shared} of its layers have a cache of their own, where llama.cpp takes {OWNERS} for granted")
    return text._replace(
        shared_kv_layers=shared,
        idle_kv=True,
        hidden_size_per_layer_input=keys.maybe("hidden_size_per_layer_input") or _PER_LAYER,
        altup=AltUp(inputs=keys.maybe("altup_num_inputs") or _STREAMS, laurel_rank=keys.maybe("laurel_rank") or _LAUREL_RANK),
    )


def _window(window: Window, text: Text, kv_heads: int, head_dim: int) -> Window:
    """The window, with the shapes of its layers where they are other than elsewhere."""
    return window._replace(
        kv_heads=text.kv_heads if text.kv_heads != kv_heads else None,
        head_dim=text.head_dim if text.head_dim != head_dim else None,
    )


def _experts(keys: Keys) -> Experts:
    count, used = keys.number("num_experts"), keys.number("top_k_experts")
    if used > count:
        raise keys.not_computed(f"{used} of {count} experts contradict each other")
    return Experts(count=count, used=used, intermediate_size=keys.number("moe_intermediate_size"), parallel_dense=True)
