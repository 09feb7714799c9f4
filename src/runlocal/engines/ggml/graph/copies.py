"""Graphs that differ in nothing but the bytes of the weights that are copied: laid out once, for all quantizations of a model."""

from collections.abc import Hashable, Mapping

from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.places import Timeline

Weights = Mapping[tuple[str, int | None], int]

_MARK = 1 << 60  # no tensor is so large: bytes from here on are the number of a weight


class Template(NamedTuple):
    """A graph whose copies of weights have numbers for sizes.

    events: when its tensors come and go
    marked: indices of the events of such copies
    """

    events: Timeline
    marked: tuple[int, ...]

    def filled(self, weight_bytes: Weights) -> Timeline:
        """The same with the bytes of these weights, which come in the order of those it was marked with."""
        sizes, events = tuple(weight_bytes.values()), list(self.events.events)
        for index in self.marked:
            region, buffer, taken, size, skipped = events[index]
            events[index] = region, buffer, taken, sizes[size - _MARK], skipped
        return self.events._replace(events=events)


Templates = dict[Hashable, Template | None]


def marked(weight_bytes: Weights) -> Weights:
    """The number of each weight in place of its bytes."""
    return {weight: _MARK + number for number, weight in enumerate(weight_bytes)}


def template(laid: Timeline, weights: int) -> Template | None:
    """What was laid out with `marked` sizes of so many weights; None where a copy's memory was taken over in part, which follows from its bytes."""
    found = [index for index, (*_, size, _) in enumerate(laid.events) if size > _MARK >> 1]
    whole = all(_MARK <= laid.events[index][3] < _MARK + weights and not laid.events[index][4] for index in found)
    skipped = any(event[4] > _MARK >> 1 for event in laid.events)
    return Template(laid, tuple(found)) if whole and not skipped else None
