"""Every row of `data/speed.toml` through a strict door, and every fraction worked out again from our own bytes."""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from runlocal.catalog.gpus import entry
from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled
from runlocal.core.machine import Backend, Machine, Origin
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime
from runlocal.solve.opening import open_for
from runlocal.solve.speed import Speed, speed

FILE = tomllib.loads((Path(__file__).parents[2] / "data" / "speed.toml").read_text(encoding="utf-8"))
Number = Annotated[int | float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Source(Strict):
    url: Annotated[StrictStr, Field(pattern=r"^https://[^ ]+$")]
    what: Annotated[StrictStr, Field(min_length=10, max_length=200)]
    checked: Annotated[StrictStr, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Band(Strict):
    up_to: Number
    least: Fraction
    most: Fraction


class Row(Strict):
    gpus: StrictStr | None = None
    ram_gb_s: Number | None = None
    gpu_layers: Annotated[int, Field(ge=1)] | None = None
    n_cpu_moe: Annotated[int, Field(ge=1)] = 0
    model: StrictStr
    quant: StrictStr
    context_tokens: Annotated[int, Field(ge=256)]
    tokens_per_second: Number
    source: StrictStr

    def machine(self) -> Machine:
        named = parse_machine(self.gpus) if self.gpus else Machine(Origin.NAMED, "CPU", ())
        return named._replace(host_bandwidth_bytes=None if self.ram_gb_s is None else round(self.ram_gb_s * 1e9))

    def workload(self) -> Workload:
        return Workload(context_tokens=self.context_tokens, gpu_layers=self.gpu_layers, n_cpu_moe=self.n_cpu_moe)


class Class(Strict):
    backend: Literal["cuda", "rocm", "metal", "sycl", "cpu"]
    memory: list[Literal["GDDR", "LPDDR", "HBM", "DDR"]]
    experts: StrictBool
    bands: Annotated[list[Band], Field(min_length=1)]
    rows: Annotated[list[Row], Field(min_length=2)]


class Longer(Strict):
    """One model on one processor: (context, tokens per second) short and long."""

    ram_gb_s: Number
    model: StrictStr
    quant: StrictStr
    short: tuple[int, float]
    long: tuple[int, float]
    source: StrictStr


class HostCache(Strict):
    least: Fraction
    rows: Annotated[list[Longer], Field(min_length=2)]


class Mixed(Strict):
    most_of_host: Fraction
    rows: Annotated[list[Row], Field(min_length=2)]


class File(Strict):
    sources: dict[str, Source]
    class_: Annotated[list[Class], Field(alias="class")]
    host_cache: HostCache
    mixed: Mixed


CHECKED = File.model_validate(FILE)
CLASSES = CHECKED.class_
ROWS = [(number, row) for number, one in enumerate(CLASSES) for row in one.rows]
_opened: dict[str, Runtime] = {}


def named(row: Row) -> str:
    return f"{row.gpus or row.ram_gb_s}-{row.model}-{row.quant}-{row.gpu_layers or row.n_cpu_moe or row.context_tokens}"


def runtime(model: str) -> Runtime:
    if model not in _opened:
        _opened[model] = open_for(bundled(model), "llama.cpp", None)
    return _opened[model]


def reads(row: Row) -> dict[str, int]:
    opened, machine, workload = runtime(row.model), row.machine(), row.workload()
    read = opened.reads(opened.recipe(row.quant, None), workload, opened.placement(workload, machine))
    assert read is not None
    return read


def ceiling(row: Row) -> float:
    """The rate that reading alone would allow: one card after another, or the processor."""
    read, machine = reads(row), row.machine()
    if not machine.gpus:
        return (machine.host_bandwidth_bytes or 0) / sum(read.values())
    return 1 / sum(read[f"gpu{index}"] / (card.bandwidth_bytes or 0) for index, card in enumerate(machine.gpus))


def estimated(row: Row) -> Speed:
    opened, machine, workload = runtime(row.model), row.machine(), row.workload()
    found = speed(opened, opened.recipe(row.quant, None), workload, opened.placement(workload, machine), machine)
    assert found is not None
    return found


def band_of(number: int, row: Row) -> Band:
    return next(band for band in CLASSES[number].bands if ceiling(row) <= band.up_to)


def test_every_source_is_cited_and_every_citation_has_one() -> None:
    others: list[Any] = [*CHECKED.host_cache.rows, *CHECKED.mixed.rows]
    assert {row.source for row in (*(row for _, row in ROWS), *others)} == set(CHECKED.sources)


def test_a_class_stands_once_and_its_bands_rise() -> None:
    keys = [(one.backend, kind, one.experts) for one in CLASSES for kind in one.memory]
    assert len(keys) == len(set(keys))
    for one in CLASSES:
        assert [band.up_to for band in one.bands] == sorted({band.up_to for band in one.bands})


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[named(row) for _, row in ROWS])
def test_a_row_belongs_to_its_class_and_lies_in_the_range_we_give(number: int, row: Row) -> None:
    assert (row.gpus is None) is (row.ram_gb_s is not None)
    assert (row.gpu_layers, row.n_cpu_moe) == (None, 0)
    memory = {(card.backend, entry(card.id or "").memory_type) for card in row.machine().gpus} or {(Backend.CPU, "DDR")}
    ((backend, kind),) = memory
    assert backend == CLASSES[number].backend
    assert kind is not None and kind.startswith(tuple(CLASSES[number].memory))
    assert (runtime(row.model).model.text.experts is not None) is CLASSES[number].experts
    found = estimated(row)
    assert found.least <= row.tokens_per_second <= found.most
    assert CHECKED.sources[row.source].url in found.sources


@pytest.mark.parametrize("row", CHECKED.mixed.rows, ids=named)
def test_a_run_on_gpus_and_host_memory_lies_in_the_range_that_both_classes_give(row: Row) -> None:
    assert set(reads(row)) >= {"gpu0", "host"}
    found = estimated(row)
    assert found.least <= row.tokens_per_second <= found.most
    assert found.most < 5 * found.least


def test_the_most_of_the_host_is_what_a_run_beside_a_gpu_needs_and_nothing_smoother() -> None:
    """Of its time a GPU at its quickest takes the least; what is left is the host's, whose bytes went by in it."""
    needed = []
    for row in CHECKED.mixed.rows:
        opened, machine, workload = runtime(row.model), row.machine(), row.workload()
        placed = opened.placement(workload, machine)
        endless = machine._replace(host_bandwidth_bytes=1 << 80)
        gpu_alone = speed(opened, opened.recipe(row.quant, None), workload, placed, endless)
        assert gpu_alone is not None and machine.host_bandwidth_bytes
        kept = sum(size for place, size in reads(row).items() if not place.startswith("gpu")) / machine.host_bandwidth_bytes
        needed.append(kept / (1 / row.tokens_per_second - 1 / gpu_alone.most))
    within = [fraction for fraction, row in zip(needed, CHECKED.mixed.rows, strict=True) if runtime(row.model).model.text.experts is not None]
    assert CHECKED.mixed.most_of_host == math.ceil(max(within) * 100) / 100


@pytest.mark.parametrize("row", CHECKED.host_cache.rows, ids=lambda row: row.model)
def test_behind_a_long_context_a_processor_stays_in_the_range(row: Longer) -> None:
    for context_tokens, rate in (row.short, row.long):
        found = estimated(Row(**row.model_dump(exclude={"short", "long"}), context_tokens=context_tokens, tokens_per_second=rate))
        assert found.least <= rate <= found.most


def test_the_slow_end_of_what_is_cached_is_the_slowest_run_and_nothing_smoother() -> None:
    fractions = []
    for row in CHECKED.host_cache.rows:
        short, long = (
            sum(reads(Row(**row.model_dump(exclude={"short", "long"}), context_tokens=tokens, tokens_per_second=rate)).values())
            for tokens, rate in (row.short, row.long)
        )
        fractions.append((long - short) / (row.ram_gb_s * 1e9) / (1 / row.long[1] - 1 / row.short[1]))
    assert CHECKED.host_cache.least == math.floor(min(fractions) * 100) / 100


@pytest.mark.parametrize(
    ("number", "band"),
    [(number, band) for number, one in enumerate(CLASSES) for band in one.bands],
    ids=[f"{one.backend}-{one.memory[0]}-{'experts' if one.experts else 'dense'}-{band.up_to}" for one in CLASSES for band in one.bands],
)
def test_a_band_is_what_its_rows_reached_and_nothing_smoother(number: int, band: Band) -> None:
    fractions = [row.tokens_per_second / ceiling(row) for row in CLASSES[number].rows if band_of(number, row) == band]
    assert len(fractions) >= 2
    assert math.floor(min(fractions) * 100) / 100 == band.least
    assert math.ceil(max(fractions) * 100) / 100 == band.most
