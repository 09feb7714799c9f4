"""Phi: Phi-2's parallel layer with one norm and biases, Phi-3's fused projections, Phi-3.5-MoE's experts."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    match model.architecture:
        case "phi2":
            return decoder(model, norms=("attn_norm",), output_bias=True, fused_qkv=model.text.fused_qkv)
        case "phimoe":
            return decoder(model, output_bias=True)
        case _:
            return decoder(model, fused_qkv=True, fused_gate_up=True)
