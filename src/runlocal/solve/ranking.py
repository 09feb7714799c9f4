"""The best of many models, without working out more than the best."""

from bisect import insort
from collections.abc import Sequence

from runlocal.core.noun import NamedTuple
from runlocal.solve.fit import Fit, Fitting, Rank


class Ranking(NamedTuple):
    """Models that fit.

    best: the best first
    others: how many more fit, that nobody asked to see
    """

    best: tuple[Fitting, ...]
    others: int


def ranking(fit: Fit, model_ids: Sequence[str], least_speed: float | None = None, most: int | None = None) -> Ranking:
    """Which of the models fit.

    least_speed: tokens per second that the slower end of its range has to reach
    most: so many of the best are asked for; None: all; 0: how many there are
    """
    found: dict[str, Fitting] = {}
    ranks: list[Rank] = []  # of those found, the least first
    others = 0
    for hope, model_id in sorted(((fit.hope(model_id), model_id) for model_id in model_ids), reverse=True):
        wanted = most is None or len(ranks) < most or (most > 0 and hope >= ranks[-most])
        if not wanted and least_speed is None and fit.surely(model_id):
            others += 1
        elif fitting := fit.of(model_id, least_speed):
            found[model_id] = fitting
            insort(ranks, fitting.rank)
    best = sorted((found[model_id] for model_id in model_ids if model_id in found), key=lambda one: one.rank, reverse=True)
    return Ranking(tuple(best[:most]), others + len(best[most:]) if most is not None else 0)
