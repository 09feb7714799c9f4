"""The bar's arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.core.part import Kind
from runlocal.core.units import GIB
from runlocal.render.bar import Load, bar_lines, cells
from runlocal.render.layout import Line
from runlocal.render.style import Style


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


@pytest.mark.parametrize(
    ("sizes", "width", "expected"),
    [
        ((50, 30, 20), 10, [5, 3, 2]),
        # edges 1/3, 2/3 and 1 of 10 columns: 3.33, 6.67, 10, rounded to 3, 7, 10
        ((1, 1, 1), 10, [3, 4, 3]),
        # the small one would round to nothing, and takes its column from its neighbour
        ((999, 1), 10, [9, 1]),
        ((1, 999), 10, [1, 9]),
        ((1, 998, 1), 3, [1, 1, 1]),
        # nothing takes nothing
        ((5, 0, 5, 0), 4, [2, 0, 2, 0]),
        ((0, 7), 5, [0, 5]),
    ],
)
def test_columns_by_hand(sizes: tuple[int, ...], width: int, expected: list[int]) -> None:
    assert cells(sizes, width) == expected


@given(st.lists(st.integers(0, 1 << 42), min_size=1, max_size=8).filter(any), st.integers(0, 200))
def test_columns_sum_to_the_width(sizes: list[int], more: int) -> None:
    nonzero = sum(map(bool, sizes))
    columns = cells(sizes, nonzero + more)
    assert sum(columns) == nonzero + more
    assert all(bool(size) == bool(column) for size, column in zip(sizes, columns, strict=True))


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 1 << 40)), min_size=1, max_size=7, unique_by=lambda item: item[0]),
    st.one_of(st.none(), st.integers(0, 1 << 42)),
    st.integers(0, 1 << 42),
    st.integers(40, 200),
    st.booleans(),
)
def test_bar_and_ruler_end_together_and_stay_in_the_width(kinds: list[tuple[Kind, int]], usable: int | None, more: int, width: int, colour: bool) -> None:
    load = Load(kinds=tuple(kinds), usable_bytes=usable)
    bar, ruler, *below = bar_lines(load, load.scale_bytes + more, width, Style(width=width, colour=colour))
    assert len(text(bar)) <= width
    brackets = text(ruler).rstrip()
    assert brackets[: len(text(bar))].endswith("┘")
    assert "┘" not in brackets[len(text(bar)) :]
    assert len(below) <= 1


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 40))
def test_a_device_on_its_own_scale_fills_the_width(need: int, usable: int) -> None:
    load = Load(kinds=((Kind.WEIGHTS, need),), usable_bytes=usable)
    assert len(text(bar_lines(load, load.scale_bytes, 80, Style())[0])) == 80


def test_half_full() -> None:
    # 12 + 4 of 32 GiB on 64 columns: 24 for the weights, 8 for the cache, 32 free
    load = Load(kinds=((Kind.WEIGHTS, 12 * GIB), (Kind.CACHE, 4 * GIB)), usable_bytes=32 * GIB)
    assert [text(line) for line in bar_lines(load, 32 * GIB, 64, Style(unicode=False))] == [
        "WWW weights 12.0 GiB WWW" + "KKKKKKKK" + "........ 16.0 GiB free .........",
        "|---------------------- 32.0 GiB usable -----------------------|",
    ]


def test_twice_too_much() -> None:
    # 48 of 24 GiB on 60 columns: the ruler's halves are 30 columns each
    load = Load(kinds=((Kind.WEIGHTS, 48 * GIB),), usable_bytes=24 * GIB)
    ruler = text(bar_lines(load, 48 * GIB, 60, Style())[1])
    assert ruler == "└───── 24.0 GiB usable ──────┘" + "└───── 24.0 GiB missing ─────┘"


def test_labels_without_room_stand_behind_or_below() -> None:
    load = Load(kinds=((Kind.WEIGHTS, 25 * GIB),), usable_bytes=24 * GIB)
    # On a scale of 50 GiB the bar has 40 of 80 columns, 2 of them (1.6) for what is missing.
    _, behind = bar_lines(load, 50 * GIB, 80, Style())
    assert text(behind) == "└───────── 24.0 GiB usable ──────────┘└┘ 1.0 GiB missing"
    _, ruler, below = bar_lines(load, 25 * GIB, 40, Style())
    assert text(ruler) == "└───────── 24.0 GiB usable ──────────┘└┘"
    assert text(below) == "1.0 GiB missing"


def test_colour_needs_no_filling_letters() -> None:
    load = Load(kinds=((Kind.WEIGHTS, 30 * GIB), (Kind.CACHE, 2 * GIB)), usable_bytes=None)
    (weights, ink), (cache, other) = bar_lines(load, 32 * GIB, 32, Style(colour=True))[0]
    assert weights.strip() == "weights 30.0 GiB"
    assert cache == "K "
    assert ink != other
