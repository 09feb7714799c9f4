"""Poolside's Laguna: a gate per head on what attention yields, more query heads in the layers with a window, experts behind leading dense layers."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, head_gate=True)
