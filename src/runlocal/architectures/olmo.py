"""OLMo 2 and 3 and EXAONE 4: norms only behind attention and MLP."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, norms=("post_attention_norm", "post_ffw_norm"))
