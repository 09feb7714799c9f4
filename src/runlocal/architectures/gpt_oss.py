"""gpt-oss: attention sinks, windows in every other layer, experts with biases."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, norms=("attn_norm", "post_attention_norm"), sinks=True, expert_bias=True)
