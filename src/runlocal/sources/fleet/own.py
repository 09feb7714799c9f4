"""Machines as `runlocal gpus --json` prints them, an object per machine, or a row per device with `--format ndjson`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runlocal.core.fleet import Card, Node
from runlocal.sources.fleet.texts import MOST_CARDS, cut_profile, name_of

_HIDDEN = "(hidden from programs)"
_MOST_BYTES = 1 << 60

Row = Mapping[str, Any]


def is_row(found: object) -> bool:
    """Whether it is a device of a machine."""
    return isinstance(found, Mapping) and "memory_bytes" in found and "index" in found


def machine(number: int, rows: Iterable[object]) -> Node:
    """The machine of one object. Raises ValueError with a sentence for people."""
    cards: list[Card] = []
    for row in rows:
        if not is_row(row):
            of_the_catalogue = isinstance(row, Mapping) and "id" in row and "memory_bytes" in row
            raise ValueError(
                "this is the catalogue, not a machine: leave --all and QUERY out" if of_the_catalogue else "a device has no memory_bytes and index"
            )
        cards += _card(row)  # type: ignore[arg-type]  # is_row has seen to that
        if len(cards) > MOST_CARDS:
            raise ValueError(f"one machine has more than {MOST_CARDS} GPUs")
    return Node(f"machine {number}", tuple(cards))


def goes_on(before: Row, row: Row) -> bool:
    """Whether a row belongs to the machine of the row before it: the devices of one are numbered upwards."""
    last, index = _figure(before, "index"), _figure(row, "index")
    if last is None or index is None:
        return False
    # Slices of one card share its number.
    slices = cut_profile(name_of(before.get("name")))[1] is not None and cut_profile(name_of(row.get("name")))[1] is not None
    return index > last or (index == last and slices)


def _card(row: Row) -> Iterator[Card]:
    name = name_of(row.get("name"))
    if name.endswith(_HIDDEN):
        return
    product, profile = cut_profile(name)
    yield Card(
        product.strip(),
        _figure(row, "memory_bytes") or None,
        profile=profile,
        reserved_bytes=_figure(row, "reserved_bytes"),
        in_use_bytes=_figure(row, "in_use_bytes"),
    )


def _figure(row: Row, key: str) -> int | None:
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_BYTES:
        raise ValueError(f"{key} of {name_of(row.get('name'))!r} is no number of bytes")
    return value
