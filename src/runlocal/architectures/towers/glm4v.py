"""GLM-4.1V, 4.5V and 4.6V: a ViT with RMS norms and gated MLPs, a convolution that merges 2 × 2 patches, a gated MLP."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, merge_size, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, out = vision.hidden_size, text_hidden_size
    inner = vision.projector_intermediate_size or 0
    return (
        *patches(vision, frames=vision.temporal_patch_size),
        *norm("v.norm_embd", d, bias=False),
        table("v.position_embd", d, grid(vision) ** 2),
        *blocks(vision, gated=True, fused=True, attention_bias=False, output_bias=False, mlp_bias=False, norm_bias=False),
        *norm("v.post_ln", d, bias=False),
        Tensor(role="mm.patch_merger", columns=d * merge_size(vision) ** 2, rows=out),
        vector("mm.patch_merger.bias", out),
        *linear("mm.model.fc", out, out, bias=False),
        *norm("mm.post_norm", out),
        *linear("mm.gate", out, inner, bias=False),
        *linear("mm.up", out, inner, bias=False),
        *linear("mm.down", inner, out, bias=False),
    )
