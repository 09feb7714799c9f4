"""Gemma 4: a ViT with four RMS norms per block, norms of queries and keys, gated MLPs and a position table per axis."""

from runlocal.architectures.towers.encoder import blocks, linear, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

POSITIONS = 10240
"""Rows of each of the two position tables where the model does not state another number."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """The larger towers shift and scale their features before the projector (`standardized`)."""
    d, every = vision.hidden_size, tuple(range(vision.layers))
    head = vision.head_dim or d // vision.heads
    return (
        *patches(vision, bias=False),
        table("v.position_embd", d, 2 * (vision.position_embeddings or POSITIONS)),
        *blocks(vision, gated=True, attention_bias=False, output_bias=False, mlp_bias=False, norm_bias=False),
        *(vector(f"v.blk.{role}", d, every) for role in ("attn_post_norm", "ffn_post_norm")),
        *(vector(f"v.blk.{role}", head, every) for role in ("attn_q_norm", "attn_k_norm")),
        *((vector("v.std_bias", d), vector("v.std_scale", d)) if vision.standardized else ()),
        *linear("mm.input_projection", d, text_hidden_size, bias=False),
    )
