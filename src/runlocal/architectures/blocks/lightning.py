"""Lightning attention: linear attention with a decay per head, whose memory is a matrix per head."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class LightningAttention(NamedTuple):
    """Lightning attention.

    hidden_size: width of the residual stream
    heads, head_dim: heads, width of one
    """

    hidden_size: int
    heads: int
    head_dim: int

    @property
    def width(self) -> int:
        return self.heads * self.head_dim

    @property
    def state_values(self) -> int:
        """Values of the states of all heads (n_embd_s)."""
        return self.head_dim * self.width

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, width = self.hidden_size, self.width
        yield Tensor(role="attn_qkv", columns=d, rows=3 * width, layers=layers)
        yield Tensor(role="attn_gate", columns=d, rows=width, layers=layers)
        yield Tensor(role="attn_norm_2", columns=width, layers=layers, quantizable=False)
        yield Tensor(role="attn_output", columns=width, rows=d, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=0, v_values=self.state_values)
