"""The bundle: what the program reads at run time, as JSON, made from the TOML files that people edit.

TOML costs 24 times what JSON does to read. The wheel carries the bundle; a checkout makes it on first need (`catalog.bundle`).
Standard library only: the build runs this before anything is installed.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runlocal.catalog.gpu_tables import gpu_tables
from runlocal.catalog.names import name_tables

Table = dict[str, Any]


INDEXED = ("name", "family", "vendor", "released", "variant", "architecture", "modalities", "license", "text_twin")


def _indexed(table: Table) -> Table:
    """What a list of models shows beside the top-level keys, without opening every model."""
    return {
        "parameters": table["parameters"].get("published"),
        "context_tokens": table["context"]["native_tokens"],
        "aliases": [alias["name"] for alias in table.get("aliases", ())],
    }


def _load(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def model_tables(data: Path) -> Iterator[tuple[str, Table]]:
    """(id, table) of every model file, by id."""
    for path in sorted((data / "models").glob("*/*.toml"), key=lambda path: path.stem):
        yield path.stem, _load(path)


def bundle(data: Path) -> dict[str, Any]:
    """Every object of the bundle by name; `models/<id>` is one model's table."""
    models = dict(model_tables(data))
    made: dict[str, Any] = {f"models/{model_id}": table for model_id, table in models.items()}
    made["names"], made["loose_names"] = name_tables((model_id, [alias["name"] for alias in table.get("aliases", ())]) for model_id, table in models.items())
    made["index"] = {model_id: {key: table.get(key) for key in INDEXED} | _indexed(table) for model_id, table in models.items()}
    made["about"] = _load(data / "about.toml")
    made["series"] = [series["families"] for series in _load(data / "series.toml")["series"]]
    made["licenses"] = _load(data / "licenses.toml")
    made["dtypes"] = _load(data / "dtypes.toml")["types"]
    made["speed"] = _speed(_load(data / "speed.toml"))
    made |= gpu_tables(_room(data, "gpus"))
    for room in ("quants", "runtimes", "engines"):
        made[room] = _room(data, room)
    return made


def _speed(table: Table) -> Table:
    """The classes without their rows, of which the addresses stay."""
    urls = {key: source["url"] for key, source in table["sources"].items()}
    classes = [
        {key: value for key, value in row.items() if key != "rows"} | {"sources": list(dict.fromkeys(urls[one["source"]] for one in row["rows"]))}
        for row in table["class"]
    ]
    return {"classes": classes, "host_cache_least": table["host_cache"]["least"], "mixed_most_of_host": table["mixed"]["most_of_host"]}


def _room(data: Path, room: str) -> Table:
    """Every file of a folder by its stem."""
    return {path.stem: _load(path) for path in sorted((data / room).glob("*.toml"))}


def write(data: Path, folder: Path) -> None:
    """Writes the bundle of `data` into `folder`."""
    for name, value in bundle(data).items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str), encoding="utf-8")
