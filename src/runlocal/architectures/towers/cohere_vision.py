"""Aya Vision and Command A Vision: SigLIP 2, four patches side by side, and a gated MLP (transformers, models/aya_vision and cohere2_vision)."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, merged_width, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

HALVES = 2
"""The MLP's first matrix makes values and their gates."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Aya Vision norms what the projector reads."""
    d, joined, inner = vision.hidden_size, merged_width(vision), vision.projector_intermediate_size or 0
    return (
        *patches(vision),
        table("v.position_embd", d, grid(vision) ** 2),
        *blocks(vision),
        *norm("v.post_ln", d),
        *(norm("mm.input_norm", joined) if vision.projector_norm else ()),
        *linear("mm.0", joined, inner),
        *linear("mm.2", inner // HALVES, text_hidden_size),
    )
