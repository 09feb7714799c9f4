"""Text in columns: lines as spans of text and ink, measured, wrapped and painted."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from runlocal.core.noun import NamedTuple
from runlocal.render.style import PLAIN, Style, clean

if TYPE_CHECKING:
    from rich.text import Text

Span = tuple[str, str]
"""Text and its ink."""
Line = Sequence[Span]


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    ink: str = PLAIN
    right: bool = False


def width_of(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled up with blanks to `width` columns."""
    blanks = " " * (width - width_of(text))
    return blanks + text if right else text + blanks


def wrap(text: str, width: int, style: Style, first: str = "", rest: str = "") -> list[str]:
    """`text` in lines of at most `width` columns that begin with `first`, then `rest`. A word is never cut, so addresses stay whole."""
    lines, line, empty = [], first, True
    for word in clean(text, style).split():
        if not empty and width_of(line) + 1 + width_of(word) > width:
            lines.append(line)
            line, empty = rest, True
        line, empty = line + word if empty else f"{line} {word}", False
    return [*lines, line] if not empty else lines


def paragraph(text: str, style: Style, *, ink: str = PLAIN, indent: int = 0) -> list[Line]:
    """`text` wrapped, every line indented."""
    blanks = " " * indent
    return [((blanks, PLAIN), (line[indent:], ink)) for line in wrap(text, style.width, style, blanks, blanks)]


def command_lines(command: str, style: Style, *, indent: int = 2) -> list[Line]:
    """A command that can be pasted as it stands: broken before an option or behind `&`, never inside quotes, each broken line with a backslash at its end."""
    pieces: list[str] = []
    for word in clean(command, style).split(" "):
        quoted = bool(pieces) and pieces[-1].count("'") % 2 == 1
        if pieces and not quoted and (word.startswith("-") or pieces[-1].endswith("&")):
            pieces.append(word)
        elif pieces:
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    lines: list[str] = []
    room = style.width - indent - len(" \\")
    for piece in pieces:
        if lines and width_of(lines[-1]) + 1 + width_of(piece) <= room:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return [((" " * indent, PLAIN), (line if number == len(lines) - 1 else f"{line} \\", PLAIN)) for number, line in enumerate(lines)]


def marked(mark: Span, text: str, style: Style, *, ink: str = PLAIN) -> list[Line]:
    """`text` behind a mark, wrapped with its lines below one another."""
    indent = width_of(mark[0]) + 1
    body = paragraph(text, style._replace(width=style.width - indent), ink=ink)
    return [(mark, (" ", PLAIN), *line) if number == 0 else ((" " * indent, PLAIN), *line) for number, line in enumerate(body)]


def widths(rows: Iterable[Sequence[Cell]]) -> list[int]:
    """The widest cell of each column; the cells are clean."""
    return [max(width_of(cell.text) for cell in column) for column in zip(*rows, strict=True)]


def row_line(row: Sequence[Cell], columns: Sequence[int], gap: int = 2, indent: int = 0) -> Line:
    """One line of a table whose columns are that wide."""
    spans: list[Span] = [(" " * indent, PLAIN)] if indent else []
    for number, (cell, width) in enumerate(zip(row, columns, strict=True)):
        if number:
            spans.append((" " * gap, PLAIN))
        spans.append((pad(cell.text, width, right=cell.right), cell.ink))
    return spans


def paint(lines: Iterable[Line], style: Style) -> str:
    """The lines as text, coloured if the style says so."""
    if style.colour:
        return _coloured(lines, style)
    return "\n".join("".join(clean(text, style) for text, _ in line).rstrip() for line in lines)


def _coloured(lines: Iterable[Line], style: Style) -> str:
    from io import StringIO

    from rich.console import Console

    # Everything that rich would look up in the environment is said here: the caller has decided already.
    out = StringIO()
    console = Console(
        file=out, width=style.width, force_terminal=True, color_system="256", no_color=False, legacy_windows=False, markup=False, highlight=False, emoji=False
    )
    console.print(rich_text(lines, style), soft_wrap=True, end="")
    return out.getvalue()


def rich_text(lines: Iterable[Line], style: Style) -> "Text":
    """The lines as one text of rich: never markup, so brackets in a name stay brackets."""
    from rich.text import Text

    text = Text()
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for part, ink in line:
            text.append(clean(part, style), ink or None)
    return text
