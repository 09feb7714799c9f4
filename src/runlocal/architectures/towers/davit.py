"""Florence-2: DaViT, whose stages alternate attention over windows and over channels, and a projector with positions in two dimensions.

Shapes and names follow the modeling code (transformers, models/florence2): no projector file of llama.cpp holds it.
"""

from collections.abc import Iterator

from runlocal.architectures.towers.encoder import CHANNELS, linear, norm, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

FRAMES = 100
"""Rows of the table of times, sines and cosines that the checkpoint stores (`max_temporal_embeddings`)."""

KERNEL = 3
"""Side of the convolutions between and within the stages."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """The last stage is as wide as `hidden_size`; `position_embeddings` counts rows of the table, half a vector each for row and column."""
    d, ratio = vision.hidden_size, vision.intermediate_size // vision.hidden_size
    widths = [d >> (len(vision.stages) - 1 - stage) for stage in range(len(vision.stages))]
    return (
        *(tensor for stage in range(len(widths)) for tensor in _stage(stage, widths, vision, ratio)),
        *linear("mm.image_projection", d, text_hidden_size, bias=False),
        *norm("mm.image_proj_norm", text_hidden_size),
        table("mm.position_embd", d, vision.position_embeddings or 0),
        table("mm.temporal_embd", d, FRAMES),
    )


def _stage(stage: int, widths: list[int], vision: Vision, ratio: int) -> Iterator[Tensor]:
    """A convolution that makes fewer, wider tokens, with a norm of what it reads (the first: of what it writes), then the pairs of blocks."""
    width, before = widths[stage], widths[stage - 1] if stage else CHANNELS
    side = KERNEL if stage else vision.patch_size
    first = sum(vision.stages[:stage])
    layers = tuple(range(first, first + vision.stages[stage]))
    yield from linear(f"v.conv.{stage}", side * side * before, width)
    yield from norm(f"v.conv_norm.{stage}", before if stage else width)
    for kind in ("spatial", "channel"):
        role = f"v.stage.{stage}.{kind}"
        for convolution in ("conv1", "conv2"):
            yield Tensor(role=f"{role}.{convolution}", columns=KERNEL * KERNEL, rows=width, layers=layers)
            yield vector(f"{role}.{convolution}.bias", width, layers)
        yield from norm(f"{role}.norm1", width, layers)
        yield from norm(f"{role}.norm2", width, layers)
        yield from linear(f"{role}.attn_qkv", width, 3 * width, layers)
        yield from linear(f"{role}.attn_out", width, width, layers)
        yield from linear(f"{role}.ffn_up", width, ratio * width, layers)
        yield from linear(f"{role}.ffn_down", ratio * width, width, layers)
