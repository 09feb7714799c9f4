"""OLMo: the first has norms without weights; OLMo 2 and 3 and EXAONE 4 have norms only behind attention and MLP."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    if model.architecture == "olmo":
        return decoder(model, norms=())
    return decoder(model, norms=("post_attention_norm", "post_ffw_norm"))
