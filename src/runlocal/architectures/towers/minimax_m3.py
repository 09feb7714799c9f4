"""MiniMax M3: a ViT with rotary positions and two frames per patch; an MLP works on every patch, another merges 2 × 2 of them."""

from runlocal.architectures.towers.encoder import blocks, linear, merge_size, norm, patches
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d = vision.hidden_size
    return (
        *patches(vision, frames=vision.temporal_patch_size, bias=False),
        *norm("v.pre_ln", d),
        *blocks(vision),
        *linear("mm.1", d, text_hidden_size),
        *linear("mm.2", text_hidden_size, text_hidden_size),
        *linear("mm.merger.fc1", merge_size(vision) ** 2 * text_hidden_size, text_hidden_size),
        *linear("mm.merger.fc2", text_hidden_size, text_hidden_size),
    )
