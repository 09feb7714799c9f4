"""Encoders that make vectors of texts: BERT and Nomic BERT with norms behind both halves, EmbeddingGemma with Gemma 3's layer. None keeps a cache."""

from collections.abc import Iterator

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.stack import SANDWICH_NORMS, decoder
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec, Text
from runlocal.core.tensor import Tensor


def layout(model: ModelSpec) -> Layout:
    if model.architecture == "gemma-embedding":
        return _without_caches(decoder(model, norms=SANDWICH_NORMS))
    laid = decoder(model, norms=("attn_output_norm", "layer_output_norm"), fused_qkv=model.architecture == "nomic-bert")
    return _without_caches(laid)._replace(outer=tuple(_inputs(model.text)), single_embedding=True)


def _without_caches(laid: Layout) -> Layout:
    """Every token sees every other, or those around it; nothing of a step is kept for the next."""
    placed = tuple(Placed(block._replace(cached=False), layers) if isinstance(block, Attention) else Placed(block, layers) for block, layers in laid.placed)
    return laid._replace(placed=placed, encoder=True)


def _inputs(text: Text) -> Iterator[Tensor]:
    """Embedding, positions, token types and their norm; there is no output matrix."""
    d = text.hidden_size
    yield Tensor(role="token_embd", columns=d, rows=text.vocabulary_size)
    if text.position_embeddings:
        yield Tensor(role="position_embd", columns=d, rows=text.position_embeddings, quantizable=False)
    if text.token_types:
        yield Tensor(role="token_types", columns=d, rows=text.token_types, quantizable=False)
    yield Tensor(role="token_embd_norm", columns=d, quantizable=False)
    yield Tensor(role="token_embd_norm.bias", columns=d, quantizable=False)
