"""Qwen2.5-VL and EXAONE 4.5: Qwen2-VL's tower with RMS norms, gated MLPs and windowed attention (EXAONE: fewer key and value heads)."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    merged = merged_width(vision)
    return (
        *patches(vision, frames=vision.temporal_patch_size, bias=False),
        *blocks(vision, gated=True, norm_bias=False),
        *norm("v.post_ln", vision.hidden_size, bias=False),
        *linear("mm.0", merged, merged),
        *linear("mm.2", merged, text_hidden_size),
    )
