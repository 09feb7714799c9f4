"""MoonViT of Kimi-VL (q, k and v apart) and Kimi K2.5 (fused): a position table beside rotary positions, merged 2 × 2 by an MLP."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

POSITIONS = 64 * 64
"""Rows of the position table where the model does not state another number."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, merged = vision.hidden_size, merged_width(vision)
    return (
        *patches(vision),
        table("v.position_embd", d, vision.position_embeddings or POSITIONS),
        *blocks(vision, fused=vision.tower == "kimik25"),
        *norm("v.post_ln", d),
        *norm("mm.input_norm", d),
        *linear("mm.1", merged, merged),
        *linear("mm.2", merged, text_hidden_size),
    )
