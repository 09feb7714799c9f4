"""Phi-3 Vision: OpenAI's CLIP, whose last but one layer is used, and an MLP over two by two patches with separators between crops.

Shapes follow vLLM's models/phi3v.py; the checkpoint keeps all of CLIP.
"""

from runlocal.architectures.towers.encoder import blocks, grid, linear, merged_width, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Separators stand behind the whole image and behind every row of a crop."""
    d, joined = vision.hidden_size, merged_width(vision)
    return (
        *patches(vision, bias=False),
        vector("v.class_embd", d),
        table("v.position_embd", d, grid(vision) ** 2 + 1),
        *norm("v.pre_ln", d),
        *blocks(vision),
        *norm("v.post_ln", d),
        *linear("mm.0", joined, text_hidden_size),
        *linear("mm.2", text_hidden_size, text_hidden_size),
        vector("mm.global_separator", joined),
        vector("mm.row_separator", joined),
    )
