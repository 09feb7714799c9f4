"""LLaVA-OneVision: SigLIP without its last block, LLaVA's MLP and newline (transformers, models/llava_onevision)."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """`layers` counts those that the checkpoint has."""
    d = vision.hidden_size
    return (
        *patches(vision),
        table("v.position_embd", d, grid(vision) ** 2),
        *blocks(vision),
        *norm("v.post_ln", d),
        *linear("mm.0", d, text_hidden_size),
        *linear("mm.2", text_hidden_size, text_hidden_size),
        vector("mm.image_newline", text_hidden_size),
    )
