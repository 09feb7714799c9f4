"""Delta rule layers: a causal convolution and a matrix per head that every token corrects, both of fixed size per sequence."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

KEPT = "BF16"  # what the converter writes of a checkpoint in BF16 and the quantizer leaves


class GatedDeltaNet(NamedTuple):
    """Gated delta net.

    hidden_size: width of the residual stream
    key_heads, value_heads: heads of queries and keys, heads of values
    head_dim: width of one head
    conv_size: length of the convolution
    joined: one matrix for beta and alpha (Qwen3-Next), head by head
    sigmoid: the gate of what it yields is a sigmoid (Qwen3.8 Flash Next)
    """

    hidden_size: int
    key_heads: int
    value_heads: int
    head_dim: int
    conv_size: int
    joined: bool = False
    sigmoid: bool = False

    @property
    def value_width(self) -> int:
        return self.value_heads * self.head_dim

    @property
    def conv_width(self) -> int:
        """What goes through the convolution: queries, keys and values."""
        return 2 * self.key_heads * self.head_dim + self.value_width

    @property
    def conv_values(self) -> int:
        """Values that the convolution remembers (n_embd_r)."""
        return (self.conv_size - 1) * self.conv_width

    @property
    def state_values(self) -> int:
        """Values of the states of all heads (n_embd_s)."""
        return self.head_dim * self.value_width

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, heads = self.hidden_size, self.value_heads
        yield Tensor(role="attn_qkv", columns=d, rows=self.conv_width, layers=layers)
        yield Tensor(role="attn_gate", columns=d, rows=self.value_width, layers=layers)
        yield Tensor(role="ssm_conv1d", columns=self.conv_size, rows=self.conv_width, layers=layers, quantizable=False)
        yield Tensor(role="ssm_dt.bias", columns=heads, layers=layers, quantizable=False)
        yield Tensor(role="ssm_a", columns=heads, layers=layers, quantizable=False)
        if self.joined:
            yield Tensor(role="ssm_ba", columns=d, rows=2 * heads, layers=layers)
        else:
            yield Tensor(role="ssm_beta", columns=d, rows=heads, layers=layers)
            yield Tensor(role="ssm_alpha", columns=d, rows=heads, layers=layers)
        yield Tensor(role="ssm_norm", columns=self.head_dim, layers=layers, quantizable=False)
        yield Tensor(role="ssm_out", columns=self.value_width, rows=d, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.conv_values, v_values=self.state_values)


class KimiDeltaAttention(NamedTuple):
    """Kimi delta attention: a decay for every value of a key, from a narrow projection, and a gate from another one.

    hidden_size: width of the residual stream
    heads, head_dim: heads, width of one
    conv_size: length of the convolutions
    full_gate: the gate is from one matrix, not by way of a narrow projection (Kimi K3)
    bounded: the decay has a lower bound (Kimi K3, GLM-5.3 Flash)
    exact: the quantizer leaves the narrow matrices as they are (GLM-5.3 Flash)
    """

    hidden_size: int
    heads: int
    head_dim: int
    conv_size: int
    full_gate: bool = False
    bounded: bool = False
    exact: bool = False

    @property
    def width(self) -> int:
        return self.heads * self.head_dim

    @property
    def conv_values(self) -> int:
        """Values that the three convolutions remember (n_embd_r)."""
        return 3 * (self.conv_size - 1) * self.width

    @property
    def state_values(self) -> int:
        """Values of the states of all heads (n_embd_s)."""
        return self.head_dim * self.width

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, width, dim = self.hidden_size, self.width, self.head_dim
        for part in ("q", "k", "v"):
            yield Tensor(role=f"ssm_conv1d_{part}", columns=self.conv_size, rows=width, layers=layers, quantizable=False)
            yield Tensor(role=f"attn_{part}", columns=d, rows=width, layers=layers)
        for gate in ("f",) if self.full_gate else ("f", "g"):
            yield self._narrow(f"ssm_{gate}_a", d, dim, layers)
            yield self._narrow(f"ssm_{gate}_b", dim, width, layers)
        if self.full_gate:
            yield Tensor(role="ssm_g", columns=d, rows=width, layers=layers)
        yield self._narrow("ssm_beta", d, self.heads, layers)
        rates = (self.heads, 1) if self.bounded else (1, self.heads)
        yield Tensor(role="ssm_a", columns=rates[0], rows=rates[1], layers=layers, quantizable=False)
        yield Tensor(role="ssm_dt.bias", columns=width, layers=layers, quantizable=False)
        yield Tensor(role="ssm_norm", columns=dim, layers=layers, quantizable=False)
        yield Tensor(role="attn_output", columns=width, rows=d, layers=layers)

    def _narrow(self, role: str, columns: int, rows: int, layers: tuple[int, ...]) -> Tensor:
        return Tensor(role=role, columns=columns, rows=rows, layers=layers, quantizable=not self.exact, source_type=KEPT if self.exact else None)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.conv_values, v_values=self.state_values)
