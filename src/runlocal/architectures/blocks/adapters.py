"""Low-rank adapters (LoRA) that a checkpoint keeps beside the matrices instead of merging them."""

from collections.abc import Iterator

from runlocal.core.cache import Cache
from runlocal.core.layout import Block
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class Adapted(NamedTuple):
    """A block each of whose matrices has two narrow ones beside it for every rank.

    block: the block without them
    ranks: width between the two, for each adapter
    """

    block: Block
    ranks: tuple[int, ...]

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for tensor in self.block.tensors(layers):
            yield tensor
            for number, rank in enumerate(self.ranks if tensor.quantizable else ()):
                yield Tensor(role=f"{tensor.role}.lora_a.{number}", columns=tensor.columns, rows=rank, layers=layers)
                yield Tensor(role=f"{tensor.role}.lora_b.{number}", columns=rank, rows=tensor.rows, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return self.block.caches(layers)
