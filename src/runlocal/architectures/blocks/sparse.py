"""Attention that looks at chosen blocks of tokens (MiniMax M3)."""

from collections.abc import Iterator

from runlocal.architectures.blocks.attention import Attention
from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class BlockSparseAttention(NamedTuple):
    """Grouped-query attention behind an indexer that chooses blocks of tokens for each group of heads; it keeps a key per token beside keys and values.

    attention: the attention itself
    heads, head_dim: query heads of the indexer, one per key and value head; width of a head
    top_k: blocks that are chosen at most
    block_tokens: tokens of a block
    """

    attention: Attention
    heads: int
    head_dim: int
    top_k: int
    block_tokens: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        yield from self.attention.tensors(layers)
        for part, heads in (("q", self.heads), ("k", 1)):
            # The converter keeps them in F32, and the quantizer as they are.
            yield Tensor(role=f"indexer.{part}_proj", columns=self.attention.hidden_size, rows=heads * self.head_dim, layers=layers, quantizable=False)
            yield Tensor(role=f"indexer.{part}_norm", columns=self.head_dim, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield from self.attention.caches(layers)
        # llama_kv_cache_msa sets values aside too, as wide as one head's, which nothing writes.
        yield Cache(kind=CacheKind.INDEXER, layers=layers, k_values=self.head_dim, v_values=self.attention.value_dim)
