"""MiniCPM-V 2.5 to 4.5: SigLIP and a resampler whose queries become the tokens of a slice.

The position table counts as F32, as today's converter writes such tables; the script that makes these files (tools/mtmd/legacy-models)
writes it in F16, 10.8 MiB less.
"""

from runlocal.architectures.towers.encoder import blocks, linear, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

POSITIONS = 70 * 70
"""Rows of the position table, and of the sine table that the converter writes for the resampler's keys."""

QUERIES = 64


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, out = vision.hidden_size, text_hidden_size
    return (
        *patches(vision),
        table("v.position_embd", d, vision.position_embeddings or POSITIONS),
        *blocks(vision),
        *norm("v.post_ln", d),
        table("resampler.query", out, vision.tokens_per_image or QUERIES),
        table("resampler.pos_embd_k", out, POSITIONS),
        *linear("resampler.kv", d, out, bias=False),
        *linear("resampler.attn.q", out, out),
        *linear("resampler.attn.k", out, out),
        *linear("resampler.attn.v", out, out),
        *linear("resampler.attn.out", out, out),
        *norm("resampler.ln_q", out),
        *norm("resampler.ln_kv", out),
        *norm("resampler.ln_post", out),
        *linear("resampler.proj", out, out, bias=False),
    )
