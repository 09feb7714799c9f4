"""`fit`: every row is what `check` says of that model, quantization and context."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.catalog.machines import parse_budget, parse_machine
from runlocal.catalog.models import bundled, index
from runlocal.commands.options import Options, read
from runlocal.core.load import Load
from runlocal.core.machine import Machine, Origin
from runlocal.core.units import GIB
from runlocal.core.verdict import Answer
from runlocal.quants.gguf import Recipe
from runlocal.solve.check import check
from runlocal.solve.fit import Fit, Fitting
from runlocal.solve.search import last_that_fits
from runlocal.solve.speed import speed
from runlocal.solve.tables import rows

MODELS = (
    "llama-3.1-8b", "gemma-3-12b", "qwen3.5-9b", "llama-2-7b", "gpt-oss-20b", "qwen3-30b-a3b", "phi-4-14b", "qwen2.5-vl-7b", "laguna-xs-33b-a3b",
    "smollm2-360m", "llama-3.2-11b-vision", "bge-m3", "mistral-small-3.2-24b", "qwen2.5-32b", "deepseek-r1-671b",
)  # fmt: skip
MACHINES = ("3060-12gb", "4090", "rx-7900-xtx", "m4-max-64", "strix-halo-128", "h200", "a100-80:1g.10gb")
NO_GPU = Machine(origin=Origin.BUDGET, label="no GPU", gpus=(), host_bytes=16 * GIB)


def fit_of(machine: Machine, **options: Any) -> Fit:
    asked = Options(**options)
    return Fit(read(asked), machine, rows(machine, print, vision=asked.vision))


def same(found: Fitting | None, fit: Fit, model: str, machine: Machine, **options: Any) -> None:
    """Whether the row is the headline of the check; no row where that is a no."""
    asked = read(Options(**options))
    (judged,) = check(bundled(model), asked, [machine], lambda *_: "").machines
    cell = judged.headline
    if cell.answer not in (Answer.FITS, Answer.TIGHT):
        assert found is None, (model, machine.label)
        return
    assert found is not None, (model, machine.label)
    need = sum(found.load.gpus) if machine.gpus else found.load.host
    assert (found.recipe.name, found.answer, found.context_tokens) == (cell.quant, cell.answer, cell.context_tokens)
    assert (need, found.load.host, found.tensor_bytes, round(found.bits_per_weight, 4)) == (
        cell.need_bytes, cell.host_need_bytes, cell.tensor_bytes, cell.bits_per_weight
    )  # fmt: skip
    assert (found.runtime, found.version, fit.longest(found)) == (cell.runtime, cell.runtime_version, cell.fits_context_tokens)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("model", MODELS)
def test_a_row_is_what_check_says(model: str, name: str) -> None:
    machine = parse_machine(name)
    fit = fit_of(machine)
    same(fit.of(model), fit, model, machine)


@settings(deadline=None, max_examples=40)
@given(model=st.sampled_from(MODELS), size=st.integers(2, 120), ram=st.sampled_from([None, 4, 64]), options=st.sampled_from([
    {}, {"vision": False}, {"ctx": "32k"}, {"ctx": "4096"}, {"ctx": "max"}, {"quant": "Q4_K_M,q6_k"}, {"reserve": "0"}, {"kv": "q8_0"}, {"parallel": 2},
    {"quant": "Q4_0"}, {"ctx": "10000"}, {"runtime": "ollama"},
]))  # fmt: skip
def test_whatever_is_asked(model: str, size: int, ram: int | None, options: dict[str, Any]) -> None:
    """From the rows or from the engine: the answer is the same."""
    machine = parse_budget(f"{size}")._replace(host_bytes=ram and ram * GIB)
    fit = fit_of(machine, **options)
    same(fit.of(model), fit, model, machine, **options)


@pytest.mark.parametrize("model", ["llama-3.2-3b", "qwen3.5-9b", "gpt-oss-20b", "llama-3.3-70b"])
def test_without_a_gpu(model: str) -> None:
    fit = fit_of(NO_GPU)
    same(fit.of(model), fit, model, NO_GPU)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen2.5-32b", "llama-3.3-70b", "deepseek-r1-671b"])
def test_several_gpus(model: str) -> None:
    machine = parse_machine("2x3090")
    fit = fit_of(machine)
    same(fit.of(model), fit, model, machine)


def test_the_speed_is_that_of_the_engine() -> None:
    machine = parse_machine("4090")
    fit = fit_of(machine)
    found = fit.of("qwen3-30b-a3b")
    assert found is not None
    runtime, workload = fit_runtime("qwen3-30b-a3b"), read(Options()).workload._replace(context_tokens=found.context_tokens)
    own = speed(runtime, runtime.recipe(found.recipe.name, None), workload, runtime.placement(workload, machine), machine)
    assert own is not None
    assert found.speed == own


def fit_runtime(model: str) -> Any:
    from runlocal.solve.opening import open_for

    return open_for(bundled(model), None, None)


def test_a_minimum_speed_takes_a_coarser_quantization_that_reaches_it() -> None:
    fit = fit_of(parse_machine("4090"))
    fine = fit.of("llama-3.1-8b")
    assert fine is not None
    assert fine.speed is not None
    least = fine.speed.least + 1
    fast = fit.of("llama-3.1-8b", least)
    assert fast is not None
    assert fast.speed is not None
    assert fast.speed.least >= least
    assert fast.bits_per_weight < fine.bits_per_weight
    assert fit.of("llama-3.1-8b", 100_000.0) is None


def test_tight_is_a_no_where_asked() -> None:
    """What fits 8 GiB with its reserve free at no quantization, and without it at one."""
    fit = fit_of(parse_budget("8"))
    tight = [model for model in index() if (found := fit.of(model)) and found.answer is Answer.TIGHT][:3]
    assert tight
    strict = fit_of(parse_budget("8"), strict=True)
    assert [strict.of(model) for model in tight] == [None] * len(tight)


def fitting(model: str, parameters: int, bits: float) -> Fitting:
    return Fitting(
        model_id=model,
        parameters=parameters,
        active_parameters=parameters,
        runtime="llama.cpp",
        version="b1",
        longest_tokens=8192,
        recipe=Recipe("Q", "Q", False),
        bits_per_weight=bits,
        tensor_bytes=0,
        context_tokens=8192,
        answer=Answer.FITS,
        load=Load((0,), 0, (0,), 0),
        left_free=(0,),
        speed=None,
    )


def test_the_order() -> None:
    """At four bits and more by parameters, then by bits; below, likewise, behind all of those."""
    found = [
        fitting("coarse-70b", 70, 2.7),
        fitting("small-8b", 8, 16.0),
        fitting("coarse-90b", 90, 3.9),
        fitting("coarser-32b", 32, 4.0),
        fitting("fine-32b", 32, 4.8),
    ]
    ranked = sorted(found, key=lambda one: one.rank, reverse=True)
    assert [one.model_id for one in ranked] == ["fine-32b", "coarser-32b", "small-8b", "coarse-90b", "coarse-70b"]


def test_a_quantization_that_exists_nowhere_is_a_problem() -> None:
    fit = fit_of(parse_machine("4090"), quant="Q9_Z")
    assert fit.of("llama-3.1-8b") is None
    assert fit.problem is not None
    assert (fit.problem.code, fit.judged) == ("unknown_quant", 0)


def test_a_published_mixture_is_asked_about_where_it_is_known() -> None:
    fit = fit_of(parse_machine("4090"), quant="UD-Q4_K_XL")
    found = [model for model in ("llama-3.1-8b", "qwen3-8b", "qwen3-30b-a3b-2507", "gemma-3-27b") if fit.of(model)]
    assert [model for model in found if not bundled(model).files] == []


@given(bend=st.integers(0, 300), first=st.integers(1, 50), second=st.integers(1, 50), room=st.integers(0, 9000))
def test_the_search_finds_the_last_that_fits_and_its_neighbour_soon(bend: int, first: int, second: int, room: int) -> None:
    def left(steps: int) -> int:
        return room - first * min(steps, bend) - second * max(0, steps - bend)

    tried: list[int] = []

    def asked(steps: int) -> int:
        tried.append(steps)
        return left(steps)

    if left(1) >= 0 > left(300):
        found = last_that_fits(1, 300, asked, left(1), left(300))
        assert left(found) >= 0 > left(found + 1)
        assert len(tried) <= 2 * 9 + 2
        if not 1 < bend < 300:
            assert len(tried) <= 3  # a straight line
