"""Trinity and Muse Glimmer: a gate on what attention yields, norms before and after both halves; Trinity has experts behind leading dense layers."""

from runlocal.architectures.blocks.stack import SANDWICH_NORMS, decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, norms=SANDWICH_NORMS, attention_gate=True)
