"""MiniCPM-V 4.6: SigLIP with a merger of four patches in its midst (attention in windows of four, and an MLP), and a merger of four behind it."""

from runlocal.architectures.towers.encoder import blocks, linear, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

POSITIONS = 70 * 70
MERGED = 4
"""Patches that become one, in either merger."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, inner = vision.hidden_size, vision.intermediate_size
    return (
        *patches(vision),
        table("v.position_embd", d, POSITIONS),
        *blocks(vision),
        *norm("v.vit_merger.ln1", d),
        *linear("v.vit_merger.attn_q", d, d),
        *linear("v.vit_merger.attn_k", d, d),
        *linear("v.vit_merger.attn_v", d, d),
        *linear("v.vit_merger.attn_out", d, d),
        *norm("v.vit_merger.ds_ln", MERGED * d),
        *linear("v.vit_merger.ds_ffn_up", MERGED * d, MERGED * inner),
        *linear("v.vit_merger.ds_ffn_down", MERGED * inner, d),
        *norm("v.post_ln", d),
        *norm("mm.input_norm", MERGED * d),
        *linear("mm.up", MERGED * d, MERGED * d),
        *linear("mm.down", MERGED * d, text_hidden_size),
    )
