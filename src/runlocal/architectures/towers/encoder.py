"""What the towers have in common: projections, norms, patch embeddings and the transformer blocks of a ViT."""

from collections.abc import Iterator
from math import isqrt

from runlocal.core.model import Audio, Vision
from runlocal.core.tensor import Tensor

CHANNELS = 3
CONVOLUTION = "convolution"
"""The source type of a convolution that is no patch embedding: F16 in an F16 file, F32 in every other."""
CHANNEL_WINDOW = 3
"""Width of a speech encoder's convolutions."""
SPEECH_POSITIONS = 1500
"""Rows of sines that the converter writes for a speech encoder, one for 20 milliseconds of half a minute."""


def linear(role: str, columns: int, rows: int, layers: tuple[int, ...] = (), bias: bool = True, source_type: str | None = None) -> Iterator[Tensor]:
    """A matrix of `rows` × `columns` and, where it has one, its bias of `rows` values."""
    yield Tensor(role=role, columns=columns, rows=rows, layers=layers, source_type=source_type)
    if bias:
        yield vector(f"{role}.bias", rows, layers)


def vector(role: str, width: int, layers: tuple[int, ...] = ()) -> Tensor:
    """A vector of `width` values: always F32."""
    return Tensor(role=role, columns=width, layers=layers, quantizable=False)


def table(role: str, width: int, rows: int) -> Tensor:
    """A table of learned embeddings, `rows` of `width` values: always F32."""
    return Tensor(role=role, columns=width, rows=rows, quantizable=False)


def norm(role: str, width: int, layers: tuple[int, ...] = (), bias: bool = True) -> Iterator[Tensor]:
    """A layer norm over `width` values; without its bias, an RMS norm."""
    yield vector(role, width, layers)
    if bias:
        yield vector(f"{role}.bias", width, layers)


def patches(vision: Vision, frames: int = 1, bias: bool = True, float32: bool = False) -> Iterator[Tensor]:
    """The convolution that makes an embedding of a patch: per frame hidden_size × 3 × patch_size².

    float32: it is F32 whatever the file's type (the towers whose tensors are named `.embeddings.` in the checkpoint).
    """
    for frame in range(frames):
        role = "v.patch_embd" if frame == 0 else f"v.patch_embd.{frame}"
        yield Tensor(role=role, columns=CHANNELS * vision.patch_size**2, rows=vision.hidden_size, quantizable=not float32)
    if bias:
        yield vector("v.patch_embd.bias", vision.hidden_size)


def blocks(
    vision: Vision,
    *,
    layers: int | None = None,
    gated: bool = False,
    fused: bool = False,
    attention_bias: bool = True,
    output_bias: bool = True,
    mlp_bias: bool = True,
    norm_bias: bool = True,
) -> Iterator[Tensor]:
    """The transformer blocks: two norms, attention (q, k, v apart or fused) and an MLP of up and down, or gate, up and down."""
    d, inner = vision.hidden_size, vision.intermediate_size
    every = tuple(range(vision.layers if layers is None else layers))
    yield from norm("v.blk.ln1", d, every, norm_bias)
    kv = d * vision.kv_heads // vision.heads if vision.kv_heads else d
    if fused:
        yield from linear("v.blk.attn_qkv", d, d + 2 * kv, every, attention_bias)
    else:
        for role, width in (("v.blk.attn_q", d), ("v.blk.attn_k", kv), ("v.blk.attn_v", kv)):
            yield from linear(role, d, width, every, attention_bias)
    yield from linear("v.blk.attn_out", d, d, every, output_bias)
    yield from norm("v.blk.ln2", d, every, norm_bias)
    if gated:
        yield from linear("v.blk.ffn_gate", d, inner, every, mlp_bias)
    yield from linear("v.blk.ffn_up", d, inner, every, mlp_bias)
    yield from linear("v.blk.ffn_down", inner, d, every, mlp_bias)


def speech_blocks(audio: Audio, *, key_bias: bool = True) -> Iterator[Tensor]:
    """The transformer blocks of a speech encoder: two norms, attention and an MLP of up and down."""
    d, inner, every = audio.hidden_size, audio.intermediate_size, tuple(range(audio.layers))
    yield from norm("a.blk.ln1", d, every)
    for role, bias in (("a.blk.attn_q", True), ("a.blk.attn_k", key_bias), ("a.blk.attn_v", True), ("a.blk.attn_out", True)):
        yield from linear(role, d, d, every, bias)
    yield from norm("a.blk.ln2", d, every)
    yield from linear("a.blk.ffn_up", d, inner, every)
    yield from linear("a.blk.ffn_down", inner, d, every)


def grid(vision: Vision) -> int:
    """Patches along the side of the image or tile."""
    return vision.image_size // vision.patch_size


def merge_size(vision: Vision) -> int:
    """Patches along the side that become one token; where not stated, the root of patches per token."""
    if vision.spatial_merge_size > 1 or not vision.tokens_per_image:
        return vision.spatial_merge_size
    return max(1, isqrt(grid(vision) ** 2 // vision.tokens_per_image))


def merged_width(vision: Vision) -> int:
    """Width of the features of the patches that become one token."""
    return vision.hidden_size * merge_size(vision) ** 2
