"""BitNet b1.58: norms before the last matrix of attention and MLP; the output is the embedding itself, where it lies."""

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.mlp import DenseMlp
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    laid = decoder(model)
    placed = tuple(
        Placed(block._replace(sub_norm=True), layers) if isinstance(block, Attention | DenseMlp) else Placed(block, layers) for block, layers in laid.placed
    )
    return laid._replace(placed=placed, single_embedding=True)
