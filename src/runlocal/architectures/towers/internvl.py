"""InternVL: InternViT (300M or 6B), a pixel unshuffle, a norm and an MLP."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, merged_width, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

LARGE = (3200, 45)
"""Width and blocks of InternViT-6B, by which llama.cpp too tells it from the 300M (tools/mtmd/models/internvl.cpp)."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """InternViT-6B has RMS norms, norms of queries and keys, and no bias on q, k and v."""
    d, merged, every = vision.hidden_size, merged_width(vision), tuple(range(vision.layers))
    large = (d, vision.layers) == LARGE
    return (
        *patches(vision),
        vector("v.class_embd", d),
        table("v.position_embd", d, grid(vision) ** 2 + 1),
        *blocks(vision, attention_bias=not large, norm_bias=not large),
        *((vector("v.blk.attn_q_norm", d, every), vector("v.blk.attn_k_norm", d, every)) if large else ()),
        vector("v.blk.ls1", d, every),
        vector("v.blk.ls2", d, every),
        *norm("mm.0", merged),
        *linear("mm.1", merged, text_hidden_size),
        *linear("mm.3", text_hidden_size, text_hidden_size),
    )
