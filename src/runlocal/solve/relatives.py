"""What stands around a model in the catalogue: its family, what came before and after, and what is worth comparing."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runlocal.architectures import ARCHITECTURES
from runlocal.catalog.bundle import read
from runlocal.catalog.models import index
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple

_SAME_SIZE = 1.15  # within a family: a newer model of the same size
_LIKE_SIZE = 2.0  # between families: sizes change a little
_BAND = 1.34  # as large, for a comparison
_TIER = 3.5  # one tier larger or smaller
_AS_LARGE, _LARGER, _SMALLER = "as large", "larger", "smaller"
_BANDS = {_AS_LARGE: 4, _LARGER: 2, _SMALLER: 2}  # how many are worth a line


class Compared(NamedTuple):
    """A model that is worth comparing.

    band: `as large`, `larger`, `smaller`
    """

    id: str
    band: str


class Relatives(NamedTuple):
    """Models around one, by id.

    siblings: the others of its family, smallest first
    predecessor, successor: the model of the family before and behind that is most like it
    twins: models with the same text weights
    compared: worth comparing: as large, a tier larger, a tier smaller
    """

    siblings: tuple[str, ...]
    predecessor: str | None
    successor: str | None
    twins: tuple[str, ...]
    compared: tuple[Compared, ...]


def relatives(model: ModelSpec) -> Relatives:
    """Everything around a bundled model; nothing around a stranger's."""
    models = index()
    own = models.get(model.id)
    if own is None or not own["parameters"]:
        return Relatives((), None, None, (), ())
    family = {name: entry for name, entry in models.items() if entry["family"] == model.family and name != model.id}
    return Relatives(
        siblings=tuple(sorted(family, key=lambda name: models[name]["parameters"] or 0)),
        predecessor=_neighbour(own, family, models, newer=False),
        successor=_neighbour(own, family, models, newer=True),
        twins=tuple(name for name, entry in models.items() if name == model.text_twin or entry["text_twin"] == model.id),
        compared=tuple(_compared(own, models)),
    )


def _neighbour(own: Mapping[str, Any], family: Mapping[str, Any], models: Mapping[str, Any], *, newer: bool) -> str | None:
    """The next newer or older model: as large in its own family, else the most alike of the nearest family that has one."""
    found = [name for name, entry in family.items() if _later(own, entry, newer=newer) and _ratio(own, entry) <= _SAME_SIZE and _alike(own, entry)]
    if found:
        return sorted(found, key=lambda name: str(models[name]["released"]), reverse=not newer)[0]
    for series in read("series"):
        if own["family"] not in series:
            continue
        place = series.index(own["family"])
        for other in series[place + 1 :] if newer else series[:place][::-1]:
            like = [name for name, entry in models.items() if entry["family"] == other and _alike(own, entry) and _ratio(own, entry) <= _LIKE_SIZE]
            if like:
                return min(like, key=lambda name: (_ratio(own, models[name]), name))
    return None


def _later(own: Mapping[str, Any], other: Mapping[str, Any], *, newer: bool) -> bool:
    return bool(other["released"] > own["released"] if newer else other["released"] < own["released"])


def _alike(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Both see, or neither does; and they are for the same use."""
    special = ("guard", "embedding")
    return ("vision" in own["modalities"]) == ("vision" in other["modalities"]) and all(
        (own["variant"] == kind) == (other["variant"] == kind) for kind in special
    )


def _ratio(own: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How many times larger the larger one is."""
    a, b = own["parameters"], other["parameters"] or 1
    return float(max(a, b) / min(a, b))


def _compared(own: Mapping[str, Any], models: Mapping[str, Any]) -> Iterator[Compared]:
    """One model of each other family, as large, and of a tier above and below: those that Ollama offers first, then the newest.

    Those of which there is only the checkpoint are left out: nothing that is priced runs them.
    """
    known = ((name, entry) for name, entry in models.items() if entry["parameters"] and entry["architecture"] in ARCHITECTURES)
    others = {name: entry for name, entry in known if entry["family"] != own["family"] and _alike(own, entry)}
    for band, count in _BANDS.items():
        names = sorted((name for name, entry in others.items() if _band(own, entry) == band), key=lambda name: _rank(others[name]), reverse=True)
        for name in _one_of_each_family(names, others)[:count]:
            yield Compared(name, band)


def _band(own: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    ratio = _ratio(own, other)
    if ratio <= _BAND:
        return _AS_LARGE
    return (_LARGER if other["parameters"] > own["parameters"] else _SMALLER) if ratio <= _TIER else None


def _rank(entry: Mapping[str, Any]) -> tuple[bool, str]:
    """Ollama's names have a colon: what it offers is what people run."""
    return any(":" in alias for alias in entry["aliases"]), str(entry["released"])


def _one_of_each_family(names: Iterable[str], models: Mapping[str, Any]) -> list[str]:
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(models[name]["family"], name)
    return list(first.values())
