"""LFM2: short convolutions with attention in some layers, dense or with experts. GGUF files call its output norm `token_embd_norm`."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model)
