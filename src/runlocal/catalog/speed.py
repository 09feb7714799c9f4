"""What part of a memory's bandwidth runtimes really reached: data/speed.toml."""

from functools import cache

from runlocal.catalog.bundle import read
from runlocal.core.machine import Backend
from runlocal.core.noun import NamedTuple

HOST_MEMORY = "DDR"


class Band(NamedTuple):
    """Measured runs of one class of hardware whose reading alone would have allowed rates in one range.

    up_to: the end of that range, tokens per second; it begins where the band before it ends
    least, most: fractions of the rate that reading alone would allow
    """

    up_to: float
    least: float
    most: float


class Measured(NamedTuple):
    """Measured runs of one class of hardware.

    bands: slowest first
    sources: addresses of the runs
    """

    bands: tuple[Band, ...]
    sources: tuple[str, ...]


@cache
def measured(backend: Backend, memory_type: str | None, experts: bool) -> Measured | None:
    """The runs of that backend, that kind of memory (`GDDR6X`) and models with or without experts; None where there are none."""
    if memory_type is None:
        return None
    for row in read("speed")["classes"]:
        if row["backend"] == backend and row["experts"] is experts and memory_type.startswith(tuple(row["memory"])):
            return Measured(tuple(Band(**band) for band in row["bands"]), tuple(row["sources"]))
    return None


def bands(backend: Backend, memory_type: str | None, experts: bool) -> tuple[Band, ...]:
    """The bands of that class; none where nothing was measured."""
    found = measured(backend, memory_type, experts)
    return found.bands if found else ()


def host_cache_least() -> float:
    """The smallest fraction of host memory's bandwidth at which a token went through what is cached there."""
    least: float = read("speed")["host_cache_least"]
    return least


def mixed_most_of_host() -> float:
    """The greatest fraction of host memory's bandwidth that a run on GPUs and host memory together was seen to need."""
    most: float = read("speed")["mixed_most_of_host"]
    return most
