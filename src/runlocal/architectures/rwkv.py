"""RWKV 6 and 7: layers of two halves, each with a layer norm before it."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, norms=("attn_norm", "attn_norm_2"))
