"""Sizes and contexts as people type them, and back."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.core import units
from runlocal.core.units import GIB, KIB, MIB


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24", 24 << 30),
        ("24GB", 24 << 30),
        ("24GiB", 24 << 30),
        ("24 gb", 24 << 30),
        (" 24g ", 24 << 30),
        ("81559MiB", 81559 << 20),
        ("512m", 512 << 20),
        ("1.5T", 3 << 39),
        ("0.5", 1 << 29),
        ("640k", 640 << 10),
        ("4096B", 4096),
    ],
)
def test_sizes_people_type(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-24", "24 cards", "24.5.1", "1e3", "0", "0GB", "0.0000001B", "٣", "24GBB", "9" * 40, "999999999T", "inf", "nan"])
def test_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        units.parse_size(text)


@pytest.mark.parametrize(("text", "tokens"), [("8192", 8192), ("8k", 8192), ("128K", 131072), ("1m", 1 << 20), ("1.5k", 1536), ("0.5k", 512), (" 7 ", 7)])
def test_contexts_people_type(text: str, tokens: int) -> None:
    assert units.parse_context(text) == tokens


@pytest.mark.parametrize("text", ["", "max", "0", "0k", "-1", "8kb", "k", "1e3", "8,192", "9" * 30, "999999999m", "0.0001k"])
def test_no_context(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        units.parse_context(text)


@settings(deadline=None, max_examples=60)
@given(tokens=st.integers(1, 1 << 30))
def test_a_context_survives_its_own_text(tokens: int) -> None:
    assert units.parse_context(units.context_text(tokens)) == tokens


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 999_999), unit=st.sampled_from([("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("", GIB), ("GB", GIB)]))
def test_a_whole_size_survives_its_text(count: int, unit: tuple[str, int]) -> None:
    assert units.parse_size(f"{count}{unit[0]}") == count * unit[1]


@settings(deadline=None, max_examples=60)
@given(size=st.integers(GIB, 1 << 50))
def test_what_is_shown_is_within_half_a_tenth(size: int) -> None:
    assert abs(units.parse_size(units.gib(size)) - size) <= 0.0501 * GIB


@settings(deadline=None, max_examples=60)
@given(value=st.integers(0, 1 << 40), multiple=st.integers(1, 1 << 12))
def test_padding(value: int, multiple: int) -> None:
    padded = units.pad(value, multiple)
    assert padded % multiple == 0
    assert value <= padded < value + multiple


def test_a_download_is_in_powers_of_ten_and_memory_is_not() -> None:
    assert units.gb(52_700_000_000) == "52.7 GB"
    assert units.gib(52_700_000_000) == "49.1 GiB"
    assert units.size_text(64 * MIB) == "64.0 MiB"
    assert units.size_text(-8 * GIB) == "-8.0 GiB"
    assert units.context_text(61952) == "61952"


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2500", 2500),
        ("2,500", 2500),
        ("$2500", 2500),
        ("$ 2,500.50", 2500.5),
        ("2500usd", 2500),
        ("US$2500", 2500),
        ("2500 dollars", 2500),
        ("2.5k", 2500),
        ("1,234,567", 1234567),
        ("0", 0),
        ("99.9", 99.9),
    ],
)
def test_prices(text: str, amount: float) -> None:
    assert units.parse_dollars(text) == amount


@pytest.mark.parametrize("text", ["", "2,5", "2.500", "25,00", "2500 EUR", "€2500", "1e3", "nan", "inf", "-1", "2 500", "k", "1,2345", "9" * 40])
def test_no_prices(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        units.parse_dollars(text)


@pytest.mark.parametrize("parse", [units.parse_size, units.parse_context, units.parse_dollars])
def test_a_long_text_is_not_told_whole(parse: Callable[[str], float]) -> None:
    with pytest.raises(ValueError, match=r"x{40}'") as caught:
        parse("x" * 100_000)
    assert len(str(caught.value)) < 200
