"""Kimi Linear: Kimi delta attention in most layers, latent attention without rotation in the others, experts behind leading dense layers."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    # The converter writes the KV heads of every layer, none for the first.
    return decoder(model)._replace(kv_group=0)
