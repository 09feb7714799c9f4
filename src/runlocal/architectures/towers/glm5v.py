"""GLM-5.3 Flash: the ViT of GLM-4.1V with biases and norms of queries and keys, without a position table and the norm before the blocks."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, out, inner = vision.hidden_size, text_hidden_size, vision.projector_intermediate_size or 0
    every, head = tuple(range(vision.layers)), d // vision.heads
    return (
        *patches(vision, frames=vision.temporal_patch_size),
        *blocks(vision, gated=True, fused=True, norm_bias=False),
        vector("v.blk.attn_q_norm", head, every),
        vector("v.blk.attn_k_norm", head, every),
        *norm("v.post_ln", d, bias=False),
        *linear("mm.patch_merger", merged_width(vision), out),
        *linear("mm.model.fc", out, out, bias=False),
        *norm("mm.post_norm", out),
        *linear("mm.gate", out, inner, bias=False),
        *linear("mm.up", out, inner, bias=False),
        *linear("mm.down", inner, out, bias=False),
    )
