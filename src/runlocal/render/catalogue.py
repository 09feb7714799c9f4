"""Listings and pages for people: what `models`, `show`, `gpus`, `fit` and `buy` print."""

from collections.abc import Mapping, Sequence

from runlocal.core.listing import Column, Form, Listing, Page, Value
from runlocal.core.verdict import Answer
from runlocal.render import layout
from runlocal.render.layout import Line, paint, paragraph, row_line, wrap
from runlocal.render.style import BOLD, DIM, HEAD, PLAIN, Style, answer_ink, clean, glyphs
from runlocal.render.values import screen_text, stands_right


def listing_text(listing: Listing, style: Style) -> str:
    """A listing as a table."""
    return paint(listing_lines(listing, style), style)


def page_text(page: Page, style: Style) -> str:
    """A page: sections of facts, then tables."""
    return paint(page_lines(page, style), style)


def listing_lines(listing: Listing, style: Style) -> list[Line]:
    """The lines of `listing_text`: columns side by side, text wrapped where the width is short; then extra columns left out;
    a record per row where that is not enough."""
    columns = list(listing.screen)
    left_out: list[str] = []
    while True:
        table = _table(columns, listing.rows, style)
        widths = _fitted(table, [column.form is Form.TEXT for column in columns], style)
        extra = next((column for column in reversed(columns) if column.extra), None)
        if widths is not None or extra is None:
            break
        left_out.insert(0, extra.label)
        columns.remove(extra)
    lines = paragraph(listing.title, style, ink=BOLD)
    notes = list(listing.notes)
    if listing.rows and widths is None:
        lines += [(), *_records(_table(listing.screen, listing.rows, style), style)]
    elif listing.rows and widths is not None:
        lines += [(), *(line for row in table for line in _wrapped(row, widths, style))]
        notes += [f"Left out for want of width: {', '.join(left_out)}."] if left_out else []
    return lines + ([()] if notes else []) + [line for note in notes for line in paragraph(note, style, ink=DIM)]


def page_lines(page: Page, style: Style) -> list[Line]:
    """The lines of `page_text`."""
    lines = paragraph(page.title, style, ink=BOLD)
    for section in page.sections:
        lines += [(), *paragraph(section.heading, style, ink=HEAD)]
        labels = [clean(fact.label, style) for fact in section.facts]
        width = max(map(layout.width_of, labels), default=0)
        for label, fact in zip(labels, section.facts, strict=True):
            values = fact.value if isinstance(fact.value, tuple) else (screen_text(fact.value, fact.form),)
            lines += _labelled(label, width, values, style)
    for listing in page.listings:
        # A heading over nothing says nothing.
        if listing.rows or listing.notes:
            lines += [(), *listing_lines(listing, style)]
    return lines + ([()] if page.notes else []) + [line for note in page.notes for line in paragraph(note, style, ink=DIM)]


def _labelled(label: str, width: int, values: Sequence[str], style: Style) -> list[Line]:
    """A label and its values, one below the other."""
    indent = width + 4
    texts = [text for value in values for text in wrap(value, style.width - indent, style)] or ["none"]
    first = [("  " + layout.pad(label, width) + "  ", DIM), (texts[0], PLAIN)]
    return [first, *([(" " * indent, PLAIN), (text, PLAIN)] for text in texts[1:])]


def _cell(value: Value, form: Form, style: Style) -> layout.Cell:
    if form is Form.ANSWER and isinstance(value, str):
        answer = Answer(value)
        return layout.Cell(f" {glyphs(style).of(answer)} {screen_text(value, form)} ", answer_ink(answer))
    return layout.Cell(clean(screen_text(value, form), style), DIM if value is None else PLAIN, stands_right(form))


def _table(columns: Sequence[Column], rows: Sequence[Mapping[str, Value]], style: Style) -> list[list[layout.Cell]]:
    """Headings, then the rows."""
    head = [layout.Cell(clean(column.label, style), HEAD, stands_right(column.form)) for column in columns]
    return [head, *([_cell(row.get(column.key), column.form, style) for column in columns] for row in rows)]


def _fitted(table: Sequence[Sequence[layout.Cell]], words: Sequence[bool], style: Style) -> list[int] | None:
    """Widths that fit the terminal: the widest columns of words give way first, down to their longest word. None where that is not enough."""
    widths = layout.widths(table)
    longest_words = [max(layout.width_of(word) for cell in column for word in cell.text.split() or [""]) for column in zip(*table, strict=True)]
    least = [limit if wraps else width for limit, wraps, width in zip(longest_words, words, widths, strict=True)]
    over = sum(widths) + 2 * (len(widths) - 1) - style.width
    while over > 0:
        slack, widest = max((width - limit, number) for number, (width, limit) in enumerate(zip(widths, least, strict=True)))
        if slack <= 0:
            return None
        widths[widest] -= 1
        over -= 1
    return widths


def _wrapped(row: Sequence[layout.Cell], widths: Sequence[int], style: Style) -> list[Line]:
    """One row, its long texts going on in further lines."""
    texts = [wrap(cell.text, width, style) if layout.width_of(cell.text) > width else [cell.text] for cell, width in zip(row, widths, strict=True)]
    lines = max(map(len, texts))
    return [
        row_line([cell._replace(text=text[number] if number < len(text) else "") for cell, text in zip(row, texts, strict=True)], widths)
        for number in range(lines)
    ]


def _records(table: Sequence[Sequence[layout.Cell]], style: Style) -> list[Line]:
    """A block of labelled values per row."""
    head, *body = table
    width = max(layout.width_of(cell.text) for cell in head)
    lines: list[Line] = []
    for row in body:
        lines += [()] if lines else []
        for label, cell in zip(head, row, strict=True):
            lines += _labelled(label.text, width, (cell.text.strip(),), style)
    return lines
