"""A table of hashed n-grams that one layer reads, and low-rank hyper-connections (Qwen3.8 Flash Next)."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class NgramEmbedding(NamedTuple):
    """What a layer adds to its streams: rows of a table by the last tokens, gated by the streams, through a causal convolution.

    hidden_size: width of one residual stream
    streams: how many there are
    size: tokens of the longest n-gram, and how far apart the convolution reads
    heads: rows that are read for each token, for all lengths together
    head_dim: width of a row
    conv_size: length of the convolution
    """

    hidden_size: int
    streams: int
    size: int
    heads: int
    head_dim: int
    conv_size: int

    @property
    def width(self) -> int:
        """Of all streams."""
        return self.hidden_size * self.streams

    @property
    def history(self) -> int:
        """Tokens that the convolution remembers."""
        return (self.conv_size - 1) * self.size

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        read = self.heads * self.head_dim
        yield Tensor(role="ple_key", columns=read, rows=self.width, layers=layers)
        yield Tensor(role="ple_value", columns=read, rows=self.hidden_size, layers=layers)
        for name in ("key", "query", "conv"):
            yield Tensor(role=f"ple_norm_{name}", columns=self.width, layers=layers, quantizable=False)
        yield Tensor(role="ple_conv1d", columns=self.conv_size, rows=self.width, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.history * self.width, v_values=0)


class LowRankConnections(NamedTuple):
    """Several residual streams: each half of a layer reads their mean, gated by way of a narrow projection, and adds its result to each by a weight.

    streams: how many
    rank: width of the narrow projection
    """

    hidden_size: int
    streams: int
    rank: int

    @property
    def width(self) -> int:
        return self.hidden_size * self.streams

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for half in ("attn", "ffn"):
            for tensor in self._mixer(f"hc_{half}"):
                yield tensor._replace(layers=layers)
            yield Tensor(role=f"hc_{half}_inject", columns=self.width, rows=self.streams, layers=layers)

    def outer_tensors(self) -> Iterator[Tensor]:
        """What makes one stream of them before the output."""
        return self._mixer("output_hc")

    def _mixer(self, name: str) -> Iterator[Tensor]:
        yield Tensor(role=f"{name}_norm", columns=self.width, quantizable=False)
        yield Tensor(role=f"{name}_down", columns=self.width, rows=self.rank)
        yield Tensor(role=f"{name}_up", columns=self.rank, rows=self.width)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())
