"""What runs on real cards printed in public logs."""

from typing import Any

import pytest

from .rows import GIB, MIB, Row, ask, read, request

ROWS = read("logs.ndjson")


def of(figure: str) -> list[Any]:
    rows = [row for row in ROWS if figure in row]
    return [pytest.param(row, id=f"{row['model']}-{row.get('quant', 'any')}-c{row.get('pool_tokens')}-{index}") for index, row in enumerate(rows)]


def answer(row: Row) -> Row:
    several = row.get("sequences", 1) > 1
    defaults = {"pool_tokens": 4096, "quant": "Q4_K_M"}
    # Every log here is of a build that reserved a whole ubatch of logits, and whose sequences shared the cells.
    rows_of_logits = row.get("batch_tokens", 512)
    asked = request(row) | {"runtime": "llama.cpp", "vision": False, "output_tokens": rows_of_logits, "unified_kv": several}
    return ask(defaults | asked)


def total(got: Row, kinds: set[str]) -> int:
    return sum(part["bytes"] for part in got["parts"] if part["kind"] in kinds and part["device"] != "host")


@pytest.mark.parametrize("row", of("cache_mib"))
def test_cache_as_printed(row: Row) -> None:
    """Two decimals of MiB are printed."""
    kinds = {"cache", "state"} if row.get("with_state") else {"cache"}
    assert total(answer(row), kinds) == pytest.approx(row["cache_mib"] * MIB, rel=0.005, abs=MIB)


@pytest.mark.parametrize("row", of("file_gib"))
def test_file_as_printed(row: Row) -> None:
    """The log counts tensors alone, as we do, and prints two decimals of GiB."""
    assert answer(row)["tensor_bytes"] == pytest.approx(row["file_gib"] * GIB, rel=0.005)


@pytest.mark.parametrize("row", of("compute_mib"))
def test_compute_buffer_as_printed(row: Row) -> None:
    """Builds of 2024 and 2025 laid graphs out a little otherwise: a tenth."""
    assert total(answer(row), {"compute_buffer"}) == pytest.approx(row["compute_mib"] * MIB, rel=0.10)


def test_every_row_says_where_it_was_read() -> None:
    assert len(ROWS) >= 20
    for row in ROWS:
        assert row["source_url"].startswith("https://"), row
        assert " " not in row["source_url"], row
