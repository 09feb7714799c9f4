"""The page docs/accuracy.md: every measured figure of tests/measured beside ours, the worst first."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
WORST_SHOWN = 25
ABOUT = """# How far off

Every figure of [tests/measured](../tests/measured/README.md) beside what runlocal computes for the same question, written by `python docs/build.py`.
Ours is what llama.cpp's allocator would print; measured is what it printed. The tests assert all of it.

The terms and where each is from: [how-it-is-computed.md](how-it-is-computed.md). What the driver's context and the CUDA libraries take is not
among these figures: no measurement of it stands here, and runlocal calls it estimated.
"""


def page() -> str:
    """The page."""
    sys.path.insert(0, str(ROOT / "tests"))
    from measured.held import everything

    figures = everything()
    return "\n".join([ABOUT, *_worst(figures), *_by_quantity(figures), *_by_model(figures)]).rstrip("\n") + "\n"


def _table(head: str, rows: Iterable[Iterable[object]]) -> Iterator[str]:
    cells = [cell.strip() for cell in head.split("|")]
    yield f"| {' | '.join(cells)} |"
    yield f"|{'---|' * len(cells)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def _percent(share: float) -> str:
    return "0" if not share else f"{100 * share:+.2f} %"


def _worst(figures: list[Any]) -> Iterator[str]:
    off = sorted((figure for figure in figures if figure.deviation), key=lambda figure: -abs(figure.deviation))
    yield "## The worst first\n"
    yield f"{len(figures) - len(off):,} of {len(figures):,} figures are equal: to the byte, or in the digits that were printed. The furthest off:\n"
    yield from _table(
        "off | model | what | question | measured MiB | ours MiB | source",
        (
            (
                _percent(figure.deviation),
                figure.model,
                figure.quantity,
                figure.what,
                f"{figure.measured / MIB:,.2f}",
                f"{figure.ours / MIB:,.2f}",
                f"[log]({figure.source})" if figure.source else "llama.cpp's allocator",
            )
            for figure in off[:WORST_SHOWN]
        ),
    )
    explained = {figure.exception: figure for figure in off if figure.exception}
    if explained:
        yield "Why, where it is known:\n"
        yield from (f"- {figure.model}, {figure.what}: {why}" for why, figure in explained.items())
        yield ""


def _by_quantity(figures: list[Any]) -> Iterator[str]:
    yield "## By quantity\n"
    yield from _table("quantity | figures | equal | 95 of 100 within | worst", ((name, *_summary(group)) for name, group in _grouped(figures, "quantity")))


def _by_model(figures: list[Any]) -> Iterator[str]:
    yield "## By model\n"
    yield from _table("model | figures | equal | 95 of 100 within | worst", ((name, *_summary(group)) for name, group in _grouped(figures, "model")))


def _grouped(figures: list[Any], field: str) -> list[tuple[str, list[Any]]]:
    """By that field, the group with the worst figure first, then by name."""
    ordered = sorted(figures, key=lambda figure: getattr(figure, field))
    groups = [(name, list(group)) for name, group in groupby(ordered, key=lambda figure: getattr(figure, field))]
    return sorted(groups, key=lambda group: -max(abs(figure.deviation) for figure in group[1]))


def _summary(group: list[Any]) -> tuple[str, ...]:
    off = sorted(abs(figure.deviation) for figure in group)
    near = quantiles(off, n=20, method="inclusive")[-1] if len(off) > 1 else off[0]
    worst = max(group, key=lambda figure: abs(figure.deviation))
    return f"{len(group):,}", f"{sum(not figure.deviation for figure in group):,}", _percent(near).removeprefix("+"), _percent(worst.deviation)
