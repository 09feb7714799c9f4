"""ERNIE 4.5 VL: ERNIE's layers with a second bank of experts for image tokens. Nothing makes GGUF files of it (transformers, models/ernie4_5_vl_moe)."""

from runlocal.architectures.blocks.image_experts import ImageExperts
from runlocal.architectures.blocks.mlp import ExpertMlp
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    plain = decoder(model)
    placed = list(plain.placed)
    for block, layers in plain.placed:
        if isinstance(block, ExpertMlp) and model.text.experts:
            image = block._replace(intermediate_size=model.text.experts.image_intermediate_size, shared_size=0)
            placed.append(Placed(ImageExperts(image), layers))
    return plain._replace(placed=tuple(placed))
