"""The tables behind `fit`: every bundled model's row, made once for this data and this code."""

from collections.abc import Iterator
from typing import Any

from runlocal.catalog import bundle, kept
from runlocal.catalog.models import bundled, index
from runlocal.core.errors import Problem
from runlocal.core.machine import Machine
from runlocal.runtimes import Runtime
from runlocal.solve.opening import open_for
from runlocal.solve.remembered import Row, remember

Rows = dict[str, Row | None]
"""Rows by model; None where part of what it takes is not computed in this version."""

# By name: GPUs, and whether images are processed. The last two hold the models with a tower alone.
_TABLES = {"gpu": (1, True), "host": (0, True), "gpu-text": (1, False), "host-text": (0, False)}

# What rows follow from beside the data.
_CODE = (
    *("core", "quants", "architectures", "engines", "runtimes"),
    *("catalog/facts.py", "catalog/models.py", "catalog/runtimes.py", "solve/asked.py", "solve/opening.py", "solve/tables.py", "solve/remembered.py"),
)


def rows(machine: Machine, tell: kept.Tell, *, vision: bool) -> Rows:
    """Every model's row for that kind of machine. Several GPUs: as if they were one.

    tell: is told where the tables have to be made first
    """
    names = ["gpu" if machine.gpus else "host"]
    names += [] if vision else [f"{names[0]}-text"]
    found: Rows = {}
    for name in names:
        found |= kept.packaged(name) or kept.cached(name) or _made(tell)[name]
    return found


def tables() -> dict[str, Rows]:
    """Every table, made now."""
    made: dict[str, Rows] = {name: {} for name in _TABLES}
    for model_id in index():
        for name, row in _rows_of(model_id).items():
            made[name][model_id] = row
    return made


def _made(tell: kept.Tell) -> dict[str, Any]:
    return kept.make(tuple(_TABLES), _rows_of, {model_id: bundle.read(f"models/{model_id}") for model_id in index()}, _CODE, tell)


def _rows_of(model_id: str) -> Rows:
    try:
        runtime = open_for(bundled(model_id), None, None)
    except Problem:
        return {name: None for name in ("gpu", "host")}
    return dict(_each(runtime))


def _each(runtime: Runtime) -> Iterator[tuple[str, Row | None]]:
    for name, (gpus, vision) in _TABLES.items():
        if vision or runtime.model.vision is not None:
            try:
                yield name, remember(runtime, bundle.read("engines")["ggml"], gpus=gpus, vision=vision)
            except Problem:
                yield name, None
