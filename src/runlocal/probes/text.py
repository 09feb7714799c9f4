"""Strangers' text: files of the kernel and strings of a driver, bounded and without control characters."""

from pathlib import Path

_LONGEST = 96


def clean(text: str, longest: int = _LONGEST) -> str:
    """`text` on one line, printable characters only, runs of white space as one space, at most `longest` characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:longest].strip()


def read_text(path: Path, limit: int = 1 << 20) -> str | None:
    """At most `limit` bytes of the file, None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def read_int(path: Path) -> int | None:
    """The number that is all the file holds, None where it holds something else."""
    text = (read_text(path, 64) or "").strip()
    return int(text) if text.isascii() and text.isdigit() else None
