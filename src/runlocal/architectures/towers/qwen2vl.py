"""Qwen2-VL: a ViT with rotary positions and two frames per patch, merged 2 × 2 by an MLP."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    merged = merged_width(vision)
    return (
        *patches(vision, frames=vision.temporal_patch_size, bias=False),
        *blocks(vision),
        *norm("v.post_ln", vision.hidden_size),
        *linear("mm.0", merged, merged),
        *linear("mm.2", merged, text_hidden_size),
    )
