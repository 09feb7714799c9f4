"""Reads the bundle: from the wheel, or in a checkout from a cache that is made again whenever a data file has changed."""

import functools
import json
import os
from typing import Any

from runlocal.core.errors import Code, Problem

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGED = os.path.join(_HERE, "bundle")
_CHECKOUT = os.path.join(os.path.dirname(os.path.dirname(_HERE)), "data")
_PREFIX = "bundle-"
_KEPT = 8  # folders in the cache: a checkout beside another, and some states of each
_folder: str | None = None


@functools.cache
def read(name: str) -> Any:
    """The object called `name`, which nobody may change. Raises Problem (bad_file) where the data cannot be read."""
    global _folder
    if _folder is None:
        _folder = _PACKAGED if os.path.isdir(_PACKAGED) else _fresh()
    try:
        return _load(_folder, name)
    except (OSError, ValueError):
        if _folder == _PACKAGED:
            raise _broken(_folder) from None
    # Somebody has been in the cache: this run reads a bundle of its own.
    _folder = _compiled()
    try:
        return _load(_folder, name)
    except (OSError, ValueError):
        raise _broken(_folder) from None


def use(folder: str) -> None:
    """Reads the bundle from that folder: while a wheel is built there is none yet."""
    global _folder
    _folder = folder
    read.cache_clear()


def package() -> str:
    """The folder of the program's own files."""
    return _HERE


def checkout() -> str:
    """The folder of the data files that people edit; there is none beside an installed program."""
    return _CHECKOUT


def _broken(folder: str) -> Problem:
    return Problem(Code.BAD_FILE, f"the bundled data in {folder} cannot be read", hint="install runlocal again")


def _load(folder: str, name: str) -> Any:
    with open(os.path.join(folder, f"{name}.json"), "rb") as file:
        return json.loads(file.read())


def data_date() -> str:
    """The day the bundled data was last checked, YYYY-MM-DD."""
    return str(read("about")["checked"])


def _fresh() -> str:
    """The checkout's bundle, made where these files have none yet. Raises Problem (bad_file) where a file is no TOML."""
    if not os.path.isdir(_CHECKOUT):
        raise Problem(Code.BAD_FILE, "this installation carries no data", hint="install runlocal again")
    # The name follows from every data file and from the code that reads them: a folder is whole, right, and never changed.
    folder = os.path.join(cache_home(), "runlocal", f"{_PREFIX}{digest((_CHECKOUT, os.path.dirname(os.path.abspath(__file__))))}")
    return folder if os.path.isdir(folder) else _make(folder)


def _make(folder: str) -> str:
    """Compiles the bundle beside `folder` and moves it there; the folder that holds it now."""
    import shutil

    parent = os.path.dirname(folder)
    try:
        os.makedirs(parent, exist_ok=True)
        made = _compiled(parent)
    except OSError:
        return _compiled()  # the cache cannot be written: this run reads what it made
    try:
        os.rename(made, folder)
    except OSError:
        if not os.path.isdir(folder):
            return made
        shutil.rmtree(made, ignore_errors=True)  # another process was faster
    tidy(_PREFIX)
    return folder


def kept(prefix: str) -> list[str]:
    """The cache's folders whose names begin so, the newest first."""
    try:
        found = sorted(os.scandir(os.path.join(cache_home(), "runlocal")), key=lambda entry: -entry.stat().st_mtime)
    except OSError:
        return []
    return [entry.path for entry in found if entry.name.startswith(prefix)]


def tidy(prefix: str) -> None:
    """Leaves the newest of those folders: who still reads another one makes it again for itself."""
    import shutil

    for old in kept(prefix)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _compiled(parent: str | None = None) -> str:
    """A new folder with the checkout's bundle. Raises Problem (bad_file) where a file is no TOML, OSError where the folder cannot be made."""
    import shutil
    import tempfile
    from pathlib import Path

    from runlocal.catalog import compile as compiler

    made = tempfile.mkdtemp(prefix="runlocal-making-", dir=parent)
    try:
        compiler.write(Path(_CHECKOUT), Path(made))
    except ValueError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise Problem(Code.BAD_FILE, f"the data cannot be read: {error}", hint="mend the file named, or check it out again") from error
    return made


def digest(roots: tuple[str, ...]) -> str:
    """Names, times and sizes of every data file and every file of code below those folders, in sixteen digits."""
    from zlib import adler32, crc32

    lines = []
    folders = list(roots)
    while folders:
        try:
            entries = sorted(os.scandir(folders.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir():
                folders.append(entry.path)
            elif entry.name.endswith((".toml", ".py")):
                state = entry.stat()
                lines.append(f"{entry.path} {state.st_mtime_ns} {state.st_size}")
    text = "\n".join(lines).encode()
    return f"{crc32(text):08x}{adler32(text):08x}"


def cache_home() -> str:
    """Where programs keep what they can make again."""
    home = os.path.expanduser("~")
    if os.name == "nt":
        return os.environ.get("LOCALAPPDATA") or home
    return os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
