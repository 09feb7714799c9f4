"""One door: a report and a format in, text out."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from runlocal.core.report import Check
from runlocal.render.style import Style

if TYPE_CHECKING:
    from runlocal.core.listing import Listing, Page


class Format(StrEnum):
    """The values of `--format`."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    TSV = "tsv"
    MARKDOWN = "markdown"
    SVG = "svg"


FOR_PEOPLE = (Format.TABLE, Format.MARKDOWN, Format.SVG)
_DELIMITERS = {Format.CSV: ",", Format.TSV: "\t"}


def checks_as(form: Format, checks: Sequence[Check], style: Style, *, explain: bool = False, title: str = "runlocal check") -> str:
    """One or several checks (at least one). `title` is the command, for the picture's bar."""
    # Each arm imports its own renderer: a JSON answer pays for nothing else.
    match form:
        case Format.TABLE:
            from runlocal.render.table import checks_text

            return checks_text(checks, style, explain=explain)
        case Format.JSON:
            from runlocal.render.json import check_json, checks_json

            return check_json(checks[0]) if len(checks) == 1 else checks_json(checks)
        case Format.NDJSON:
            from runlocal.render.json import checks_ndjson

            return checks_ndjson(checks)
        case Format.CSV | Format.TSV:
            from runlocal.render.tabular import checks_separated

            return checks_separated(checks, _DELIMITERS[form])
        case Format.MARKDOWN:
            from runlocal.render.tabular import checks_markdown

            return checks_markdown(checks)
        case Format.SVG:
            from runlocal.render.svg import svg_text
            from runlocal.render.table import checks_lines

            return svg_text(checks_lines(checks, style._replace(unicode=True, colour=True), explain=explain), style, title)


def listing_as(form: Format, listing: "Listing", style: Style, *, title: str = "runlocal") -> str:
    """A listing. `title` is the command, for the picture's bar."""
    match form:
        case Format.TABLE:
            from runlocal.render.catalogue import listing_text

            return listing_text(listing, style)
        case Format.JSON:
            from runlocal.render.json import listing_json

            return listing_json(listing)
        case Format.NDJSON:
            from runlocal.render.json import listing_ndjson

            return listing_ndjson(listing)
        case Format.CSV | Format.TSV:
            from runlocal.render.tabular import listing_separated

            return listing_separated(listing, _DELIMITERS[form])
        case Format.MARKDOWN:
            from runlocal.render.tabular import listing_markdown

            return listing_markdown(listing)
        case Format.SVG:
            from runlocal.render.catalogue import listing_lines
            from runlocal.render.svg import svg_text

            return svg_text(listing_lines(listing, style._replace(unicode=True, colour=True)), style, title)


def page_as(form: Format, page: "Page", style: Style, *, title: str = "runlocal show") -> str:
    """A page. `title` is the command, for the picture's bar."""
    match form:
        case Format.TABLE:
            from runlocal.render.catalogue import page_text

            return page_text(page, style)
        case Format.JSON | Format.NDJSON:
            from runlocal.render.json import page_json

            return page_json(page)
        case Format.CSV | Format.TSV:
            from runlocal.render.tabular import page_separated

            return page_separated(page, _DELIMITERS[form])
        case Format.MARKDOWN:
            from runlocal.render.tabular import page_markdown

            return page_markdown(page)
        case Format.SVG:
            from runlocal.render.catalogue import page_lines
            from runlocal.render.svg import svg_text

            return svg_text(page_lines(page, style._replace(unicode=True, colour=True)), style, title)
