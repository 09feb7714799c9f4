"""Muse Glimmer: a ViT with a position table beside rotary positions, patches merged 2 × 2 by an MLP and mapped by one matrix more."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

PROJECTOR_WIDTH = 4096
"""Width of the projector (`projector_hidden_size` of config.json) where the model does not state it."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """The converter adds up the two frames of a patch, so the file has one of them."""
    d, width = vision.hidden_size, vision.projector_intermediate_size or PROJECTOR_WIDTH
    return (
        *patches(vision, bias=False),
        table("v.position_embd", d, vision.position_embeddings or (vision.image_size // vision.patch_size // vision.spatial_merge_size) ** 2),
        *norm("v.pre_ln", d),
        *blocks(vision),
        *norm("v.post_ln", d),
        *linear("mm.0", merged_width(vision), width, bias=False),
        *linear("mm.1", width, width, bias=False),
        *linear("mm.2", width, text_hidden_size, bias=False),
    )
