"""The terminal that is printed to."""

import os
import sys

from runlocal.render.style import Style

_UNICODE_PROBE = "✓░█└→×"
_PIPED_WIDTH = 80
STDOUT = 1  # its file descriptor


def style() -> Style:
    """How what is printed looks there."""
    return Style(width=_width(), unicode=_can_encode(), colour=_wants_colour())


def _is_terminal() -> bool:
    return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    if not _is_terminal():
        return _PIPED_WIDTH
    try:
        return os.get_terminal_size(STDOUT).columns or _PIPED_WIDTH
    except OSError:
        return _PIPED_WIDTH


def _can_encode() -> bool:
    try:
        _UNICODE_PROBE.encode((sys.__stdout__ and sys.__stdout__.encoding) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _wants_colour() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return _is_terminal() and os.environ.get("TERM") != "dumb"


def title() -> str:
    """The command line as a picture's title: what was asked, not how it was to be printed."""
    words, left_out = ["runlocal"], False
    for word in sys.argv[1:]:
        if left_out or word in ("-f", "--format"):
            left_out = not left_out
        elif not word.startswith(("--format=", "--json")):
            words.append(f'"{word}"' if " " in word else word)
    return " ".join(words)


def tell(text: str) -> None:
    """Says it beside the answer."""
    if sys.stderr is not None:
        print(text, file=sys.stderr)
