"""Encoder and decoder: layers that read the whole input once, and attention to what they made of it."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.layout import Block
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

ENCODER = "enc."
"""What the names of the encoder's tensors begin with."""


class Encoder(NamedTuple):
    """A block of the encoder's layers. The input goes through once, so nothing of it is kept but what the decoder reads.

    block: the block as a decoder has it
    """

    block: Block

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for tensor in self.block.tensors(layers):
            yield tensor._replace(role=ENCODER + tensor.role)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())


class EncodedAttention(NamedTuple):
    """A decoder layer's attention to the encoder's output, whose keys and values are computed once for an input.

    heads, head_dim: heads of queries, keys and values, and their width
    """

    hidden_size: int
    heads: int
    head_dim: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        width = self.heads * self.head_dim
        for role, columns, rows in (
            ("cross_attn_q", self.hidden_size, width),
            ("cross_attn_k", self.hidden_size, width),
            ("cross_attn_v", self.hidden_size, width),
            ("cross_attn_output", width, self.hidden_size),
        ):
            yield Tensor(role=role, columns=columns, rows=rows, layers=layers)
            yield Tensor(role=f"{role}.bias", columns=rows, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        width = self.heads * self.head_dim
        yield Cache(kind=CacheKind.ENCODED, layers=layers, k_values=width, v_values=width, heads=self.heads)
