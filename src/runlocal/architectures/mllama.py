"""Llama 3.2 Vision: Llama's layers, and every fifth one a cross-attention layer that reads image tokens and keeps no growing cache."""

from runlocal.architectures.blocks.attention import CrossAttention
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    """Raises ValueError where the model has no cross-attention layers or no tower: it is no mllama."""
    text, vision = model.text, model.vision
    if text.cross is None or vision is None or vision.tokens_per_image is None:
        raise ValueError(f"{model.id}: mllama needs text.cross, vision and vision.tokens_per_image")
    crossing = set(text.cross.layers)
    plain = decoder(model)
    attention, *rest = plain.placed
    cross = CrossAttention(
        hidden_size=text.hidden_size,
        heads=text.heads,
        kv_heads=text.kv_heads,
        head_dim=text.head_dim,
        image_tokens=vision.tokens_per_image * vision.max_tiles,
    )
    self_attention = Placed(attention.block, tuple(layer for layer in attention.layers if layer not in crossing))
    return plain._replace(placed=(self_attention, Placed(cross, text.cross.layers), *rest))
