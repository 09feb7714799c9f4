"""How fast tokens come, one sequence at a time: the memory's bandwidth over what a token reads, and the part of it that runtimes were seen to reach."""

from runlocal.catalog.speed import Band, bands
from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, Basis, gpu
from runlocal.core.units import GB
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime


class Speed(NamedTuple):
    """Tokens per second of one sequence whose context is full. Always an estimate.

    least, most: the range
    because: how it comes about, with its numbers
    """

    least: float
    most: float
    because: str
    basis: Basis = Basis.ESTIMATED


def speed(runtime: Runtime, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine) -> Speed | None:
    """The speed with the layers placed so.

    None where the host reads some of it, where a card's bandwidth is not known, where nothing was measured on such a card, and where what a
    token reads is not known.
    """
    read = runtime.reads(recipe, workload, placement)
    if not machine.gpus or read is None or HOST in read:
        return None
    has_experts = runtime.model.text.experts is not None
    shares: list[tuple[float, tuple[Band, ...]]] = []
    for index, card in enumerate(machine.gpus):
        measured = bands(card.backend, card.memory_type, has_experts)
        if not measured or card.bandwidth_bytes is None:
            return None
        shares.append((read.get(gpu(index), 0) / card.bandwidth_bytes, measured))
    # The cards work one after another, each on its own layers.
    ceiling = 1 / sum(seconds for seconds, _ in shares)
    least, most = (1 / sum(seconds / (reached / ceiling) for seconds, reached in ends) for ends in _ends(shares, ceiling))
    size = sum(read.values())
    because = (
        f"{size / GB:.2f} GB read for a token, which the memory delivers {ceiling:.1f} times a second; "
        f"measured runs on such memory reached {least / ceiling:.0%} to {most / ceiling:.0%} of that"
    )
    return Speed(least, most, because)


def _ends(shares: list[tuple[float, tuple[Band, ...]]], ceiling: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(seconds that a card reads, the rate that cards of its class reach): at the lower end, and at the upper."""
    reached = [(seconds, _reached(measured, ceiling)) for seconds, measured in shares]
    return [(seconds, low) for seconds, (low, _) in reached], [(seconds, high) for seconds, (_, high) in reached]


def _reached(measured: tuple[Band, ...], ceiling: float) -> tuple[float, float]:
    """(least, most) tokens per second where reading alone would allow `ceiling`.

    A range never falls as the memory gets faster: what a slower one reached is possible, and what a faster one missed is not sure.
    Beyond the fastest that was measured, no more is sure than what that reached.
    """
    least, most, start = ceiling, 0.0, 0.0
    for band in measured:
        if ceiling > start:
            most = max(most, band.most * (ceiling if band is measured[-1] else min(ceiling, band.up_to)))
        if ceiling <= band.up_to or band is measured[-1]:
            least = min(least, band.least * min(max(ceiling, start), band.up_to))
        start = band.up_to
    return least, most
