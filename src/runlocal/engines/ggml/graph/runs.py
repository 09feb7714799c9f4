"""Layers that repeat a pattern: a few periods of it stand for all, so a graph of a hundred layers is built from ten."""

from collections.abc import Iterator, Sequence

from runlocal.core.noun import NamedTuple

KEPT = 2  # periods of a pattern that are built first; the last of them stands for the rest
_LONGEST_PERIOD = 8


class Run(NamedTuple):
    """Layers that repeat a pattern.

    first: where the pattern begins
    period: its length in layers
    times: how often it recurs behind the periods that are built
    kept: how many are
    """

    first: int
    period: int
    times: int
    kept: int

    @property
    def built_end(self) -> int:
        """The first layer that is left out."""
        return self.first + self.kept * self.period

    @property
    def end(self) -> int:
        """The layer behind those that are left out."""
        return self.built_end + self.times * self.period


def runs_of(kinds: Sequence[object], kept: int) -> Iterator[Run]:
    """The patterns worth leaving out, in order. The last layer is always built: it alone picks the rows for the logits."""
    numbers: dict[object, int] = {}
    series = [numbers.setdefault(kind, len(numbers)) for kind in kinds[:-1]]
    first = 0
    while first < len(series):
        run = _run_from(series, first, kept)
        if run:
            yield run
        first = run.end if run else first + 1


def _run_from(series: Sequence[int], first: int, kept: int) -> Run | None:
    for period in range(1, _LONGEST_PERIOD + 1):
        end = first + period
        while end < len(series) and series[end] == series[end - period]:
            end += 1
        # One more period follows, because a split may reach into the next layer.
        times = (end - first) // period - kept - 1
        if times > 0:
            return Run(first=first, period=period, times=times, kept=kept)
    return None
