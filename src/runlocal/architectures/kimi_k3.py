"""Kimi K3: Kimi Linear with gates over latents, experts in a projection, and layers that mix in what earlier ones kept of the stream."""

from runlocal.architectures.blocks.attention import LatentAttention
from runlocal.architectures.blocks.delta import KimiDeltaAttention
from runlocal.architectures.blocks.mlp import ExpertMlp
from runlocal.architectures.blocks.residuals import AttentionResiduals
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Block, Layout, Placed
from runlocal.core.model import ModelSpec
from runlocal.core.tensor import Tensor


def layout(model: ModelSpec) -> Layout:
    if not model.text.residual_block:
        raise Problem(Code.BAD_FILE, f"{model.id} needs `residual_block`")
    laid = decoder(model)
    residuals = AttentionResiduals(laid.hidden_size, model.text.residual_block)
    return laid._replace(
        kv_group=0,  # as in Kimi Linear
        outer=(*laid.outer, Tensor(role="output_res_score", columns=laid.hidden_size, quantizable=False)),
        placed=(*(Placed(_as_here(block), layers) for block, layers in laid.placed), Placed(residuals, tuple(range(laid.layers)))),
    )


def _as_here(block: Block) -> Block:
    match block:
        case KimiDeltaAttention():
            return block._replace(full_gate=True, bounded=True)
        case LatentAttention():
            return block._replace(gate=True)
        case ExpertMlp():
            return block._replace(latent_role="ffn_routed", latent_normed=True)
        case _:
            return block
