"""Gated short convolutions: what a layer remembers is the last few tokens, as they went into the convolution."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class ShortConvolution(NamedTuple):
    """LFM2's convolution between two gates.

    hidden_size: width of the residual stream
    conv_size: length of the convolution
    """

    hidden_size: int
    conv_size: int

    @property
    def conv_values(self) -> int:
        """Values that the convolution remembers (n_embd_r)."""
        return (self.conv_size - 1) * self.hidden_size

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d = self.hidden_size
        yield Tensor(role="shortconv.conv", columns=self.conv_size, rows=d, layers=layers, quantizable=False)
        yield Tensor(role="shortconv.in_proj", columns=d, rows=3 * d, layers=layers)
        yield Tensor(role="shortconv.out_proj", columns=d, rows=d, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.conv_values, v_values=0)
