"""GLM-4: ChatGLM's fused projections, GLM-4-0414's norms around both halves, GLM-4.5's experts and next-token layer."""

from runlocal.architectures.blocks.stack import SANDWICH_NORMS, decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    match model.architecture:
        case "chatglm":
            return decoder(model, fused_qkv=True, fused_gate_up=True)
        case "glm4moe":
            return decoder(model, norms=("attn_norm", "post_attention_norm"))
        case _:
            return decoder(model, norms=SANDWICH_NORMS, fused_gate_up=True)
