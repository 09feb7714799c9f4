"""Idefics 3 and SmolVLM: SigLIP, a pixel shuffle and one matrix."""

from runlocal.architectures.towers.encoder import linear, merged_width
from runlocal.architectures.towers.siglip import tower
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    return (*tower(vision), *linear("mm.model.fc", merged_width(vision), text_hidden_size, bias=False))
