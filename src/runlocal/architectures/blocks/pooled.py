"""Attention to chosen pools of tokens: latent (GLM-5.3 Flash), and to keys and values per head (Qwen3.8 Flash Next)."""

from collections.abc import Iterator

from runlocal.architectures.blocks.attention import Attention, LatentAttention
from runlocal.architectures.blocks.delta import KEPT
from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

_EXACT = ("attn_kv_a_mqa", "attn_k_b", "attn_v_b")  # the quantizer leaves them as they are
ROWS = 3  # of the indexer's cache, per token: key, gate, pooled key


class PooledLatentAttention(NamedTuple):
    """Latent attention behind an indexer that scores pools of consecutive tokens; it keeps a key, a gate and a pooled key per token.

    latent: the attention itself, without rotation
    heads, head_dim: query heads of the indexer, width of one
    top_k: tokens that are chosen at most, whole pools of them
    pool_tokens: tokens of a pool
    """

    latent: LatentAttention
    heads: int
    head_dim: int
    top_k: int
    pool_tokens: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, dim = self.latent.hidden_size, self.head_dim
        for tensor in self.latent.tensors(layers):
            yield tensor._replace(quantizable=False, source_type=KEPT) if tensor.role in _EXACT else tensor
        for role in ("indexer.k_norm", "indexer.k_norm.bias"):
            yield Tensor(role=role, columns=dim, layers=layers, quantizable=False)
        shapes = (("proj", d, self.heads), ("attn_k", d, dim), ("attn_q_b", self.latent.q_lora_rank or 0, self.heads * dim))
        for name, columns, rows in shapes:
            yield Tensor(role=f"indexer.{name}", columns=columns, rows=rows, layers=layers, quantizable=False, source_type=KEPT)
        yield Tensor(role="indexer_compressor_gate", columns=d, rows=dim, layers=layers, quantizable=False)
        yield Tensor(role="indexer_compressor_ape", columns=dim, rows=self.pool_tokens, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield from self.latent.caches(layers)
        yield Cache(kind=CacheKind.INDEXER, layers=layers, k_values=ROWS * self.head_dim, v_values=0)


class PooledAttention(NamedTuple):
    """Grouped-query attention behind an indexer that scores blocks of consecutive tokens by the mean of their keys.

    attention: the attention itself
    heads, head_dim: query heads of the indexer, width of one
    top_k: tokens that are chosen at most, whole blocks of them
    pool_tokens: tokens of a block
    """

    attention: Attention
    heads: int
    head_dim: int
    top_k: int
    pool_tokens: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        yield from self.attention.tensors(layers)
        for part, heads in (("q", self.heads), ("k", 1)):
            columns, rows = self.attention.hidden_size, heads * self.head_dim
            yield Tensor(role=f"indexer.{part}_proj", columns=columns, rows=rows, layers=layers, quantizable=False, source_type=KEPT)
            yield Tensor(role=f"indexer.{part}_norm", columns=self.head_dim, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield from self.attention.caches(layers)
        yield Cache(kind=CacheKind.INDEXER, layers=layers, k_values=self.head_dim, v_values=0)
