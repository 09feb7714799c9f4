"""What runs on real cards printed in public logs."""

from typing import Any

import pytest

from .held import log_question, logged_cache, on_gpus
from .rows import GIB, MIB, Row, ask, read

ROWS = read("logs.ndjson")


def of(figure: str) -> list[Any]:
    rows = [row for row in ROWS if figure in row]
    return [pytest.param(row, id=f"{row['model']}-{row.get('quant', 'any')}-c{row.get('pool_tokens')}-{index}") for index, row in enumerate(rows)]


def answer(row: Row) -> Row:
    return ask(log_question(row))


@pytest.mark.parametrize("row", of("cache_mib"))
def test_cache_as_printed(row: Row) -> None:
    """Two decimals of MiB are printed."""
    assert logged_cache(row, answer(row)) == pytest.approx(row["cache_mib"] * MIB, rel=0.005, abs=MIB)


@pytest.mark.parametrize("row", of("file_gib"))
def test_file_as_printed(row: Row) -> None:
    """The log counts tensors alone, as we do, and prints two decimals of GiB."""
    near = pytest.approx(row["file_gib"] * GIB, rel=0.005)
    if "exception" in row:
        assert answer(row)["tensor_bytes"] != near, "the exception is none any more"
    else:
        assert answer(row)["tensor_bytes"] == near


@pytest.mark.parametrize("row", of("compute_mib"))
def test_compute_buffer_as_printed(row: Row) -> None:
    """Builds of 2024 and 2025 laid graphs out a little otherwise: a tenth."""
    assert on_gpus(answer(row), {"compute_buffer"}) == pytest.approx(row["compute_mib"] * MIB, rel=0.10)


def test_every_row_says_where_it_was_read() -> None:
    assert len(ROWS) >= 20
    for row in ROWS:
        assert row["source_url"].startswith("https://"), row
        assert " " not in row["source_url"], row
