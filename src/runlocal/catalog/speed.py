"""What part of a memory's bandwidth runtimes really reached: data/speed.toml."""

from functools import cache

from runlocal.catalog.bundle import read
from runlocal.core.machine import Backend
from runlocal.core.noun import NamedTuple


class Band(NamedTuple):
    """Measured runs of one class of hardware whose reading alone would have allowed rates in one range.

    up_to: the end of that range, tokens per second; it begins where the band before it ends
    least, most: fractions of the rate that reading alone would allow
    """

    up_to: float
    least: float
    most: float


@cache
def bands(backend: Backend, memory_type: str | None, experts: bool) -> tuple[Band, ...]:
    """The bands of that backend, that kind of memory (`GDDR6X`) and models with or without experts, slowest first; none where nothing was measured."""
    if memory_type is None:
        return ()
    for row in read("speed"):
        if row["backend"] == backend and row["experts"] is experts and memory_type.startswith(tuple(row["memory"])):
            return tuple(Band(**band) for band in row["bands"])
    return ()
