"""Windows as config.json describes them: how long, in which layers, with heads of their own."""

from runlocal.core.model import Window
from runlocal.sources.family import Family, Sliding
from runlocal.sources.files import clean
from runlocal.sources.keys import Keys
from runlocal.sources.renamed import RENAMED


def window_of(keys: Keys, family: Family, layers: int) -> Window | None:
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


def with_own_heads(keys: Keys, family: Family, heads: int, kv_heads: int, window: Window | None) -> Window | None:
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
