"""LFM2-VL: SigLIP 2 with a resizable position table, a pixel unshuffle and an MLP."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

POSITIONS = 256
"""Rows of SigLIP 2's position table (a grid of 16 × 16) where the model does not state another number."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    merged = merged_width(vision)
    inner = vision.projector_intermediate_size or text_hidden_size
    return (
        *patches(vision),
        table("v.position_embd", vision.hidden_size, vision.position_embeddings or POSITIONS),
        *blocks(vision),
        *norm("v.post_ln", vision.hidden_size),
        *(norm("mm.input_norm", merged) if vision.projector_norm else ()),
        *linear("mm.1", merged, inner),
        *linear("mm.2", inner, text_hidden_size),
    )
