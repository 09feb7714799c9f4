"""Attention to compressed tokens and hyper-connections between layers (DeepSeek V4)."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

OVERLAPPING = 4  # tokens: twice as many are read for each that is kept, and an indexer chooses among those
RATIOS = (0, OVERLAPPING, 128)
"""DSV4_CSA_RATIO and DSV4_HCA_RATIO of llama.cpp's src/llama-kv-cache-dsv4.cpp, and none."""


class CompressedAttention(NamedTuple):
    """One key that is the value too, for all heads; beyond the window one for `ratio` tokens.

    heads, head_dim: query heads, width of a key
    query_width: width of the compressed query
    output_groups, output_rank: groups of heads that the output projection works in, and the width that it gives each of them
    window_tokens: length of the window
    ratio: tokens that become one, 0 where nothing is kept beyond the window
    indexer_heads, indexer_dim, top_k: of the indexer, which layers with OVERLAPPING have
    """

    hidden_size: int
    heads: int
    head_dim: int
    query_width: int
    output_groups: int
    output_rank: int
    window_tokens: int
    ratio: int
    indexer_heads: int
    indexer_dim: int
    top_k: int

    @property
    def query_size(self) -> int:
        return self.heads * self.head_dim

    @property
    def has_indexer(self) -> bool:
        return self.ratio == OVERLAPPING

    @property
    def state_rows(self) -> int:
        """Rows of the state that tokens wait in until they are compressed."""
        return 2 * self.ratio if self.has_indexer else self.ratio

    def state_width(self, dim: int) -> int:
        """Width of such a row for keys of `dim`: where windows overlap, both halves of them."""
        return 2 * dim if self.has_indexer else dim

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, dim = self.hidden_size, self.head_dim
        yield Tensor(role="attn_sinks", columns=self.heads, layers=layers, quantizable=False)
        yield Tensor(role="attn_q_a", columns=d, rows=self.query_width, layers=layers)
        yield Tensor(role="attn_q_a_norm", columns=self.query_width, layers=layers, quantizable=False)
        yield Tensor(role="attn_q_b", columns=self.query_width, rows=self.query_size, layers=layers)
        yield Tensor(role="attn_kv", columns=d, rows=dim, layers=layers)
        yield Tensor(role="attn_kv_a_norm", columns=dim, layers=layers, quantizable=False)
        yield Tensor(role="attn_output_a", columns=self.query_size // self.output_groups, rows=self.output_rank, copies=self.output_groups, layers=layers)
        yield Tensor(role="attn_output_b", columns=self.output_groups * self.output_rank, rows=d, layers=layers)
        if self.ratio:
            yield from self._compressor("attn_compressor", dim, layers)
        if self.has_indexer:
            yield Tensor(role="indexer.proj", columns=d, rows=self.indexer_heads, layers=layers, source_type="F32")
            yield Tensor(role="indexer.attn_q_b", columns=self.query_width, rows=self.indexer_heads * self.indexer_dim, layers=layers)
            yield from self._compressor("indexer_compressor", self.indexer_dim, layers)

    def _compressor(self, name: str, dim: int, layers: tuple[int, ...]) -> Iterator[Tensor]:
        width = self.state_width(dim)
        for role in (f"{name}_kv", f"{name}_gate"):
            yield Tensor(role=role, columns=self.hidden_size, rows=width, layers=layers)
        yield Tensor(role=f"{name}_ape", columns=width, rows=self.ratio, layers=layers)
        yield Tensor(role=f"{name}_norm", columns=dim, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.SLIDING, layers=layers, k_values=self.head_dim, v_values=0, window_tokens=self.window_tokens)
        if self.ratio:
            yield self.compressed_cache(layers)
            yield self._state(self.head_dim, layers)
        if self.has_indexer:
            yield self.indexer_cache(layers)
            yield self._state(self.indexer_dim, layers)

    def compressed_cache(self, layers: tuple[int, ...]) -> Cache:
        return Cache(kind=CacheKind.COMPRESSED, layers=layers, k_values=self.head_dim, v_values=0, ratio=self.ratio)

    def indexer_cache(self, layers: tuple[int, ...]) -> Cache:
        return Cache(kind=CacheKind.INDEXER, layers=layers, k_values=self.indexer_dim, v_values=0, ratio=self.ratio)

    def _state(self, dim: int, layers: tuple[int, ...]) -> Cache:
        values = self.state_rows * self.state_width(dim)
        return Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=values, v_values=values)


class HyperConnections(NamedTuple):
    """Several residual streams: before each half of a layer they become one, behind it they are mixed anew.

    streams: how many
    exact: what mixes them stays in F32, and before the output they are averaged (GLM-5.3 Flash)
    """

    hidden_size: int
    streams: int
    exact: bool = False

    @property
    def width(self) -> int:
        return self.hidden_size * self.streams

    @property
    def mixes(self) -> int:
        """Weights per token: one in and one out for each stream, and from each to each."""
        return (2 + self.streams) * self.streams

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for half in ("attn", "ffn"):
            yield Tensor(role=f"hc_{half}_fn", columns=self.width, rows=self.mixes, layers=layers, quantizable=not self.exact)
            yield Tensor(role=f"hc_{half}_base", columns=self.mixes, layers=layers, quantizable=False)
            yield Tensor(role=f"hc_{half}_scale", columns=3, layers=layers, quantizable=False)

    def outer_tensors(self) -> Iterator[Tensor]:
        """What makes one stream of them before the output."""
        yield Tensor(role="output_hc_fn", columns=self.width, rows=self.streams)
        yield Tensor(role="output_hc_base", columns=self.streams, quantizable=False)
        yield Tensor(role="output_hc_scale", columns=1, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())
