"""GLM-5.3 Flash: Kimi delta attention in most layers, latents behind an indexer of pools in the others, hyper-connections."""

from runlocal.architectures.blocks.attention import LatentAttention
from runlocal.architectures.blocks.compressed import HyperConnections
from runlocal.architectures.blocks.delta import KimiDeltaAttention
from runlocal.architectures.blocks.pooled import PooledLatentAttention
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Block, Layout, Placed
from runlocal.core.model import Indexer, ModelSpec


def layout(model: ModelSpec) -> Layout:
    text = model.text
    if not text.indexer or not text.indexer.pool_tokens or text.indexer.layers:
        raise Problem(Code.BAD_FILE, f"{model.id} needs `indexer` with `pool_tokens`, in every layer with latents")
    laid = decoder(model._replace(text=text._replace(indexer=None)))
    streams = HyperConnections(hidden_size=text.hidden_size, streams=text.hc_mult, exact=True)
    placed = (Placed(_as_here(block, text.indexer), layers) for block, layers in laid.placed)
    return laid._replace(kv_group=0, placed=(*placed, Placed(streams, tuple(range(laid.layers)))))  # its first layer has no keys and values


def _as_here(block: Block, indexer: Indexer) -> Block:
    match block:
        case KimiDeltaAttention():
            return block._replace(bounded=True, exact=True)
        case LatentAttention():
            return PooledLatentAttention(block, indexer.heads, indexer.head_dim, indexer.top_k, indexer.pool_tokens or 0)
        case _:
            return block
