"""Which runtime loads which architecture, from which version to which, and each runtime's constants: data/runtimes/<id>.toml.

A row of a file names architectures (llama.cpp's `general.architecture`) or classes of config.json; the class is the more specific key, but where
a row says `before_class`: a model whose class loads otherwise than others of it has an architecture of its own.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from runlocal.catalog import bundle
from runlocal.core.errors import Code, Problem
from runlocal.core.noun import NamedTuple
from runlocal.core.report import Support

Table: TypeAlias = dict[str, Any]
Value: TypeAlias = "bool | int | float | str | tuple[Value, ...]"
Version: TypeAlias = tuple[str, tuple[int, ...], int, int]

_IDS = ("llama.cpp", "ollama", "vllm", "sglang", "transformers", "mlx", "exllamav2", "exllamav3", "tensorrt-llm", "lmstudio", "executorch")
# After llama.cpp and Ollama, in this order, where none of the two ever loaded the architecture.
_OTHERS_TODAY = ("sglang", "vllm", "transformers", "mlx")
_ALIASES = {
    "llama": "llama.cpp",
    "llamaserver": "llama.cpp",
    "llamacli": "llama.cpp",
    "gguf": "llama.cpp",
    "ggml": "llama.cpp",
    "mlxlm": "mlx",
    "mlxvlm": "mlx",
    "hf": "transformers",
    "huggingface": "transformers",
    "hftransformers": "transformers",
    "exl2": "exllamav2",
    "exllama2": "exllamav2",
    "exl3": "exllamav3",
    "exllama3": "exllamav3",
    "trtllm": "tensorrt-llm",
    "tensorrt": "tensorrt-llm",
    "trt": "tensorrt-llm",
    "lms": "lmstudio",
}

# Patterns are compiled where they are used: a question that names no runtime pays for none.
_SEPARATORS = r"[\s._-]+"
_VERSION = r"v?(\d{1,9}(?:\.\d{1,9}){0,5})(?:[.-]?(a|b|rc|dev|post)\.?(\d{0,9}))?"
_BUILD = r"b(\d{1,9})"
_COMMIT = r"[0-9a-f]{7,40}"
_STAGES = {"dev": -4, "a": -3, "b": -2, "rc": -1, "post": 1}


class Constant(NamedTuple):
    """A constant of a runtime; its name carries the unit. Tiers are pairs (at least, value), largest first.

    value: at the version asked for
    source: where it was read
    checked: the day it was read, YYYY-MM-DD
    note: what it is, or how it was measured
    """

    value: Value
    source: str
    checked: str
    note: str | None = None


def runtimes() -> tuple[str, ...]:
    """Ids of the runtimes we know of, in the order in which they are listed."""
    return _IDS


def find_runtime(text: str) -> tuple[str, str | None]:
    """Id and version of `ollama`, `llama-server`, `ollama@0.24.0`, `llama.cpp@b10488`.

    Raises Problem: UNKNOWN_RUNTIME with the nearest ids, BAD_VALUE where the version is none.
    """
    name, separator, version = text.strip().partition("@")
    squashed = re.sub(_SEPARATORS, "", name).lower()
    found = _ALIASES.get(squashed) or next((id for id in _IDS if re.sub(_SEPARATORS, "", id) == squashed), None)
    if found is None:
        raise Problem(Code.UNKNOWN_RUNTIME, f"no runtime is called {_shown(name)}", hint=f"known: {', '.join(_IDS)}", candidates=_nearest(squashed))
    if not separator:
        return found, None
    version = version.strip().lower()
    if parse_version(version) is None and re.fullmatch(_COMMIT, version, re.ASCII) is None:
        what = f"{_shown(version)} is not a version" if version else f"--runtime {found}@ names no version"
        raise Problem(Code.BAD_VALUE, what, hint=f"write {found}@{newest_known(found)}")
    return found, version if re.fullmatch(_BUILD, version, re.ASCII) or not version.startswith("v") else version[1:]


def newest_known(runtime_id: str) -> str:
    """The newest version of the runtime that was looked at."""
    return str(_table(runtime_id)["newest_known"])


def looked_at(runtime_id: str, version: str) -> bool:
    """Whether our rules are known to be those of that version: it is the newest that was looked at, or older."""
    newest = newest_known(runtime_id)
    return version == newest or _compare(version, newest) in (-1, 0)


def support(runtime_id: str, architecture: str, hf_architecture: str | None = None, has_vision: bool = False) -> Support:
    """Whether the runtime loads the architecture: `architecture` is llama.cpp's name of it, `hf_architecture` the class in config.json."""
    table = _table(runtime_id)
    row = _row(table, architecture, hf_architecture, has_vision)
    if row is None:
        return _unlisted(table, architecture, hf_architecture, has_vision)
    ends = [sign + row[key] for key, sign in (("from", ">="), ("to", "<=")) if key in row]
    return Support(
        id=runtime_id,
        name=str(row.get("package") or table["name"]),
        loads=not row["never"] and "to" not in row,
        versions=",".join(ends) or None,
        newest_known=str(row.get("newest_known") or table["newest_known"]),
        note=row.get("note"),
        source=row["source"],
        vision=row.get("vision") if has_vision else None,
    )


def all_support(architecture: str, hf_architecture: str | None = None, has_vision: bool = False) -> tuple[Support, ...]:
    """`support` of every runtime, in the order of `runtimes`."""
    return tuple(support(id, architecture, hf_architecture, has_vision) for id in _IDS)


def loads_in(runtime_id: str, version: str | None, architecture: str, hf_architecture: str | None = None, has_vision: bool = False) -> bool | None:
    """Whether that version (None: the newest known) of the runtime loads the architecture; None where not known."""
    found = support(runtime_id, architecture, hf_architecture, has_vision)
    if version is None or version == found.newest_known:
        return found.loads
    row = _row(_table(runtime_id), architecture, hf_architecture, has_vision)
    if row is None:
        return None
    if row["never"]:
        return False
    after_first, before_last = _compare(version, row.get("from")), _compare(row.get("to"), version)
    if (after_first is not None and after_first < 0) or (before_last is not None and before_last < 0):
        return False
    if "to" in row and before_last is None:
        return None
    if after_first is not None or before_last == 0:
        return True
    since_newest = _compare(version, found.newest_known)
    return True if since_newest is not None and since_newest >= 0 else None


def auto(architecture: str, hf_architecture: str | None = None, has_vision: bool = False) -> tuple[str, str] | None:
    """The runtime that is meant where none is named, and its version.

    llama.cpp where it loads the architecture; else the newest version of Ollama that ever did;
    else the first of SGLang, vLLM, transformers, MLX that does today; None where none is known to.
    """
    found = support("llama.cpp", architecture, hf_architecture, has_vision)
    if found.loads:
        return found.id, found.newest_known
    found = support("ollama", architecture, hf_architecture, has_vision)
    if found.loads:
        return found.id, found.newest_known
    row = _row(_table("ollama"), architecture, hf_architecture, has_vision)
    if row is not None and "to" in row:
        return "ollama", row["to"]
    for id in _OTHERS_TODAY:
        found = support(id, architecture, hf_architecture, has_vision)
        if found.loads:
            return id, found.newest_known
    return None


def constants(runtime_id: str, version: str | None = None) -> Mapping[str, Constant]:
    """The runtime's constants at that version (None: the newest known), by name. What is not known of that version is not in it."""
    table = _table(runtime_id)
    found: dict[str, Constant] = {}
    for name, entry in table.get("constants", {}).items():
        for candidate in entry.get("by_version", [entry]):
            if _within(version or table["newest_known"], candidate):
                found[name] = Constant(value=_frozen(candidate["value"]), source=entry["source"], checked=entry["checked"], note=entry.get("note"))
                break
    return found


def borrowed_classes(runtime_id: str) -> tuple[str, ...]:
    """Classes of config.json that the runtime loads with another one's code."""
    return tuple(name for row in _table(runtime_id).get("supports", ()) if "through" in row for name in row["hf_architectures"])


def parse_version(text: str) -> Version | None:
    """A version that sorts: `0.24.0`, `v0.3.4.post1`, `0.33.0-rc2`; `b10488` for llama.cpp's builds. None: neither (a commit, a word)."""
    build = re.fullmatch(_BUILD, text, re.ASCII)
    if build is not None:
        return "build", (int(build[1]),), 0, 0
    match = re.fullmatch(_VERSION, text, re.ASCII)
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return "release", tuple(numbers), _STAGES.get(match[2] or "", 0), int(match[3] or 0)


def _compare(left: str | None, right: str | None) -> int | None:
    """-1, 0 or 1 as `left` is older, equal or newer; None where the two cannot be compared."""
    if left is None or right is None:
        return None
    if left == right:
        return 0
    first, second = parse_version(left), parse_version(right)
    if first is None or second is None or first[0] != second[0]:
        return None
    return (first > second) - (first < second)


def _within(version: str, ends: Table) -> bool:
    """Whether `version` lies between `from` and `to`, ends included; an end that is absent is open, one that cannot be compared is not met."""
    older, newer = _compare(version, ends.get("from")), _compare(ends.get("to"), version)
    return ("from" not in ends or (older is not None and older >= 0)) and ("to" not in ends or (newer is not None and newer >= 0))


def _rows(table: Table) -> Iterator[Table]:
    for never, key in ((True, "never"), (False, "supports")):
        for row in table.get(key, ()):
            yield {**row, "never": never}


def _row(table: Table, architecture: str, hf_architecture: str | None, has_vision: bool) -> Table | None:
    """The row that says most about the architecture: the class before the architecture, image input where it is wanted, today before once."""
    best: tuple[tuple[bool, bool, bool, bool], Table] | None = None
    for row in _rows(table):
        by_class, by_architecture = hf_architecture in row.get("hf_architectures", ()), architecture in row.get("architectures", ())
        if not by_class and not by_architecture:
            continue
        rank = (by_architecture and "before_class" in row, by_class, (row.get("vision") is True) == has_vision, "to" not in row)
        if best is None or rank > best[0]:
            best = rank, row
    return best[1] if best else None


def _unlisted(table: Table, architecture: str, hf_architecture: str | None, has_vision: bool) -> Support:
    """What is known of an architecture that no row names: what the runtime's engines do, or that its whole list was read."""
    found = Support(id=table["id"], name=table["name"], loads=None, versions=None, newest_known=table["newest_known"], note=None, source=None)
    if "registry" in table:
        registry = table["registry"]
        return found._replace(loads=False if registry["complete"] else None, note=registry["note"], source=registry["source"])
    engines = [support(id, architecture, hf_architecture, has_vision) for id in table["follows"]]
    known = next((engine for engine in engines if engine.loads), None)
    if known is not None:
        return found._replace(loads=True, vision=known.vision, note=f"through its engine of {known.name}; the version not looked up", source=known.source)
    if any(engine.loads is None for engine in engines):
        return found._replace(note=f"not looked up; its engines are those of {' and '.join(engine.name for engine in engines)}", source=table["url"])
    return found._replace(loads=False, note=f"neither of its engines ({', '.join(engine.name for engine in engines)}) does", source=engines[0].source)


def _frozen(value: Any) -> Value:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _shown(text: str) -> str:
    return repr(text[:60])


def _nearest(name: str) -> tuple[str, ...]:
    import difflib  # on the error path alone

    names = {re.sub(_SEPARATORS, "", id): id for id in _IDS} | _ALIASES
    return tuple(dict.fromkeys(names[match] for match in difflib.get_close_matches(name, names, n=5, cutoff=0.5)))


@cache
def _tables() -> dict[str, Table]:
    return dict(bundle.read("runtimes"))


def _table(runtime_id: str) -> Table:
    return _tables()[runtime_id]
