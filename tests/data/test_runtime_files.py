"""Every file of data/runtimes is strict and sourced: no key that nobody knows, no version that does not sort, no fact without an address."""

import datetime
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from runlocal.catalog.runtimes import parse_version, runtimes

FOLDER = Path(__file__).resolve().parents[2] / "data" / "runtimes"
FORMATS = {"gguf", "safetensors", "exl2", "exl3", "pte"}
UNITS = re.compile(r"_(bytes|tokens|fraction|percent|per_logit)$")
COUNTS = re.compile(
    r"(sequences|images|tiles|multiple|checkpoints|layers|slots|engine|build|architectures|classes|quantizations|cache_types|as_small|in_budget|on_gpu"
    r"|quantized|four_ranks)$"
)
COMMIT = re.compile(r"[0-9a-f]{9,40}")

HEAD = {"id": str, "name": str, "url": str, "newest_known": str, "newest_checked": str, "formats": list}
HEAD_OPTIONAL = {"newest_date": str, "follows": list, "registry": dict, "supports": list, "never": list, "constants": dict}
REGISTRY = {"read_at": str, "complete": bool, "note": str, "source": str, "checked": str}
ROW = {"source": str, "checked": str}
ROW_OPTIONAL = {"architectures": list, "hf_architectures": list, "before_class": bool, "note": str}
SUPPORTS_OPTIONAL = {**ROW_OPTIONAL, "package": str, "from": str, "to": str, "newest_known": str, "vision": bool, "through": str}
CONSTANT = {"source": str, "checked": str}
CONSTANT_OPTIONAL = {"value": object, "by_version": list, "note": str}


def load(runtime_id: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{runtime_id}.toml").read_text(encoding="utf-8"))


def assert_shape(table: dict[str, Any], required: dict[str, type], optional: dict[str, type]) -> None:
    known = {**required, **optional}
    assert set(required) <= set(table) <= set(known)
    for key, value in table.items():
        assert isinstance(value, known[key]), key
        if known[key] is str:
            assert value == value.strip() != "", key


def assert_sourced(table: dict[str, Any]) -> None:
    assert re.fullmatch(r"https://[^\s/]+\.[a-z]+(/\S+)?", table["source"])
    assert datetime.date(2026, 1, 1) <= datetime.date.fromisoformat(table["checked"])


def assert_version(text: str) -> None:
    assert parse_version(text) is not None or COMMIT.fullmatch(text), text


def test_there_is_a_file_for_every_runtime_and_none_beside() -> None:
    stems = {path.stem for path in FOLDER.glob("*.toml")}
    assert set(runtimes()) <= stems
    # What is too much for a runtime's own file lies beside it, under its name: `llama.cpp-vision`.
    assert all(any(stem.startswith(f"{id}-") for id in runtimes()) for stem in stems - set(runtimes()))


@pytest.mark.parametrize("runtime_id", runtimes())
def test_head_is_strict(runtime_id: str) -> None:
    table = load(runtime_id)
    assert_shape(table, HEAD, HEAD_OPTIONAL)
    assert table["id"] == runtime_id
    assert table["url"].startswith("https://")
    assert set(table["formats"]) <= FORMATS
    assert_version(table["newest_known"])
    for key in ("newest_checked", "newest_date"):
        datetime.date.fromisoformat(table.get(key, "2026-01-01"))
    assert ("registry" in table) != ("follows" in table)
    assert set(table.get("follows", ())) < set(runtimes())
    if "registry" in table:
        assert_shape(table["registry"], REGISTRY, {})
        assert_sourced(table["registry"])


@pytest.mark.parametrize("runtime_id", runtimes())
def test_rows_are_strict(runtime_id: str) -> None:
    table = load(runtime_id)
    rows = [(row, SUPPORTS_OPTIONAL) for row in table.get("supports", ())] + [(row, ROW_OPTIONAL) for row in table.get("never", ())]
    assert rows
    for row, optional in rows:
        assert_shape(row, ROW, optional)
        assert_sourced(row)
        keys = row.get("architectures", []) + row.get("hf_architectures", [])
        assert keys and len(keys) == len(set(keys)) and all(re.fullmatch(r"[A-Za-z0-9._-]+", key) for key in keys)
        assert row.get("before_class", True) and not ("before_class" in row and "hf_architectures" in row)
        for end in ("from", "to", "newest_known"):
            if end in row:
                assert_version(row[end])
        if "from" in row and "to" in row:
            first, last = parse_version(row["from"]), parse_version(row["to"])
            assert first is not None and last is not None and first <= last
        # Without a first version the reader is told so, or told something better.
        if row.get("vision") is False:
            assert row["note"].startswith("text only")


@pytest.mark.parametrize("runtime_id", runtimes())
def test_no_key_is_named_twice_for_the_same_purpose(runtime_id: str) -> None:
    table = load(runtime_id)
    seen: set[tuple[str, str]] = set()
    for row in (*table.get("supports", ()), *table.get("never", ())):
        for kind in ("architectures", "hf_architectures"):
            for key in row.get(kind, ()):
                assert (kind, key) not in seen, key
                seen.add((kind, key))


@pytest.mark.parametrize("runtime_id", runtimes())
def test_constants_are_strict(runtime_id: str) -> None:
    for name, entry in load(runtime_id).get("constants", {}).items():
        assert_shape(entry, CONSTANT, CONSTANT_OPTIONAL)
        assert_sourced(entry)
        assert UNITS.search(name) or COUNTS.search(name), f"{name} carries no unit"
        assert ("value" in entry) != ("by_version" in entry)
        previous = None
        for case in entry.get("by_version", ()):
            assert {"value"} < set(case) <= {"value", "from", "to"}
            for end in ("from", "to"):
                if end in case:
                    assert parse_version(case[end]) is not None
            first, last = parse_version(case.get("from", "0")), parse_version(case.get("to", "999"))
            assert first is not None and last is not None and first <= last
            assert previous is None or previous < first, f"{name}: versions overlap"
            previous = last
        for value in [case["value"] for case in entry.get("by_version", ())] or [entry["value"]]:
            if isinstance(value, list) and isinstance(value[0], list):
                thresholds = [pair[0] for pair in value]
                assert all(len(pair) == 2 for pair in value) and thresholds == sorted(thresholds, reverse=True)
            if name.endswith("_bytes") and not isinstance(value, list):
                assert type(value) is int and value > 0


def test_every_architecture_of_the_bundled_models_is_known_to_some_runtime() -> None:
    known = {key for id in runtimes() for row in load(id).get("supports", ()) for kind in ("architectures", "hf_architectures") for key in row.get(kind, ())}
    files = sorted((FOLDER.parent / "models").rglob("*.toml"))
    specs = [tomllib.loads(path.read_text(encoding="utf-8")) for path in files]
    assert {spec["hf_architecture"] for spec in specs if spec["architecture"] not in known and spec["hf_architecture"] not in known} == set()
