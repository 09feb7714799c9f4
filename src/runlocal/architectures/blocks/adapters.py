"""Low-rank adapters (LoRA) that a checkpoint keeps beside the matrices instead of merging them."""

from collections.abc import Iterator

from runlocal.core.cache import Cache
from runlocal.core.layout import CHOSEN, Block
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

ADAPTER = ".lora"


class Adapted(NamedTuple):
    """A block each of whose matrices has two narrow ones beside it for every rank.

    block: the block without them
    ranks: width between the two, for each adapter; of several, images or speech choose one, and text goes without
    """

    block: Block
    ranks: tuple[int, ...]

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for tensor in self.block.tensors(layers):
            yield tensor
            for number, rank in enumerate(self.ranks if tensor.quantizable else ()):
                which = f"{CHOSEN}{number}" if len(self.ranks) > 1 else ADAPTER
                yield Tensor(role=f"{tensor.role}{which}_a", columns=tensor.columns, rows=rank, layers=layers)
                yield Tensor(role=f"{tensor.role}{which}_b", columns=rank, rows=tensor.rows, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return self.block.caches(layers)
