"""Opening what a stranger hands us: bounded reads, every failure a sentence, no text that could steer a terminal."""

import os
import re
import stat
from typing import BinaryIO

from runlocal.core.errors import Code, Problem

READ = "give a .gguf file, a config.json or a model folder"
"""What a model is read from, to who named something else."""

_SHOWN = 120
_ID = 80


def clean(text: str, limit: int = _SHOWN) -> str:
    """`text` on one line without control, formatting and other unprintable characters, at most `limit` of them."""
    return "".join(character for character in text[: 4 * limit] if character.isprintable())[:limit].strip()


def label(path: str) -> str:
    """How a file or folder is called in messages: its last name, cleaned."""
    return clean(os.path.basename(path.rstrip("/" + os.sep))) or clean(path) or "the file"


def identifier(name: str) -> str:
    """An id made of a file's or folder's name: letters, digits, `.`, `_` and `-` alone."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name)[:_ID].strip("-.") or "model"


def source_url(path: str) -> str:
    """What stands for an address where the source is a file here; the folder it lies in is nobody's business."""
    return f"file:{label(path)}"


def bad_file(path: str, what: str, hint: str = "") -> Problem:
    """The problem that the file called `path` is not what it should be."""
    return Problem(Code.BAD_FILE, f"{label(path)}: {what}", hint=hint)


def open_regular(path: str) -> BinaryIO:
    """The file, open for reading.

    Raises Problem (bad_file) where it is missing, may not be read, is empty, or is no regular file: a pipe or a device could block for ever.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise bad_file(path, "is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise bad_file(path, "is no regular file", hint=READ)
        if not status.st_size:
            raise bad_file(path, "the file is empty", hint="download it again")
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def read_all(path: str, limit: int) -> bytes:
    """The whole file, if it has at most `limit` bytes. Raises Problem (bad_file)."""
    with open_regular(path) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise unreadable(path, error) from error
    if len(content) > limit:
        raise bad_file(path, f"is larger than the {limit >> 20} MiB that such a file may have")
    return content


def unreadable(path: str, error: Exception) -> Problem:
    """The problem that the system reports for `path`."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return Problem(Code.BAD_FILE, f"there is no file {clean(path)}", hint="check the path; `runlocal models` lists the models known by name")
        case PermissionError():
            return bad_file(path, "may not be read by this user", hint="change its permissions")
        case OSError():
            return bad_file(path, f"cannot be read: {clean(error.strerror or str(error))}")
        case _:
            return Problem(Code.BAD_FILE, f"{clean(path)!r} is no path")
