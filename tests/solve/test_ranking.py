"""The best of all models: as if every one had been worked out."""

import pytest

from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled, index
from runlocal.commands.options import Options, read
from runlocal.core.machine import Machine
from runlocal.core.units import GIB
from runlocal.core.workload import Workload
from runlocal.solve.fit import Fit
from runlocal.solve.opening import open_for
from runlocal.solve.ranking import ranking
from runlocal.solve.tables import rows


def fit_on(machine: Machine) -> Fit:
    return Fit(read(Options()), machine, rows(machine, print, vision=True))


@pytest.mark.parametrize(("name", "ram"), [("2x3090", None), ("4090+3060-12gb", 64), ("rx-7900-xtx", None)])
def test_the_best_are_those_of_all(name: str, ram: int | None) -> None:
    """What is left out of working out neither changes the list nor the count."""
    machine = parse_machine(name)._replace(host_bytes=ram and ram * GIB)
    models = list(index())
    one_by_one, quick = fit_on(machine), fit_on(machine)
    every, few = ranking(one_by_one, models), ranking(quick, models, most=25)
    assert few.best == every.best[:25]
    assert (every.others, few.others) == (0, len(every.best) - 25)
    assert one_by_one.judged == quick.judged
    assert list(every.best) == sorted(every.best, key=lambda one: one.rank, reverse=True)
    assert {found.model_id for found in every.best} == {model for model in models if one_by_one.of(model)}


def test_how_many_alone() -> None:
    models = ["llama-3.2-1b", "llama-3.1-8b", "llama-3.1-405b"]
    found = ranking(fit_on(parse_machine("2x4090")), models, most=0)
    assert (found.best, found.others) == ((), 2)


def test_nothing_ranks_above_what_was_hoped_of_it() -> None:
    fit = fit_on(parse_machine("4090"))
    found = [one for model in index() if (one := fit.of(model))]
    assert found
    assert all(one.rank <= fit.hope(one.model_id) for one in found)


def test_sure_is_said_of_several_gpus_alone() -> None:
    """Where a row answers at once there is nothing to spare."""
    assert not fit_on(parse_machine("4090")).surely("llama-3.2-1b")
    assert fit_on(parse_machine("2x4090")).surely("llama-3.2-1b")
    assert not fit_on(parse_machine("2x4090")).surely("llama-3.1-405b")


def test_a_least_speed_is_looked_at_for_each() -> None:
    machine, models = parse_machine("2x4090"), ["llama-3.2-1b", "llama-3.1-8b", "llama-3.2-3b"]
    (fastest,) = ranking(fit_on(machine), ["llama-3.2-1b"]).best
    assert fastest.speed is not None
    found = ranking(fit_on(machine), models, least_speed=fastest.speed.least, most=1)
    assert all(one.speed is not None and one.speed.least >= fastest.speed.least for one in found.best)
    assert len(found.best) + found.others <= len(models)


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("model", ["bge-m3", "mistral-small-4-119b", "mamba-130m", "minimax-text-01-456b", "llama-3.1-8b"])
def test_of_one_of_several_gpus_nothing_takes_much_more_than_alone(model: str, count: int) -> None:
    """What `surely` rests on; the first two are the worst of all models."""
    opened = open_for(bundled(model), None, None)
    recipe = opened.recipe(opened.usual_quants()[-1], None)
    workload = Workload(context_tokens=min(8192, opened.longest_context()))
    alone, together = (
        opened.load(recipe, workload, opened.placement(workload, machine), machine) for machine in (parse_machine("h200"), parse_machine(f"{count}xh200"))
    )
    most = max(taken + margin for taken, margin in zip(together.gpus, together.gpu_margins, strict=True))
    whole = alone.gpus[0] + alone.gpu_margins[0]
    assert most <= whole + 0.6 * GIB
    assert together.host + together.host_margin <= 1.4 * (whole + alone.host + alone.host_margin)
