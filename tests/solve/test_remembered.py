"""Rows of the tables behind `fit`: what they give is what the engine gives, to the byte, on every kind of machine."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.catalog import bundle, kept
from runlocal.catalog.facts import facts
from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled, index
from runlocal.core.errors import Code, Problem
from runlocal.core.machine import Backend, Machine, Origin
from runlocal.core.part import HOST, Basis, Kind, Part, gpu
from runlocal.core.workload import Workload
from runlocal.engines.ggml.refusals import refuses_device
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.opening import open_for
from runlocal.solve.remembered import Point, Remembered, Row, corners, point_at
from runlocal.solve.tables import rows

# CUDA with memory of its own and with the system's, ROCm with both, Metal, Intel, and a computer without a GPU.
MACHINES = ("4090", "dgx-spark", "rx-7900-xtx", "strix-halo-128", "m4-max-64", "arc-b580", None)
# Of every way in which a row is made: on a line, with a window, with states, too short for a line, without flash attention, with experts, with a
# tower, with a doubt about the graph, with weights that are copied, in Ollama's own engine, one that only embeds.
MODELS = (
    "llama-3.1-8b", "gemma-3-12b", "qwen3.5-4b", "llama-2-7b", "gemma-2-9b", "gpt-oss-20b", "minicpm3-4b", "phi-4-14b", "qwen2.5-vl-7b", "laguna-xs-33b-a3b",
    "bitnet-b1.58-2b-4t", "llama-3.2-11b-vision", "bge-m3", "lfm2-1.2b", "falcon-h1-0.5b", "deepseek-v2-lite-16b", "gemma-3n-e4b", "yi-34b", "phi-3.5-mini",
)  # fmt: skip


def machine_of(name: str | None) -> Machine:
    return Machine(origin=Origin.BUDGET, label="no GPU", gpus=(), host_bytes=64 << 30) if name is None else parse_machine(name)


@cache
def opened(model: str) -> Runtime:
    return open_for(bundled(model), None, None)


def unasked() -> Runtime:
    raise AssertionError("the engine was asked")


def remembered(model: str, machine: Machine, *, vision: bool = True) -> Remembered:
    row = rows(machine, print, vision=vision)[model]
    assert row is not None
    return Remembered(row, facts(row["runtime"], row["version"]), unasked)


def compare(model: str, quant: str, machine: Machine, tokens: int, *, vision: bool = True) -> None:
    """Load, reserve, refusal and reading of the row against the engine's."""
    found, real = remembered(model, machine, vision=vision), opened(model)
    recipe, workload = Recipe(quant, quant, False), Workload(context_tokens=tokens, vision=vision)
    own = real.recipe(quant, None)
    placement = real.placement(workload, machine)
    assert found.load(recipe, workload, found.placement(workload, machine), machine) == real.load(own, workload, placement, machine)
    assert found.reserves(workload, machine) == real.reserves(workload, machine)
    assert found.refuses(recipe, workload, machine) is None is real.refuses(own, workload, machine)
    if machine.gpus:
        read = real.reads(own, workload, placement)
        assert found.reads(recipe, workload, placement) == (read if read and HOST not in read else None)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("model", MODELS)
def test_a_row_gives_what_the_engine_gives(model: str, machine: str | None) -> None:
    here = machine_of(machine)
    row = remembered(model, here).row
    quants = list(row["quants"])
    points = remembered(model, here).known_contexts(Recipe(quants[0], quants[0], False))
    for quant, tokens in ((quants[0], points[-1]), (quants[len(quants) // 2], points[len(points) // 2]), (quants[-1], points[0])):
        compare(model, quant, here, tokens)


ON_A_LINE = [model for model in MODELS if model not in ("lfm2-1.2b", "qwen3.5-4b", "falcon-h1-0.5b", "minicpm3-4b", "llama-3.2-11b-vision")]


@settings(deadline=None, max_examples=60)
@given(model=st.sampled_from(ON_A_LINE), machine=st.sampled_from(MACHINES), share=st.floats(0, 1), number=st.integers(0, 10), vision=st.booleans())
def test_between_its_points_too(model: str, machine: str | None, share: float, number: int, vision: bool) -> None:
    here = machine_of(machine)
    row = remembered(model, here, vision=vision).row
    quant = list(row["quants"])[number % len(row["quants"])]
    points = row["points"].get(quant) or row["points"][""]
    least, most = points[0][0], row["longest"]
    tokens = (least + int((most - least) * share)) // 256 * 256
    if tokens >= least:
        compare(model, quant, here, tokens, vision=vision)


def test_a_long_row_with_states_knows_its_points_alone() -> None:
    row = remembered("qwen3.5-4b", machine_of("4090")).row
    assert (row["joined"], row["beyond"]) == (False, None)
    assert point_at(row, "", 16384) is not None
    assert point_at(row, "", 16384 + 256) is None


def test_what_a_row_does_not_hold_is_asked_of_the_engine() -> None:
    here = machine_of("4090")
    row = rows(here, print, vision=True)["qwen3.5-4b"]
    assert row is not None
    found = Remembered(row, facts(row["runtime"], row["version"]), lambda: opened("qwen3.5-4b"))
    real = opened("qwen3.5-4b")
    workload, recipe = Workload(context_tokens=20_000), real.recipe("Q8_0", None)
    assert found.load(recipe, workload, found.placement(workload, here), here) == real.load(recipe, workload, real.placement(workload, here), here)
    assert found.reads(recipe, workload, found.placement(workload, here)) == real.reads(recipe, workload, real.placement(workload, here))
    beyond = Workload(context_tokens=row["longest"] + 256)
    assert found.refuses(recipe, beyond, here) == real.refuses(recipe, beyond, here) is not None
    hpu = here._replace(gpus=(here.gpus[0]._replace(backend=Backend.HPU),))
    assert found.refuses(recipe, workload, hpu) == refuses_device(hpu, 15) is not None


def test_every_model_that_a_priced_runtime_loads_has_a_row() -> None:
    for name in ("4090", None):
        found = rows(machine_of(name), print, vision=False)
        assert set(found) == set(index())
        assert all(row["quants"] for row in found.values() if row is not None)
        for model in (model for model, row in found.items() if row is None):
            with pytest.raises(Problem) as raised:
                opened(model)
            assert raised.value.code is Code.NOT_COMPUTED


def buffer(size: int, margin: int = 0) -> tuple[Part, ...]:
    return (Part(Kind.COMPUTE_BUFFER, "", gpu(0), size, Basis.EXACT, "", "", margin),)


def test_corners_are_where_the_line_bends() -> None:
    """Steps of 10 bytes to 1,024 tokens, then of 30; the caches 5 a step all along: the ends and the bend are enough."""
    sizes = {256: 100, 512: 110, 768: 120, 1024: 130, 1280: 160, 1536: 190, 1792: 220}
    points = [Point(tokens, (("gpu0", 5 * tokens // 256),), buffer(size), 0) for tokens, size in sizes.items()]
    assert [point.tokens for point in corners(points)] == [256, 1024, 1792]
    row: Row = {"points": {"": [_json(point) for point in corners(points)]}, "beyond": None, "joined": True, "doubt": 0, "longest": 1792}
    for point in points:
        assert point_at(row, "", point.tokens) == point
    assert point_at(row, "", 2048) is None
    assert point_at(row, "", 300) is None


def test_a_margin_follows_its_buffer_where_the_graph_is_doubted() -> None:
    """10 % of 1,000, 1,015 and 1,030 bytes, rounded down."""
    points = [Point(tokens, (), buffer(size, size * 10 // 100), 0) for tokens, size in ((256, 1000), (512, 1015), (768, 1030))]
    assert [point.tokens for point in corners(points, 10)] == [256, 768]
    assert [point.tokens for point in corners(points, 0)] == [256, 512, 768]


def _json(point: Point) -> list[Any]:
    return [
        point.tokens,
        [[0, size] for _, size in point.caches],
        [[list(Kind).index(part.kind), 0, part.bytes, list(Basis).index(part.basis), part.margin_bytes] for part in point.others],
        point.more_read,
    ]


def test_a_row_is_made_anew_where_its_model_has_changed_and_nowhere_else(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "cache_home", lambda: str(tmp_path))
    states = iter("ab")
    made: list[str] = []

    def rows_of(model: str) -> dict[str, int]:
        made.append(model)
        return {"gpu": len(made)} if model != "text" else {"gpu": len(made), "gpu-text": len(made)}

    def ask(models: dict[str, Any]) -> dict[str, Any]:
        made.clear()
        digest = next(states)
        monkeypatch.setattr(bundle, "digest", lambda _: digest)
        return kept.make(("gpu", "gpu-text"), rows_of, models, ("core/load.py",), print)

    assert ask({"one": {"a": 1}, "text": {"b": 1}}) == {"gpu": {"one": 1, "text": 2}, "gpu-text": {"text": 2}}
    assert kept.cached("gpu") == {"one": 1, "text": 2}
    assert ask({"one": {"a": 2}, "text": {"b": 1}, "new": {}}) == {"gpu": {"one": 1, "text": 2, "new": 2}, "gpu-text": {"text": 2}}
    assert made == ["one", "new"]
    assert len(list(tmp_path.rglob("gpu.json"))) == 2


def test_a_spoilt_table_is_made_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "cache_home", lambda: str(tmp_path))
    for _ in range(2):
        kept.make(("gpu",), lambda model: {"gpu": model}, {"one": {}}, (), print)
        assert kept.cached("gpu") == {"one": "one"}
        (path,) = tmp_path.rglob("gpu.json")
        path.write_text("{", encoding="utf-8")
        assert kept.cached("gpu") is None


def test_many_new_rows_are_announced(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(bundle, "cache_home", lambda: str(tmp_path / "file"))
    told: list[str] = []
    made = kept.make(("gpu",), lambda model: {"gpu": model}, {str(number): {} for number in range(11)}, (), told.append)
    assert made["gpu"]["10"] == "10"  # although nothing could be kept
    assert told == ["Computing what 11 models take, once for this state of data and code: half a minute."]
