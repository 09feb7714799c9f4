"""The catalogue of GPUs, and the names people type for them.

Nothing here is looked up when a card is present: a reading of the driver beats a table. The catalogue is for machines that are not here,
and for what a driver does not tell (bandwidth, price, context).
"""

import functools

from runlocal.catalog.bundle import read
from runlocal.catalog.gpu_entries import GpuEntry, Table, assumed_context, entry_from_row
from runlocal.core.errors import Code, Problem
from runlocal.core.noun import NamedTuple
from runlocal.core.units import GIB, MIB

_NAMES_SHOWN = 8
_NEW_SHARE = 26  # the macOS since which Metal recommends a larger share


class CommonSize(NamedTuple):
    """A size that buyers think in, and the card that stands for it."""

    size_gb: int
    gpu: GpuEntry


def find_gpu(text: str) -> GpuEntry:
    """The card that `text` names: an id, alias or driver name as it stands, else the same without case, separators and brand words.

    Never a guess. A name that several products share answers for the usual one and says so in `notes`.
    Raises Problem(UNKNOWN_GPU) with the nearest ids when there is no such name, or when the name alone does not settle which is meant.
    """
    found = look_up(text)
    if found is None:
        quoted = "" if any(one.isdigit() for one in text) else 'a name of several words stands in quotes: "RTX 4090"; '
        raise Problem(
            Code.UNKNOWN_GPU,
            f"no GPU named {text[:80]!r} is in the catalogue",
            hint=f"{quoted}`runlocal gpus --all` lists what is; `--vram SIZE` takes any amount of memory",
            candidates=_nearest(text),
        )
    return found


def look_up(text: str) -> GpuEntry | None:
    """`find_gpu`, with None for a name that is not in the catalogue. Still raises Problem for a name that does not settle which is meant."""
    target = _target(text)
    if target is None:
        return None
    if isinstance(target, str):
        return entry(target)
    others = tuple(target["others"])
    if target["usual"] is None:
        raise Problem(
            Code.UNKNOWN_GPU,
            f"{text[:80]!r} is sold in several kinds: {', '.join(entry(other).name for other in others)}",
            hint=f"name one of them, such as {others[-1]}",
            candidates=others,
        )
    usual = entry(target["usual"])
    return usual._replace(notes=(f"{text.strip()[:80]!r} was read as {usual.name}; it can also mean {_either(others)}.",))


def entry(gpu_id: str) -> GpuEntry:
    """The card of that id, which the catalogue must have."""
    card = read(f"gpus/{gpu_id}")
    return entry_from_row(card["vendor"], card["row"], card["sources"], read("gpu_rules"))


def _target(text: str) -> str | Table | None:
    """What a name stands for: an id, a choice, or nothing."""
    names = read("gpu_names")
    words = text.casefold().split()
    found: str | Table | None = names["exact"].get(" ".join(words)) or names["normal"].get("-".join(words))
    if found is None:
        from runlocal.catalog.gpu_names import canonical  # its patterns cost more than an exact name does

        found = names["normal"].get(canonical(text))
    return found


def match_driver(name: str, memory_bytes: int) -> GpuEntry | None:
    """The product behind a driver's `name`, told from others of that name by the total the driver reports; None where that does not settle it.

    ECC takes a sixteenth of GDDR memory, and drivers before R510 left their reserve out of the total, so totals are compared within an eighth.
    """
    near = [card for card in cards() if name in card.driver_names and abs(card.memory_bytes - memory_bytes) * 8 <= card.memory_bytes]
    best = min((abs(card.memory_bytes - memory_bytes) for card in near), default=0)
    closest = [card for card in near if abs(card.memory_bytes - memory_bytes) == best]
    if len({(card.memory_bytes, card.bandwidth_bytes) for card in closest}) == 1:
        # A laptop part that reports the desktop card's name and has its memory: the desktop card says all that is asked.
        closest = [card for card in closest if card.form != "laptop"] or closest
    return closest[0] if len(closest) == 1 else None


def cards(query: str = "") -> tuple[GpuEntry, ...]:
    """Every entry, vendor by vendor in the order of the files, or those whose id, names or vendor hold every word of `query`."""
    words = query.casefold().split()
    return tuple(card for card in _all() if all(word in _searched(card) for word in words))


@functools.cache
def _all() -> tuple[GpuEntry, ...]:
    return tuple(entry(gpu_id) for gpu_id in read("gpu_names")["ids"])


def common_sizes() -> tuple[CommonSize, ...]:
    """The buyer's grid, smallest first: each size at the usable size of one card of that size."""
    return tuple(CommonSize(row["size_gb"], entry(row["gpu"])) for row in read("gpu_rules")["common"])


def _searched(card: GpuEntry) -> str:
    return " ".join((card.vendor, card.id, card.name, *card.driver_names, *card.aliases)).casefold()


def _either(ids: tuple[str, ...]) -> str:
    return ids[0] if len(ids) == 1 else f"{', '.join(ids[:-1])} or {ids[-1]}"


def _nearest(text: str) -> tuple[str, ...]:
    """Ids of the cards that may be meant: first those whose name has two neighbouring digits the other way round, then those that hold every
    word, then those that look alike, of these the ones that begin alike first."""
    import difflib  # only on the way to an error

    from runlocal.catalog.gpu_names import canonical

    normal = read("gpu_names")["normal"]
    typed = canonical(text)[:80]
    swapped = [f"{typed[:at]}{typed[at + 1]}{typed[at]}{typed[at + 2 :]}" for at in range(len(typed) - 1) if typed[at : at + 2].isdigit()]
    words = set(typed.split("-"))
    holding = sorted((key for key in normal if words <= set(key.split("-"))), key=len) if typed else []
    alike = difflib.get_close_matches(typed, normal, n=3 * _NAMES_SHOWN, cutoff=0.6)
    alike.sort(key=lambda key: key[0] != typed[0])
    ids: list[str] = []
    for key in (*(key for key in swapped if key in normal), *holding[:_NAMES_SHOWN], *alike):
        target = normal[key]
        ids += [target] if isinstance(target, str) else [*([target["usual"]] if target["usual"] else []), *target["others"]]
    return tuple(dict.fromkeys(ids))[:_NAMES_SHOWN]


def unlisted_context(memory_bytes: int) -> int:
    """Bytes that a driver is taken to need for one process's context on a card that the catalogue does not know, by its memory."""
    return assumed_context(memory_bytes, "unlisted", read("gpu_rules"))


def pci_name(vendor: str, device: str, revision: str) -> str | None:
    """The driver's name of a card by its PCI ids (hexadecimal digits, as `744C` and `C8`); None where the table has none."""
    names: dict[str, str] = read("gpu_pci").get(vendor, {})
    return names.get(f"{device}-{revision}") or names.get(device)


def apple_limit(memory_bytes: int, macos: int) -> int | None:
    """Bytes that macOS, first number of its version `macos`, lets a GPU keep resident in this much memory; None where nobody read it.

    The share changed with macOS 26, and where a size was read under one of the two only, nothing is said of the other.
    """
    for row in read("gpu_rules")["apple"]:
        if row["memory_gb"] * GIB == memory_bytes:
            limit = row["limit_mib"] if macos >= _NEW_SHARE else row.get("before_mib")
            return None if limit is None else int(limit) * MIB
    return None


def unlisted_reserve(memory_bytes: int) -> int:
    """Bytes that a driver is taken to keep for itself on a card that the catalogue does not know, by its memory."""
    rule = read("gpu_rules")["reserve"]
    return min(int(memory_bytes * rule["fraction"]), int(rule["cap_mib"]) << 20)
