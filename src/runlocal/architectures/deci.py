"""Deci's searched Llamas (Nemotron Super and Ultra): layers without attention, without MLP or without both, and an MLP as wide as the search made it."""

from runlocal.architectures.blocks.attention import Attention, NoAttention
from runlocal.architectures.blocks.mlp import DenseMlp, Norms
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    laid, text = decoder(model), model.text
    widths = text.intermediate_sizes or (text.intermediate_size,) * text.layers
    attention = [placed for placed in laid.placed if isinstance(placed.block, Attention)]
    attending = {layer for placed in attention for layer in placed.layers}
    by_width: dict[int, list[int]] = {}
    by_norms: dict[tuple[str, ...], list[int]] = {}
    for layer, width in enumerate(widths):
        roles = (*(("attn_norm",) if layer in attending else ()), *(("ffn_norm",) if width else ()))
        if roles:
            by_norms.setdefault(roles, []).append(layer)
        if width:
            by_width.setdefault(width, []).append(layer)
    norms = [Placed(Norms(hidden_size=text.hidden_size, roles=roles), tuple(layers)) for roles, layers in by_norms.items()]
    mlps = [Placed(DenseMlp(hidden_size=text.hidden_size, intermediate_size=width), tuple(layers)) for width, layers in by_width.items()]
    without = tuple(layer for layer in range(text.layers) if layer not in attending)
    left_out = [Placed(NoAttention(), without)] if without else []
    return laid._replace(placed=(*attention, *left_out, *norms, *mlps))
