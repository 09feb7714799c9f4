"""Command R and North: attention and MLP or experts run in parallel behind one norm without bias."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, norms=("attn_norm",))
