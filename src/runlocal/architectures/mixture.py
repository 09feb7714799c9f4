"""Decoders with experts whose layer is otherwise Llama's: Qwen, Granite, Llama 4, OLMoE, ERNIE, Hunyuan, dots, Mellum, Ling, K-EXAONE."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    if model.architecture == "bailingmoe2":
        return decoder(model, fused_qkv=True, next_norm="layer_output_norm")
    return decoder(model, next_dense=model.architecture == "exaone-moe")
