"""State-space layers: a causal convolution and a scan, each with a state of fixed size per sequence."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class Mamba1(NamedTuple):
    """Mamba: a time step for every inner value.

    hidden_size: width of the residual stream
    inner_size: width inside the layer
    state_size: values of state per inner value
    conv_size: length of the convolution
    time_step_rank: rank of the time step's projection
    norm: of time step, B and C: `weights` (Jamba), `plain` without weights (Falcon Mamba) or `none`
    """

    hidden_size: int
    inner_size: int
    state_size: int
    conv_size: int
    time_step_rank: int
    norm: str = "none"

    @property
    def conv_values(self) -> int:
        """Values that the convolution remembers (n_embd_r)."""
        return (self.conv_size - 1) * self.inner_size

    @property
    def state_values(self) -> int:
        """Values that the scan remembers (n_embd_s)."""
        return self.state_size * self.inner_size

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, inner, state, rank = self.hidden_size, self.inner_size, self.state_size, self.time_step_rank
        yield Tensor(role="ssm_in", columns=d, rows=2 * inner, layers=layers)
        yield Tensor(role="ssm_conv1d", columns=self.conv_size, rows=inner, layers=layers, quantizable=False)
        yield Tensor(role="ssm_conv1d.bias", columns=inner, layers=layers, quantizable=False)
        yield Tensor(role="ssm_x", columns=inner, rows=rank + 2 * state, layers=layers)
        yield Tensor(role="ssm_dt", columns=rank, rows=inner, layers=layers)
        yield Tensor(role="ssm_dt.bias", columns=inner, layers=layers, quantizable=False)
        yield Tensor(role="ssm_a", columns=state, rows=inner, layers=layers, quantizable=False)
        yield Tensor(role="ssm_d", columns=inner, layers=layers, quantizable=False)
        yield Tensor(role="ssm_out", columns=inner, rows=d, layers=layers)
        if self.norm == "weights":
            for role, width in (("ssm_dt_norm", rank), ("ssm_b_norm", state), ("ssm_c_norm", state)):
                yield Tensor(role=role, columns=width, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.conv_values, v_values=self.state_values)


class Mamba2(NamedTuple):
    """Mamba 2: a time step per head, B and C per group of heads.

    heads: heads that share a time step
    groups: groups of heads that share B and C
    normed: the result is normed by group
    The others are those of Mamba1.
    """

    hidden_size: int
    inner_size: int
    state_size: int
    conv_size: int
    heads: int
    groups: int
    normed: bool = True

    @property
    def conv_width(self) -> int:
        """What goes through the convolution: x, B and C."""
        return self.inner_size + 2 * self.groups * self.state_size

    @property
    def conv_values(self) -> int:
        """Values that the convolution remembers (n_embd_r)."""
        return (self.conv_size - 1) * self.conv_width

    @property
    def state_values(self) -> int:
        """Values that the scan remembers (n_embd_s)."""
        return self.state_size * self.inner_size

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, inner = self.hidden_size, self.inner_size
        yield Tensor(role="ssm_in", columns=d, rows=inner + self.conv_width + self.heads, layers=layers)
        yield Tensor(role="ssm_conv1d", columns=self.conv_size, rows=self.conv_width, layers=layers, quantizable=False)
        yield Tensor(role="ssm_conv1d.bias", columns=self.conv_width, layers=layers, quantizable=False)
        yield Tensor(role="ssm_dt.bias", columns=self.heads, layers=layers, quantizable=False)
        yield Tensor(role="ssm_a", columns=1, rows=self.heads, layers=layers, quantizable=False)
        yield Tensor(role="ssm_d", columns=1, rows=self.heads, layers=layers, quantizable=False)
        if self.normed:
            yield Tensor(role="ssm_norm", columns=inner // self.groups, rows=self.groups, layers=layers, quantizable=False)
        yield Tensor(role="ssm_out", columns=inner, rows=d, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.conv_values, v_values=self.state_values)
