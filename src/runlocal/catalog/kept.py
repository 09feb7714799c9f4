"""Tables that follow from the data and from the code that computes with it: the wheel carries them, a checkout keeps them in a cache.

A checkout makes a row again only where its model, the shared data or the code has changed.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runlocal.catalog import bundle

Rows = dict[str, Any]
"""Rows by model."""

Tell = Callable[[str], None]
_FEW = 10  # models whose rows are made before anybody would ask what takes so long
_PREFIX = "loads-"


def packaged(name: str) -> Rows | None:
    """The table that the wheel carries; None in a checkout."""
    return _read(os.path.join(bundle.package(), "loads"), name)


def cached(name: str) -> Rows | None:
    """A checkout's table as it was made from these very files; None where it was not."""
    return _read(_folder(), name)


def make(names: tuple[str, ...], rows_of: Callable[[str], Mapping[str, Any]], models: Mapping[str, Any], code: Sequence[str], tell: Tell) -> dict[str, Rows]:
    """Every table, by name, and keeps them.

    rows_of: makes the rows of a model, by table; not every table has one
    models: the table of each model's file, by id
    code: folders and files of the program that rows follow from
    tell: is told before many rows are made
    """
    before, digits = _newest(names), _contents(code)
    keys = {model_id: f"{digits}{_checksum(json.dumps(table, default=str).encode())}" for model_id, table in models.items()}
    known = before.get("keys", {})
    if (new := sum(known.get(model_id) != key for model_id, key in keys.items())) > _FEW:
        tell(f"Computing what {new} models take, once for this state of data and code: half a minute.")
    made: dict[str, Rows] = {name: {} for name in names}
    for model_id, key in keys.items():
        if known.get(model_id) == key:
            found: Mapping[str, Any] = {name: before[name][model_id] for name in names if model_id in before[name]}
        else:
            found = rows_of(model_id)
        for name, row in found.items():
            made[name][model_id] = row
    _keep({**made, "keys": keys})
    return made


def write(tables: Mapping[str, Rows], folder: str) -> None:
    """The tables as files of a folder."""
    for name, rows in tables.items():
        with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
            file.write(json.dumps(rows, separators=(",", ":")))


def _read(folder: str, name: str) -> Rows | None:
    try:
        with open(os.path.join(folder, f"{name}.json"), "rb") as file:
            rows: Rows = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return rows


def _folder() -> str:
    """Where these very files' tables lie."""
    return os.path.join(bundle.cache_home(), "runlocal", f"{_PREFIX}{bundle.digest((bundle.checkout(), bundle.package()))}")


def _newest(names: tuple[str, ...]) -> dict[str, Rows]:
    """The tables that were made last; nothing where none can be read."""
    for folder in bundle.kept(_PREFIX):
        found = {name: _read(folder, name) for name in (*names, "keys")}
        if all(rows is not None for rows in found.values()):
            return {name: rows for name, rows in found.items() if rows is not None}
    return {}


def _keep(tables: Mapping[str, Rows]) -> None:
    """Moves the tables into the cache as a whole; where it cannot be written this run has what it made."""
    import shutil
    import tempfile

    folder = _folder()
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        made = tempfile.mkdtemp(prefix="runlocal-making-", dir=os.path.dirname(folder))
    except OSError:
        return
    try:
        write(tables, made)
        # What lies there could not be read, or another process was faster: the same takes its place.
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(made, folder)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
    bundle.tidy(_PREFIX)


def _contents(code: Sequence[str]) -> str:
    """What the shared data and that code hold, in sixteen digits."""
    texts = [json.dumps([bundle.read(name) for name in ("engines", "quants", "runtimes", "dtypes")], default=str).encode()]
    for path in (os.path.join(bundle.package(), *one.split("/")) for one in code):
        files = [path] if path.endswith(".py") else sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
        for name in files:
            if name.endswith(".py"):
                with open(name, "rb") as file:
                    texts.append(file.read())
    return _checksum(b"".join(texts))


def _checksum(text: bytes) -> str:
    from zlib import adler32, crc32

    return f"{crc32(text):08x}{adler32(text):08x}"
