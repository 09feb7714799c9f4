"""Decoders with experts whose layer is otherwise Llama's: Qwen, Granite, Llama 4, OLMoE, ERNIE, Hunyuan, dots, Mellum."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model)
