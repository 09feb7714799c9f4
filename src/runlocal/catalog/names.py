"""Names as people type them. Never a guess: a name means one model, or the nearest ids are listed."""

import re
from collections.abc import Callable, Iterable, Mapping

from runlocal.core.errors import Code, Problem

_LONGEST_NAME = 200
_LATEST = ":latest"
_PIECES = r"[a-z]+|\d+"
# What people leave out or add without meaning another model.
_SILENT = frozenset({"instruct", "it", "chat", "hf", "gguf"})
_ALIKE = 0.5
_KIN = 0.7
_TELLING = 3  # letters of a beginning that says something
_SHOWN = 5


def normal(name: str) -> str:
    """The name without owner, case, separators and suffixes such as `-instruct`: `llama 3 2 90 b vision`."""
    pieces = re.findall(_PIECES, name.lower().rpartition("/")[2])
    return " ".join(piece for piece in pieces if piece not in _SILENT)


def name_tables(models: Iterable[tuple[str, Iterable[str]]]) -> tuple[dict[str, str], dict[str, dict[str, list[str]]]]:
    """Tables for `resolve`, made from (id, aliases) of every model when the bundle is compiled.

    The first: id or alias in lower case → id. The second, read only where that fails: `ids` and `loose`, normalised id or alias → ids.
    """
    exact: dict[str, str] = {}
    ids: dict[str, list[str]] = {}
    loose: dict[str, list[str]] = {}
    for model_id, aliases in models:
        exact[model_id.lower()] = model_id
        ids.setdefault(normal(model_id), []).append(model_id)
        for alias in aliases:
            exact[alias.lower()] = model_id
            if alias.endswith(_LATEST):
                # Ollama reads a name without a tag so; typed in any other way it is no name of a model.
                exact[alias.lower().removesuffix(_LATEST)] = model_id
                continue
            known = loose.setdefault(normal(alias), [])
            if model_id not in known:
                known.append(model_id)
    return exact, {"ids": ids, "loose": loose}


def resolve(name: str, exact: Mapping[str, str], loose: Callable[[], Mapping[str, Mapping[str, list[str]]]]) -> str:
    """The id that a name means.

    An exact id or alias wins before anything is normalised. Raises Problem (unknown_model) with the nearest ids where the name is
    unknown or could mean several models.
    """
    typed = name.strip()
    if known := exact.get(typed.lower()):
        return known
    key, tables = normal(typed[:_LONGEST_NAME]), loose()
    for table in ("ids", "loose"):
        found = tables[table].get(key, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise Problem(Code.UNKNOWN_MODEL, f"{_shown(typed)} could be any of {len(found)} models", hint="name one of them", candidates=tuple(found))
    raise Problem(
        Code.UNKNOWN_MODEL,
        f"no model is called {_shown(typed)}",
        hint="`runlocal models` lists every model; a path to a .gguf, a config.json or a model folder works too",
        candidates=nearest(key, exact),
    )


def nearest(key: str, exact: Mapping[str, str]) -> tuple[str, ...]:
    """The ids most like a normalised name, best first."""
    from difflib import get_close_matches

    by_key: dict[str, str] = {}
    for alias, model_id in exact.items():
        by_key.setdefault(normal(alias), model_id)
    wanted = set(key.split())
    holding = sorted((alias for alias in by_key if wanted and wanted <= set(alias.split())), key=lambda alias: (not alias.startswith(key), len(alias)))
    inside = list(dict.fromkeys(by_key[alias] for alias in holding))
    # A size or a word such as `large` makes no kinship: the families have to be called alike.
    words = [word for word in key.split() if word.isalpha()]
    families = sorted({family for alias in by_key if (family := alias.split(" ", 1)[0]).isalpha()})
    kin = {family for word in words for family in (*get_close_matches(word, families, n=_SHOWN, cutoff=_KIN), *_begun(word, families))}
    close = [by_key[match] for match in get_close_matches(key, [alias for alias in by_key if alias.split(" ", 1)[0] in kin], n=_SHOWN, cutoff=_ALIKE)]
    return tuple(dict.fromkeys([*inside[:_SHOWN], *close]))[:_SHOWN]


def _begun(word: str, families: Iterable[str]) -> list[str]:
    """Families that the word is the beginning of, or that begin it."""
    return [family for family in families if min(len(word), len(family)) >= _TELLING and (family.startswith(word) or word.startswith(family))]


def _shown(name: str) -> str:
    """The name for a message: printable, and not longer than a line."""
    clean = "".join(character if character.isprintable() else "?" for character in name[:80])
    return f"{clean!r}" if clean else "''"
