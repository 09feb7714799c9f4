"""CSV, TSV and Markdown as other programs read them."""

import csv
import io

import pytest

from runlocal.core.listing import Column, Listing, Page, Shown
from runlocal.core.report import Check
from runlocal.render.formats import Format, checks_as, listing_as, page_as
from runlocal.render.style import Style
from runlocal.render.tabular import CHECK_HEADER, escape, separated


def read(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


@pytest.mark.parametrize(("form", "delimiter"), [(Format.CSV, ","), (Format.TSV, "\t")])
def test_a_row_per_cell_in_raw_bytes(form: Format, delimiter: str, checks: dict[str, Check]) -> None:
    check = checks["does_not_fit"]
    rows = read(checks_as(form, [check], Style()), delimiter)
    assert len(rows) == 18
    assert tuple(rows[0]) == CHECK_HEADER
    for cell, row in zip(check.machines[0].cells, rows, strict=True):
        assert int(row["need_bytes"]) == cell.need_bytes
        assert int(row["headroom_min_bytes"]) == min(cell.headroom_bytes)
        kinds = ("weights", "cache", "state", "vision", "vision_buffer", "compute_buffer", "runtime")
        assert sum(int(row[f"{kind}_bytes"]) for kind in kinds) == cell.need_bytes


def test_the_kinds_of_a_machine_without_a_gpu_are_the_host_s(checks: dict[str, Check]) -> None:
    row = read(checks_as(Format.CSV, [checks["no_gpu"]], Style()))[0]
    assert int(row["weights_bytes"]) > 0
    assert row["gpu_layers"] == ""


def test_what_is_not_known_is_empty(checks: dict[str, Check]) -> None:
    row = read(checks_as(Format.CSV, [checks["cannot_run"]], Style()))[0]
    assert (row["need_bytes"], row["weights_bytes"], row["headroom_min_bytes"], row["command"]) == ("", "", "", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\r\n=1"])
def test_no_text_is_a_formula(text: str) -> None:
    cell = next(iter(csv.reader(io.StringIO(separated(("a",), [(text,)], ",")).readlines()[1:])))[0]
    assert cell.startswith("'")


def test_numbers_below_zero_stay_numbers() -> None:
    assert separated(("a", "b", "c", "d"), [(-5, -1.5, True, None)], ",") == "a,b,c,d\n-5,-1.5,true,"


def test_one_line_per_row(checks: dict[str, Check]) -> None:
    for form in (Format.CSV, Format.TSV):
        assert len(checks_as(form, [checks["hostile"]], Style()).splitlines()) == 2


def test_tsv_has_no_tab_inside_a_value() -> None:
    assert separated(("a", "b"), [("x\ty", ("p", "q"))], "\t") == "a\tb\nx y\tp; q"


def test_markdown_rows_have_the_head_s_columns(checks: dict[str, Check]) -> None:
    for name in ("fits", "two_machines", "cannot_run", "hostile"):
        blocks = [block.splitlines() for block in checks_as(Format.MARKDOWN, [checks[name]], Style()).split("\n\n") if block.startswith("|")]
        assert blocks
        for block in blocks:
            assert {line.replace("\\|", "").count("|") for line in block} == {block[0].count("|")}


def test_markdown_escapes() -> None:
    assert escape("a|b `c` <d> [e](f) *g* Q4_K_M\n") == "a\\|b \\`c\\` \\<d\\> \\[e\\](f) \\*g\\* Q4_K_M "


def test_an_absent_key_of_a_row_is_empty() -> None:
    listing = Listing(kind="models", title="", columns=(Column(key="id", label="id"), Column(key="x", label="x")), rows=({"id": "a"},))
    assert listing_as(Format.CSV, listing, Style()) == "id,x\na,"


def test_a_column_for_people_and_one_for_machines_stand_where_they_belong() -> None:
    columns = (Column("id", "id"), Column("price", "price", on=Shown.SCREEN), Column("price_usd", "amount", on=Shown.DATA))
    listing = Listing(kind="machines", title="Two", columns=columns, rows=({"id": "a", "price": "$5 used", "price_usd": 5},))
    assert listing_as(Format.CSV, listing, Style()) == "id,price_usd\na,5"
    assert listing_as(Format.NDJSON, listing, Style()) == '{"id":"a","price_usd":5}'
    assert listing_as(Format.MARKDOWN, listing, Style()).splitlines()[2:] == ["| id | price |", "|---|---|", "| a | $5 used |"]
    for width in (80, 8):
        text = listing_as(Format.TABLE, listing, Style(width=width))
        assert "price" in text and "amount" not in text
    page = Page("buy", "Page", (), (listing,))
    assert page_as(Format.CSV, page, Style()) == "section,key,value\nmachines,a/price_usd,5"
