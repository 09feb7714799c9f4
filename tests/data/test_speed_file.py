"""Every row of `data/speed.toml` through a strict door, and every fraction worked out again from our own bytes."""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from runlocal.catalog.gpus import entry
from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime
from runlocal.solve.check import open_for
from runlocal.solve.speed import speed

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
    gpus: StrictStr
    model: StrictStr
    quant: StrictStr
    context_tokens: Annotated[int, Field(ge=256)]
    tokens_per_second: Number
    source: StrictStr


class Class(Strict):
    backend: Literal["cuda", "rocm", "metal", "sycl"]
    memory: list[Literal["GDDR", "LPDDR", "HBM"]]
    experts: StrictBool
    bands: Annotated[list[Band], Field(min_length=1)]
    rows: Annotated[list[Row], Field(min_length=2)]


class File(Strict):
    sources: dict[str, Source]
    class_: Annotated[list[Class], Field(alias="class")]


CHECKED = File.model_validate(FILE)
CLASSES = CHECKED.class_
ROWS = [(number, row) for number, one in enumerate(CLASSES) for row in one.rows]
_opened: dict[str, Runtime] = {}


def runtime(model: str) -> Runtime:
    if model not in _opened:
        _opened[model] = open_for(bundled(model), "llama.cpp", None)
    return _opened[model]


def ceiling(row: Row) -> float:
    """The rate that reading alone would allow: one card after another."""
    opened, machine = runtime(row.model), parse_machine(row.gpus)
    workload = Workload(context_tokens=row.context_tokens)
    read = opened.reads(opened.recipe(row.quant, None), workload, opened.placement(workload, machine))
    assert read is not None
    return 1 / sum(read[f"gpu{index}"] / (card.bandwidth_bytes or 0) for index, card in enumerate(machine.gpus))


def band_of(number: int, row: Row) -> Band:
    return next(band for band in CLASSES[number].bands if ceiling(row) <= band.up_to)


def test_every_source_is_cited_and_every_citation_has_one() -> None:
    assert {row.source for _, row in ROWS} == set(CHECKED.sources)


def test_a_class_stands_once_and_its_bands_rise() -> None:
    keys = [(one.backend, kind, one.experts) for one in CLASSES for kind in one.memory]
    assert len(keys) == len(set(keys))
    for one in CLASSES:
        assert [band.up_to for band in one.bands] == sorted({band.up_to for band in one.bands})


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[f"{row.gpus}-{row.model}-{row.quant}-{row.context_tokens}" for _, row in ROWS])
def test_a_row_belongs_to_its_class_and_lies_in_the_range_we_give(number: int, row: Row) -> None:
    opened, machine = runtime(row.model), parse_machine(row.gpus)
    memory = {(card.backend, entry(card.id or "").memory_type) for card in machine.gpus}
    ((backend, kind),) = memory
    assert backend == CLASSES[number].backend
    assert kind is not None and kind.startswith(tuple(CLASSES[number].memory))
    assert (opened.model.text.experts is not None) is CLASSES[number].experts
    workload = Workload(context_tokens=row.context_tokens)
    found = speed(opened, opened.recipe(row.quant, None), workload, opened.placement(workload, machine), machine)
    assert found is not None
    assert found.least <= row.tokens_per_second <= found.most


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
