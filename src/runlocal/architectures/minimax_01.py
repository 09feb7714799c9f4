"""MiniMax-01: lightning attention in most layers, grouped attention in the others, experts in all."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    # The file states one number of KV heads for all layers.
    return decoder(model)._replace(kv_group=model.text.heads // model.text.kv_heads)
