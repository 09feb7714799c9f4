"""The catalogue of GPUs, and the names people type for them.

Nothing here is looked up when a card is present: a reading of the driver beats a table. The catalogue is for machines that are not here,
and for what a driver does not tell (bandwidth, price, context).
"""

import functools
from collections import Counter
from typing import NamedTuple

from runlocal.catalog.bundle import read
from runlocal.catalog.gpu_entries import GpuEntry, Table, assumed_context, entry_from_row
from runlocal.catalog.gpu_names import canonical, keys
from runlocal.core.errors import Code, Problem

_VENDORS = ("nvidia", "amd", "intel", "apple")
_NAMES_SHOWN = 8


class CommonSize(NamedTuple):
    """A size that buyers think in, and the card that stands for it."""

    size_gb: int
    gpu: GpuEntry


class _Choice(NamedTuple):
    usual: str | None
    others: tuple[str, ...]


class _Catalogue(NamedTuple):
    entries: dict[str, GpuEntry]
    exact: dict[str, str | _Choice]
    normal: dict[str, str | _Choice]
    common: tuple[CommonSize, ...]


def find_gpu(text: str) -> GpuEntry:
    """The card that `text` names: an id, alias or driver name as it stands, else the same without case, separators and brand words.

    Never a guess. A name that several products share answers for the usual one and says so in `notes`.
    Raises Problem(UNKNOWN_GPU) with the nearest ids when there is no such name, or when the name alone does not settle which is meant.
    """
    found = look_up(text)
    if found is None:
        raise Problem(
            Code.UNKNOWN_GPU,
            f"no GPU named {text[:80]!r} is in the catalogue",
            hint="`runlocal gpus --all` lists what is; `--vram SIZE` takes any amount of memory",
            candidates=_nearest(text),
        )
    return found


def look_up(text: str) -> GpuEntry | None:
    """`find_gpu`, with None for a name that is not in the catalogue. Still raises Problem for a name that does not settle which is meant."""
    catalogue = _catalogue()
    target = catalogue.exact.get(" ".join(text.casefold().split())) or catalogue.normal.get(canonical(text))
    if target is None:
        return None
    if isinstance(target, str):
        return catalogue.entries[target]
    if target.usual is None:
        raise Problem(
            Code.UNKNOWN_GPU,
            f"{text[:80]!r} is sold in several kinds: {', '.join(catalogue.entries[other].name for other in target.others)}",
            hint=f"name one of them, such as {target.others[-1]}",
            candidates=target.others,
        )
    entry = catalogue.entries[target.usual]
    return entry._replace(notes=(f"{text.strip()[:80]!r} was read as {entry.name}; it can also mean {_either(target.others)}.",))


def match_driver(name: str, memory_bytes: int) -> GpuEntry | None:
    """The product behind a driver's `name`, told from others of that name by the total the driver reports; None where that does not settle it.

    ECC takes a sixteenth of GDDR memory, and drivers before R510 left their reserve out of the total, so totals are compared within an eighth.
    """
    near = [entry for entry in cards() if name in entry.driver_names and abs(entry.memory_bytes - memory_bytes) * 8 <= entry.memory_bytes]
    best = min((abs(entry.memory_bytes - memory_bytes) for entry in near), default=0)
    closest = [entry for entry in near if abs(entry.memory_bytes - memory_bytes) == best]
    return closest[0] if len(closest) == 1 else None


def cards(query: str = "") -> tuple[GpuEntry, ...]:
    """Every entry, vendor by vendor in the order of the files, or those whose id, names or vendor hold every word of `query`."""
    words = query.casefold().split()
    return tuple(entry for entry in _catalogue().entries.values() if all(word in _searched(entry) for word in words))


def common_sizes() -> tuple[CommonSize, ...]:
    """The buyer's grid, smallest first: each size at the usable size of one card of that size."""
    return _catalogue().common


def _searched(entry: GpuEntry) -> str:
    return " ".join((entry.vendor, entry.id, entry.name, *entry.driver_names, *entry.aliases)).casefold()


def _either(ids: tuple[str, ...]) -> str:
    return ids[0] if len(ids) == 1 else f"{', '.join(ids[:-1])} or {ids[-1]}"


def _nearest(text: str) -> tuple[str, ...]:
    import difflib  # only on the way to an error

    catalogue = _catalogue()
    ids: list[str] = []
    for key in difflib.get_close_matches(canonical(text)[:80], catalogue.normal, n=_NAMES_SHOWN, cutoff=0.6):
        target = catalogue.normal[key]
        ids += [target] if isinstance(target, str) else [*([target.usual] if target.usual else []), *target.others]
    return tuple(dict.fromkeys(ids))[:_NAMES_SHOWN]


@functools.cache
def _catalogue() -> _Catalogue:
    tables = read("gpus")
    rules = tables["rules"]
    vendors: dict[str, Table] = {vendor: tables[vendor] for vendor in _VENDORS}
    entries = {row["id"]: entry_from_row(vendor, row, table["sources"], rules) for vendor, table in vendors.items() for row in table["gpu"]}
    choices = [(choice["names"], _Choice(choice.get("usual"), tuple(choice["others"]))) for table in vendors.values() for choice in table.get("choice", ())]
    shared = _shared(entries)
    exact: dict[str, str | _Choice] = {}
    normal: dict[str, str | _Choice] = {}
    for names, choice in choices:
        for name in names:
            exact[name.casefold()] = choice
            for key in keys(name):
                normal[key] = choice
    for entry in entries.values():
        own_driver_names = tuple(name for name in entry.driver_names if name not in shared)
        for name in (*own_driver_names, *entry.aliases, entry.id):
            exact[name.casefold()] = entry.id
        for name in (entry.id, entry.name, *entry.aliases, *own_driver_names):
            for key in keys(name, round(entry.memory_gb)):
                normal.setdefault(key, entry.id)
    normal.pop("", None)
    common = tuple(CommonSize(row["size_gb"], entries[row["gpu"]]) for row in rules["common"])
    return _Catalogue(entries, exact, normal, common)


def _shared(entries: dict[str, GpuEntry]) -> frozenset[str]:
    """The driver names that more than one product reports."""
    count = Counter(name for entry in entries.values() for name in entry.driver_names)
    return frozenset(name for name in count if count[name] > 1)


def unlisted_context(memory_bytes: int) -> int:
    """Bytes that a driver is taken to need for one process's context on a card that the catalogue does not know, by its memory."""
    return assumed_context(memory_bytes, "unlisted", read("gpus")["rules"])
