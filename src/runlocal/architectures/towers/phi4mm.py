"""Phi-4 multimodal: SigLIP with its pooling head, which nothing reads, and an MLP with separators between crops (transformers, phi4_multimodal)."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Two by two patches become one by their mean."""
    d, inner = vision.hidden_size, vision.intermediate_size
    return (
        *patches(vision),
        table("v.position_embd", d, grid(vision) ** 2),
        *blocks(vision),
        *norm("v.post_ln", d),
        vector("v.head.probe", d),
        *linear("v.head.attn_qkv", d, 3 * d),
        *linear("v.head.attn_out", d, d),
        *norm("v.head.norm", d),
        *linear("v.head.ffn_up", d, inner),
        *linear("v.head.ffn_down", inner, d),
        *linear("mm.0", d, text_hidden_size),
        *linear("mm.2", text_hidden_size, text_hidden_size),
        vector("mm.global_separator", d),
        vector("mm.row_separator", d),
    )
