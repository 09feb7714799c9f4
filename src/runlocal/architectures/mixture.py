"""Decoders with experts whose layer is otherwise Llama's: Qwen, Granite, Llama 4, OLMoE, ERNIE, Hunyuan, dots, Mellum, Ling, K-EXAONE, and the
first DeepSeek; DBRX and Grok name their norms otherwise.
"""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    if model.architecture == "bailingmoe2":
        return decoder(model, fused_qkv=True, next_norm="layer_output_norm")
    if model.architecture == "grok":
        return decoder(model, norms=("attn_norm", "attn_output_norm", "ffn_norm", "layer_output_norm"))
    if model.architecture == "dbrx":
        return decoder(model, norms=("attn_norm", "attn_output_norm"), fused_qkv=True)
    return decoder(model, next_dense=model.architecture == "exaone-moe")
