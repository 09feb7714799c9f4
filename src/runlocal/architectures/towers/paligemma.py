"""PaliGemma: SigLIP and one matrix with a bias (transformers, models/paligemma)."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Every patch becomes a token."""
    d = vision.hidden_size
    return (
        *patches(vision),
        table("v.position_embd", d, grid(vision) ** 2),
        *blocks(vision),
        *norm("v.post_ln", d),
        *linear("mm.0", d, text_hidden_size),
    )
