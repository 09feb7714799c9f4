"""Mamba 1 and 2: nothing but state-space layers."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, norms=("attn_norm",))
