"""Models whose layers a search thinned out, as DeciLM's config.json describes them: `block_configs`, an object per layer."""

from collections.abc import Mapping
from typing import Any

from runlocal.sources.files import clean
from runlocal.sources.keys import Keys

_LARGEST_MULTIPLE = 1024
_WIDTH_STEP = 256  # what a width is rounded up to


def searched(keys: Keys) -> tuple[Keys, Mapping[str, Any]]:
    """The keys with what the layers share, and the fields of `Text` in which they differ. Raises Problem as `config` does."""
    groups, widths = _blocks(keys)
    shared = {"num_key_value_heads": keys.number("num_attention_heads") // max(groups), "intermediate_size": max(widths)}
    differing = {"attention_layers": _above_zero(groups), "mlp_layers": _above_zero(widths) if 0 in widths else None, "intermediate_sizes": widths}
    return keys._replace(table={**keys.table, **shared}), differing


def _above_zero(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(layer for layer, value in enumerate(values) if value)


def _blocks(keys: Keys) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Query heads per KV head and width of the MLP of every layer of a model that was searched for (DeciLMConfig), 0 where there is none."""
    blocks = keys.items("block_configs")
    if blocks is None:
        raise keys.not_computed("its heads differ from layer to layer")
    if len(blocks) != keys.number("num_hidden_layers"):
        raise keys.bad("block_configs", f"has {len(blocks)} layers, not as many as num_hidden_layers says")
    groups, widths = [], []
    for number, table in enumerate(blocks):
        if not isinstance(table, dict):
            raise keys.bad("block_configs", "is no list of objects")
        block = Keys(table, keys.path, where=f"block_configs.{number}.")
        attention, mlp = block.inner("attention"), block.inner("ffn")
        if attention is None or mlp is None:
            raise block.bad("attention" if attention is None else "ffn", "is missing")
        if attention.flag("replace_with_linear") or mlp.flag("replace_with_linear"):
            raise keys.not_computed("it has a matrix in place of attention or MLP")
        groups.append(attention.maybe("n_heads_in_group") or 0)
        multiple = mlp.get("ffn_mult") or 0
        if isinstance(multiple, bool) or not isinstance(multiple, int | float) or not 0 <= multiple <= _LARGEST_MULTIPLE:
            raise mlp.bad("ffn_mult", f"is {clean(repr(multiple), 40)}, no sensible number")
        widths.append(-(-int(2 * multiple * keys.number("hidden_size") / 3) // _WIDTH_STEP) * _WIDTH_STEP)
    heads = {group for group in groups if group}
    if len(heads) != 1 or not any(widths) or keys.number("num_attention_heads") % max(heads):
        raise keys.not_computed("its heads differ from layer to layer")
    return tuple(groups), tuple(widths)
