"""Every format of every kind of answer, as a reader sees it.

`UPDATE_GOLDEN=1 pytest tests/render/test_golden.py` writes the files anew; read the difference.
"""

import os
from pathlib import Path

import pytest

from runlocal.core.listing import Listing, Page
from runlocal.core.report import Check
from runlocal.render.formats import Format, checks_as, listing_as, page_as
from runlocal.render.style import Style

GOLDEN = Path(__file__).parent / "golden"
ANSWERS = ["fits", "tight", "spills", "does_not_fit", "cannot_run", "no_gpu", "unlimited", "two_machines"]
MACHINE_FORMATS = [Format.JSON, Format.NDJSON, Format.CSV, Format.TSV, Format.MARKDOWN]


def holds(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text + "\n", encoding="utf-8", newline="\n")
    assert text + "\n" == file.read_bytes().decode("utf-8")


@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ANSWERS)
def test_table(name: str, width: int, unicode: bool, checks: dict[str, Check]) -> None:
    style = Style(width=width, unicode=unicode)
    holds(f"{name}.{width}.{'unicode' if unicode else 'ascii'}.txt", checks_as(Format.TABLE, [checks[name]], style))


@pytest.mark.parametrize("name", ["does_not_fit", "no_gpu", "two_machines"])
def test_explained(name: str, checks: dict[str, Check]) -> None:
    holds(f"{name}.explain.txt", checks_as(Format.TABLE, [checks[name]], Style(), explain=True))


@pytest.mark.parametrize("name", ["does_not_fit", "two_machines"])
def test_narrow(name: str, checks: dict[str, Check]) -> None:
    holds(f"{name}.40.txt", checks_as(Format.TABLE, [checks[name]], Style(width=40)))


def test_coloured(checks: dict[str, Check]) -> None:
    holds("does_not_fit.80.colour.txt", checks_as(Format.TABLE, [checks["does_not_fit"]], Style(colour=True)))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_several_models(width: int, checks: dict[str, Check]) -> None:
    holds(f"several.{width}.txt", checks_as(Format.TABLE, [checks["fits"], checks["does_not_fit"], checks["cannot_run"]], Style(width=width)))


@pytest.mark.parametrize("form", MACHINE_FORMATS)
def test_machine_formats(form: Format, checks: dict[str, Check]) -> None:
    check = checks["fits"]
    found = check.machines[0]
    few = check._replace(machines=(found._replace(cells=found.cells[:2]),), asked_contexts=check.asked_contexts[:2])
    holds(f"fits.{form}", checks_as(form, [few], Style()))


def test_picture(checks: dict[str, Check]) -> None:
    holds("fits.svg", checks_as(Format.SVG, [checks["fits"]], Style(), title="runlocal check llama-3.2-11b-vision"))


@pytest.mark.parametrize("form", [*MACHINE_FORMATS, Format.TABLE])
def test_listing(form: Format, listing: Listing) -> None:
    holds(f"listing.{form}", listing_as(form, listing, Style(width=120)))


@pytest.mark.parametrize("width", [40, 80])
def test_narrow_listing(width: int, listing: Listing) -> None:
    holds(f"listing.{width}.txt", listing_as(Format.TABLE, listing, Style(width=width, unicode=False)))


@pytest.mark.parametrize("form", [*MACHINE_FORMATS, Format.TABLE])
def test_page(form: Format, page: Page) -> None:
    holds(f"page.{form}", page_as(form, page, Style()))
