"""Molmo: OpenAI's CLIP up to the last layer that is used, attention that makes one token of two by two patches, and a gated MLP.

Shapes follow vLLM's models/molmo.py: features of two layers side by side go in, and two learned vectors pad crops.
"""

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

FEATURE_LAYERS = 2
PADDINGS = 2
"""Vectors for patches that are all padding, and for those that are partly."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """`layers` counts those that the checkpoint has; the projector's MLP is as wide as the language model's."""
    d, inner = vision.hidden_size, vision.projector_intermediate_size or 0
    joined = FEATURE_LAYERS * d
    return (
        *patches(vision, bias=False),
        vector("v.class_embd", d),
        table("v.position_embd", d, grid(vision) ** 2 + 1),
        *norm("v.pre_ln", d),
        *blocks(vision),
        table("mm.pad_embd", joined, PADDINGS),
        *linear("mm.attn_q", joined, d),
        *linear("mm.attn_k", joined, d),
        *linear("mm.attn_v", joined, d),
        *linear("mm.attn_out", d, d),
        *linear("mm.ffn_gate", d, inner, bias=False),
        *linear("mm.ffn_up", d, inner, bias=False),
        *linear("mm.ffn_down", inner, text_hidden_size, bias=False),
    )
