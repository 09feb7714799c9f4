"""RWKV 6 and 7: two halves that mix every token with the one before it, the first with a state of a matrix per head."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.layout import Block
from runlocal.core.model import Rwkv
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

_SHIFTS = 2  # both halves remember the last token
_MIXED_6 = 5  # w, k, v, r and g are mixed from two tokens, each with weights of its own
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


class Rwkv6(NamedTuple):
    """A whole layer but its norms.

    mix_rank, decay_rank: ranks of the low-rank matrices that mix tokens and of the decay
    first: the first layer, before which the embedding is normed
    halved: what the layer yields is halved
    The others are those of Rwkv7.
    """

    hidden_size: int
    intermediate_size: int
    head_size: int
    mix_rank: int
    decay_rank: int
    first: bool = False
    halved: bool = False

    @property
    def shift_values(self) -> int:
        """Values of the last tokens (n_embd_r)."""
        return _SHIFTS * self.hidden_size

    @property
    def state_values(self) -> int:
        """Values of the state (n_embd_s)."""
        return self.head_size * self.hidden_size

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, width, rank = self.hidden_size, self.intermediate_size, self.mix_rank

        def kept(role: str, columns: int, rows: int = 1, copies: int = 1) -> Tensor:
            return Tensor(role=role, columns=columns, rows=rows, copies=copies, layers=layers, quantizable=False)

        if self.first:
            yield kept("token_embd_norm", d)
            yield kept("token_embd_norm.bias", d)
        yield kept("time_mix_w1", d, _MIXED_6 * rank)
        yield kept("time_mix_w2", rank, d, _MIXED_6)
        yield kept("time_mix_lerp_fused", d, _MIXED_6)
        yield kept("time_mix_first", self.head_size, d // self.head_size)
        yield kept("time_mix_decay_w1", d, self.decay_rank)
        yield kept("time_mix_decay_w2", self.decay_rank, d)
        for role in ("time_mix_lerp_x", "time_mix_decay", "time_mix_ln", "time_mix_ln.bias", "channel_mix_lerp_k", "channel_mix_lerp_r"):
            yield kept(role, d)
        for role in ("time_mix_key", "time_mix_value", "time_mix_receptance", "time_mix_gate", "time_mix_output", "channel_mix_receptance"):
            yield Tensor(role=role, columns=d, rows=d, layers=layers)
        yield Tensor(role="channel_mix_key", columns=d, rows=width, layers=layers)
        yield Tensor(role="channel_mix_value", columns=width, rows=d, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.RECURRENT, layers=layers, k_values=self.shift_values, v_values=self.state_values)


def rwkv_blocks(hidden_size: int, rwkv: Rwkv, layers: tuple[int, ...]) -> Iterator[tuple[Block, tuple[int, ...]]]:
    """The layers, of which the first is not quite like the others."""
    first, others = layers[:1], layers[1:]
    if rwkv.version == 7:  # noqa: PLR2004 - the version
        seventh = Rwkv7(hidden_size, rwkv.intermediate_size, rwkv.head_size, rwkv.decay_rank, rwkv.rate_rank, rwkv.value_rank, rwkv.gate_rank)
        yield seventh._replace(first=True), first
        yield seventh, others
        return
    sixth, every = Rwkv6(hidden_size, rwkv.intermediate_size, rwkv.head_size, rwkv.mix_rank, rwkv.decay_rank), rwkv.rescale_every
    yield sixth._replace(first=True), first
    halved = tuple(layer for layer in others if every and (layer + 1) % every == 0)
    if halved:
        yield sixth._replace(halved=True), halved
    yield sixth, tuple(layer for layer in others if layer not in halved)
