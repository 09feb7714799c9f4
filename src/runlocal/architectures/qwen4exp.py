"""Qwen3.8 Flash Next: Qwen3.5's layers over several residual streams, attention behind an indexer of blocks, a table of hashed n-grams."""

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.delta import GatedDeltaNet
from runlocal.architectures.blocks.ngrams import LowRankConnections, NgramEmbedding
from runlocal.architectures.blocks.pooled import PooledAttention
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Block, Layout, Placed
from runlocal.core.model import Indexer, ModelSpec
from runlocal.core.tensor import Tensor


def layout(model: ModelSpec) -> Layout:
    text = model.text
    ngrams, indexer = text.ngrams, text.indexer
    if not ngrams or not text.hc_low_rank or not indexer or not indexer.pool_tokens:
        raise Problem(Code.BAD_FILE, f"{model.id} needs `ngrams`, `hc_low_rank` and `indexer` with `pool_tokens`")
    laid = decoder(model._replace(text=text._replace(indexer=None)), norms=())
    streams = LowRankConnections(text.hidden_size, text.hc_mult, text.hc_low_rank)
    heads = (ngrams.size - 1) * ngrams.heads
    table = NgramEmbedding(text.hidden_size, text.hc_mult, ngrams.size, heads, ngrams.head_dim, ngrams.conv_size)
    return laid._replace(
        # What mixes the streams before the output norms them too.
        outer=(
            *(tensor for tensor in laid.outer if tensor.role != "output_norm"),
            *streams.outer_tensors(),
            Tensor(role="per_layer_token_embd", columns=ngrams.head_dim, rows=ngrams.rows),
        ),
        placed=(
            *(Placed(_as_here(block, indexer), layers) for block, layers in laid.placed),
            Placed(table, (ngrams.layer,)),
            Placed(streams, tuple(range(laid.layers))),
        ),
        # The file states one number of KV heads for all layers, those without attention included.
        kv_group=text.heads // text.kv_heads,
    )


def _as_here(block: Block, indexer: Indexer) -> Block:
    match block:
        case Attention():
            return PooledAttention(block._replace(query_gate=True), indexer.heads, indexer.head_dim, indexer.top_k, indexer.pool_tokens or 0)
        case GatedDeltaNet():
            return block._replace(sigmoid=True)
        case _:
            return block
