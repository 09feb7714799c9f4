"""Llama 3.2 Vision as Ollama 0.4 to 0.24 stored it: local and gated global blocks, tile embeddings, one matrix."""

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

ASPECT_RATIOS = 9
"""Rows of the tables of tile embeddings: eight arrangements of tiles and one for padding."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Matrices are F16; position and tile embeddings, gates, norms and biases F32.

    The projector reads the output of the last block beside those of `intermediate_layers`.
    """
    d, tiles = vision.hidden_size, vision.max_tiles
    tokens = grid(vision) ** 2 + 1
    features = vision.output_dim or d * (1 + len(vision.intermediate_layers))
    everywhere = vision.layers + vision.global_layers
    above = tuple(range(vision.layers, everywhere))
    return (
        *patches(vision, bias=False),
        vector("v.class_embd", d),
        table("v.position_embd", d, tokens),
        vector("v.position_embd.gate", 1),
        table("v.tile_position_embd", d * tokens * tiles, ASPECT_RATIOS),
        table("v.pre_tile_position_embd", d * tiles, ASPECT_RATIOS),
        vector("v.pre_tile_position_embd.gate", 1),
        table("v.post_tile_position_embd", d * tiles, ASPECT_RATIOS),
        vector("v.post_tile_position_embd.gate", 1),
        *norm("v.pre_ln", d),
        *blocks(vision, layers=everywhere, attention_bias=False, output_bias=False),
        vector("v.blk.attn_gate", 1, above),
        vector("v.blk.ffn_gate", 1, above),
        *norm("v.post_ln", d),
        *linear("mm.0", features, text_hidden_size),
    )
