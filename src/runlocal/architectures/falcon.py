"""Falcon: fused projections, a plain MLP beside attention; the larger ones have a second norm before attention."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    norms = ("attn_norm",) if model.text.norms_per_layer == 1 else ("attn_norm", "attn_norm_2")
    return decoder(model, norms=norms, fused_qkv=True)
