"""Tables for other programs: CSV, TSV and Markdown. Sizes are bytes in CSV and TSV."""

from collections.abc import Iterable, Sequence
from csv import QUOTE_MINIMAL, writer
from io import StringIO

from runlocal.core.listing import Column, Listing, Page, Value
from runlocal.core.part import HOST, Kind
from runlocal.core.report import Cell, Check, MachineCheck
from runlocal.render.values import screen_text, stands_right

Row = Sequence[Value]

_SCALARS = (
    "quant",
    "runtime",
    "runtime_version",
    "context_tokens",
    "sequences",
    "images",
    "cache_type_k",
    "cache_type_v",
    "batch_tokens",
    "flash_attention",
    "answer",
    "reason",
    "bits_per_weight",
    "tensor_bytes",
    "need_bytes",
    "host_need_bytes",
    "usable_bytes",
    "reserve_bytes",
    "fits_context_tokens",
    "gpu_layers",
    "layers",
)
CHECK_HEADER = (
    "model",
    "machine",
    *_SCALARS,
    "headroom_min_bytes",
    *(f"{kind}_bytes" for kind in Kind),
    "tokens_per_second_least",
    "tokens_per_second_most",
    "warnings",
    "command",
)


def check_rows(checks: Iterable[Check]) -> list[Row]:
    """A row per cell under `CHECK_HEADER`. The kinds' columns sum to `need_bytes`."""
    return [(check.model.id, found.machine.label, *_cell_row(cell)) for check in checks for found in check.machines for cell in found.cells]


def _cell_row(cell: Cell) -> Row:
    on_gpu = any(part.device != HOST for part in cell.parts)
    kinds = dict.fromkeys(Kind, 0)
    for part in cell.parts:
        if (part.device != HOST) is on_gpu:
            kinds[part.kind] += part.bytes
    sizes = kinds.values() if cell.parts else [None] * len(kinds)
    values: list[Value] = [getattr(cell, field) for field in _SCALARS]
    rates = cell.speed.rounded if cell.speed else (None, None)
    return (*values, min(cell.headroom_bytes, default=None), *sizes, *rates, cell.warnings, cell.command)


def checks_separated(checks: Iterable[Check], delimiter: str) -> str:
    """Checks as CSV (`,`) or TSV (tab)."""
    return separated(CHECK_HEADER, check_rows(checks), delimiter)


def listing_separated(listing: Listing, delimiter: str) -> str:
    """A listing as CSV or TSV."""
    keys = listing.keys
    return separated(keys, [[row.get(key) for key in keys] for row in listing.rows], delimiter)


def page_separated(page: Page, delimiter: str) -> str:
    """A page as CSV or TSV in the long form, so that facts and tables go into one file: section, key, value."""
    rows: list[Row] = [(section.heading, fact.key, fact.value) for section in page.sections for fact in section.facts]
    for listing in page.listings:
        first, *others = listing.keys
        rows += [(listing.kind, f"{row.get(first)}/{key}", row.get(key)) for row in listing.rows for key in others]
    return separated(("section", "key", "value"), rows, delimiter)


def separated(header: Sequence[str], rows: Iterable[Row], delimiter: str) -> str:
    """Rows with a header. Unknown is empty; a text that a spreadsheet would run as a formula begins with an apostrophe."""
    out = StringIO()
    lines = writer(out, delimiter=delimiter, lineterminator="\n", quoting=QUOTE_MINIMAL)
    lines.writerow(header)
    lines.writerows([_raw(value) for value in row] for row in rows)
    return out.getvalue().removesuffix("\n")


def _raw(value: Value) -> str | int | float:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return value
        case str():
            text = value
        case tuple():
            text = "; ".join(value)
    line = "".join(one if one.isprintable() else " " for one in text)
    return f"'{line}" if line.lstrip().startswith(("=", "+", "-", "@")) else line


def checks_markdown(checks: Sequence[Check]) -> str:
    """A grid and the headline's parts for each machine."""
    return "\n\n".join(_machine_markdown(check, found) for check in checks for found in check.machines)


def _machine_markdown(check: Check, found: MachineCheck) -> str:
    from runlocal.render.breakdown import part_rows
    from runlocal.render.grid import grid_rows
    from runlocal.render.phrases import answer_sentence, asked_text, speed_text

    grid, parts = grid_rows(check, found), part_rows(found)
    blocks = [f"**{escape(answer_sentence(check.model, found))}**", _markdown_table(*grid)]
    if parts[1]:
        blocks += [f"What {escape(asked_text(found.headline))} needs:", _markdown_table(*parts)]
    if speed := speed_text(found.headline):
        blocks.append(f"{escape(speed)}.")
    return "\n\n".join(blocks)


def listing_markdown(listing: Listing) -> str:
    """A listing under its title, values as people read them."""
    table = _markdown_table(
        [_head(column) for column in listing.screen], [[screen_text(row.get(column.key), column.form) for column in listing.screen] for row in listing.rows]
    )
    return "\n\n".join([f"**{escape(listing.title)}**", table, *(escape(note) for note in listing.notes)])


def page_markdown(page: Page) -> str:
    """A page: a table of facts per section, then its listings."""
    blocks = [f"# {escape(page.title)}"]
    for section in page.sections:
        rows = [[fact.label, screen_text(fact.value, fact.form)] for fact in section.facts]
        blocks += [f"## {escape(section.heading)}", _markdown_table([("", False), ("", False)], rows)]
    return "\n\n".join([*blocks, *(listing_markdown(listing) for listing in page.listings), *(escape(note) for note in page.notes)])


def _head(column: Column) -> tuple[str, bool]:
    return column.label, stands_right(column.form)


def _markdown_table(head: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> str:
    """head: label and whether the column stands right."""
    rule = "|".join("---:" if right else "---" for _, right in head)
    lines = [" | ".join(escape(label) for label, _ in head), *(" | ".join(escape(cell) for cell in row) for row in rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


_MARKS = str.maketrans({one: f"\\{one}" for one in "\\|`*[]<>#~"})


def escape(text: str) -> str:
    """`text` on one line, with nothing that Markdown or HTML would act on."""
    return "".join(one if one.isprintable() else " " for one in text).translate(_MARKS)
