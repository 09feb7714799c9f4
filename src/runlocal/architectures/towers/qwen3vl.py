"""Qwen3-VL and Qwen3.5: fused attention, a resizable position table, and mergers of deeper layers (Qwen3-VL alone)."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

POSITIONS = 2304
"""Rows of the position table (a grid of 48 × 48) where the model does not state another number."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    merged, deep = merged_width(vision), vision.deepstack_layers
    deepstack = (
        *norm("v.deepstack.norm", merged, deep),
        *linear("v.deepstack.fc1", merged, merged, deep),
        *linear("v.deepstack.fc2", merged, text_hidden_size, deep),
    )
    return (
        *patches(vision, frames=vision.temporal_patch_size),
        table("v.position_embd", vision.hidden_size, vision.position_embeddings or POSITIONS),
        *blocks(vision, fused=True),
        *norm("v.post_ln", vision.hidden_size),
        *linear("mm.0", merged, merged),
        *linear("mm.2", merged, text_hidden_size),
        *(deepstack if deep else ()),
    )
