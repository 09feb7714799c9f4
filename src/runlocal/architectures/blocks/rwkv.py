"""RWKV 7: two halves that mix every token with the one before it, the first with a state of a matrix per head."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

_SHIFTS = 2  # both halves remember the last token
_MIXED = 6  # r, w, k, v, a and g are mixed from two tokens, each with weights of its own


class Rwkv7(NamedTuple):
    """A whole layer but its norms.

    hidden_size: width of the residual stream
    intermediate_size: width of the second half
    head_size: width of a head; its state is a square of it
    decay_rank, rate_rank, value_rank, gate_rank: ranks of the low-rank matrices w, a, v and g
    first: the first layer, whose values all others look back at, and before which the embedding is normed
    """

    hidden_size: int
    intermediate_size: int
    head_size: int
    decay_rank: int
    rate_rank: int
    value_rank: int
    gate_rank: int
    first: bool = False

    @property
    def shift_values(self) -> int:
        """Values of the last tokens (n_embd_r)."""
        return _SHIFTS * self.hidden_size

    @property
    def state_values(self) -> int:
        """Values of the state (n_embd_s)."""
        return self.head_size * self.hidden_size

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, width = self.hidden_size, self.intermediate_size

        def vector(role: str, rows: int = 1, *, repeated: bool = False) -> Tensor:
            return Tensor(role=role, columns=d, rows=rows, layers=layers, quantizable=False, repeated=repeated)

        if self.first:
            yield vector("token_embd_norm")
            yield vector("token_embd_norm.bias")
        # The converter gives the first layer copies of a0 to a2 as v0 to v2, which nothing reads.
        ranks = {"w": self.decay_rank, "a": self.rate_rank, "v": self.rate_rank if self.first else self.value_rank, "g": self.gate_rank}
        for name, rank in ranks.items():
            copied = self.first and name == "v"
            kept = None if name == "w" else "F16"
            if name != "g":
                yield vector(f"time_mix_{name}0", repeated=copied)
            yield Tensor(role=f"time_mix_{name}1", columns=d, rows=rank, layers=layers, quantizable=False, source_type=kept, repeated=copied)
            yield Tensor(role=f"time_mix_{name}2", columns=rank, rows=d, layers=layers, quantizable=False, source_type=kept, repeated=copied)
        yield vector("time_mix_lerp_fused", _MIXED)
        for role in ("time_mix_k_k", "time_mix_k_a", "time_mix_r_k", "time_mix_ln", "time_mix_ln.bias", "channel_mix_lerp_k"):
            yield vector(role)
        for role in ("time_mix_key", "time_mix_value", "time_mix_receptance", "time_mix_output"):
            yield Tensor(role=role, columns=d, rows=d, layers=layers)
        yield Tensor(role="channel_mix_key", columns=d, rows=width, layers=layers)
        yield Tensor(role="channel_mix_value", columns=width, rows=d, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.shift_values, v_values=self.state_values)
