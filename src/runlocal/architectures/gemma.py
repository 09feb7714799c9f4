"""Gemma: from the second generation on, a norm before and after both attention and MLP, and sliding windows in most layers."""

from runlocal.architectures.blocks.stack import LAYER_NORMS, SANDWICH_NORMS, decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, norms=LAYER_NORMS if model.architecture == "gemma" else SANDWICH_NORMS)
