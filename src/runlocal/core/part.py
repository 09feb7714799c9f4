"""What an estimate is made of."""

from collections.abc import Iterable
from enum import StrEnum

from runlocal.core.noun import NamedTuple


class Kind(StrEnum):
    WEIGHTS = "weights"
    CACHE = "cache"
    STATE = "state"
    VISION = "vision"
    VISION_BUFFER = "vision_buffer"
    COMPUTE_BUFFER = "compute_buffer"
    RUNTIME = "runtime"


class Basis(StrEnum):
    """How sure a figure is.

    EXACT follows from shapes, block sizes and the allocator's rules; MEASURED is a constant taken from a named measurement;
    ESTIMATED is a fitted or rule-of-thumb term whose `because` gives its range.
    """

    EXACT = "exact"
    MEASURED = "measured"
    ESTIMATED = "estimated"


HOST = "host"
DRAFT = "draft: "  # how the labels of a draft model's parts begin


def gpu(index: int) -> str:
    """The device name of GPU `index`: `gpu0`."""
    return f"gpu{index}"


class Part(NamedTuple):
    """One thing that takes memory on one device.

    kind: what it is
    label: what it is, in words
    device: `gpu0`, `gpu1`, … or `host`
    bytes: how much
    basis: how sure
    because: the formula with its numbers
    source: where the rule or constant is from
    margin_bytes: how much more it may take at the unsafe end of its range; the verdict counts on it
    """

    kind: Kind
    label: str
    device: str
    bytes: int
    basis: Basis
    because: str
    source: str
    margin_bytes: int = 0


def need(parts: Iterable[Part], device: str) -> int:
    """Bytes that `parts` take on `device`."""
    return sum([part.bytes for part in parts if part.device == device])


def margin(parts: Iterable[Part], device: str) -> int:
    """How much more `parts` may take on `device` at the unsafe end of what is estimated."""
    return sum([part.margin_bytes for part in parts if part.device == device])
