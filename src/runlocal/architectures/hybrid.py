"""Decoders that mix attention with state-space layers: Jamba, Granite 4, Nemotron-H, Falcon-H1."""

from runlocal.architectures.blocks.mlp import Norms
from runlocal.architectures.blocks.stack import LAYER_NORMS, decoder
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    if not model.architecture.startswith("nemotron_h"):
        return decoder(model, norms=LAYER_NORMS)
    laid = decoder(model, norms=("attn_norm",))
    behind = tuple(range(laid.layers, laid.stored_layers))
    if not behind:
        return laid
    # A layer of Nemotron-H has one block, that for several tokens has two, and a norm before each.
    norms = Norms(hidden_size=laid.hidden_size, roles=("post_attention_norm",))
    return laid._replace(placed=(*laid.placed, Placed(norms, behind)))
