"""Llama 4: a ViT with a class embedding and rotary positions beside a table, a pixel-shuffle MLP, one matrix."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, merged_width, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

OUTPUT_WIDTH = 4096
"""Width of the features handed to the projector (`vision_output_dim` of config.json) where the model does not state it."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, out = vision.hidden_size, vision.output_dim or OUTPUT_WIDTH
    return (
        *patches(vision, bias=False),
        vector("v.class_embd", d),
        table("v.position_embd", d, grid(vision) ** 2 + 1),
        *norm("v.pre_ln", d),
        *blocks(vision),
        *norm("v.post_ln", d),
        *linear("mm.model.mlp.1", merged_width(vision), out, bias=False),
        *linear("mm.model.mlp.2", out, out, bias=False),
        *linear("mm.model.fc", out, text_hidden_size, bias=False),
    )
