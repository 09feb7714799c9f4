"""Gemma 4 12B: patches of 48 pixels go to the language model through one matrix and three norms, without a transformer."""

from runlocal.architectures.towers.encoder import CHANNELS, linear, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

POSITIONS = 1120
"""Rows of each of the two position tables where the model does not state another number."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """The audio projection that some checkpoints carry is no part of it."""
    d = vision.hidden_size
    return (
        *norm("v.patch_norm.1", CHANNELS * vision.patch_size**2),
        *patches(vision),
        *norm("v.patch_norm.2", d),
        table("v.position_embd", d, 2 * (vision.position_embeddings or POSITIONS)),
        *norm("v.patch_norm.3", d),
        *linear("mm.input_projection", d, text_hidden_size, bias=False),
    )
