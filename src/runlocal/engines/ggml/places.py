"""Where the tensors of a graph lie in the compute buffers (ggml_dyn_tallocr in llama.cpp's ggml/src/ggml-alloc.c): best fit among the free blocks.

https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-alloc.c
"""

from collections.abc import Iterable, Sequence

from runlocal.core.noun import NamedTuple

_ENDLESS = 1 << 62

# Memory taken or given back: number of the region, in the order of taking; buffer; taken, or else given back; bytes; how many bytes into the region
# what is given back starts. What happens when follows from the graph alone, not from addresses. A plain tuple: there are ten thousands of them.
Event = tuple[int, int, bool, int, int]


class Stretch(NamedTuple):
    """A repeat in terms of events.

    start, end: events[start:end]
    first, regions: the regions from `first` on, so many of them, begin in the stretch
    times: how often it follows itself
    """

    start: int
    end: int
    first: int
    regions: int
    times: int


class Timeline(NamedTuple):
    """When the tensors of a graph come and go, and how large they are: all that their places follow from.

    events: in order
    stretches: of events that stand for more of their kind
    alignments: of each buffer, in bytes
    """

    events: list[Event]
    stretches: tuple[Stretch, ...]
    alignments: tuple[int, ...]

    def recurring(self, times: tuple[int, ...]) -> "Timeline":
        """The same, with stretches that follow themselves so often."""
        return self._replace(stretches=tuple(stretch._replace(times=often) for stretch, often in zip(self.stretches, times, strict=True)))


class Blocks:
    """The free blocks of one buffer that grows as needed (ggml_dyn_tallocr with one chunk).

    alignment: bytes that every size is rounded up to
    peak_bytes: the highest address ever given out
    """

    __slots__ = ("_offsets", "_sizes", "alignment", "peak_bytes")

    def __init__(self, alignment: int) -> None:
        self.alignment = alignment
        self.peak_bytes = 0
        self._offsets = [0]
        self._sizes = [_ENDLESS]

    def state(self) -> tuple[int, ...]:
        """The free blocks, as something to compare."""
        return (*self._offsets, *self._sizes)

    def take(self, size_bytes: int) -> int:
        """The offset of a new region: in the smallest free block that holds it, the last of equals; else at the end."""
        size = -(-size_bytes // self.alignment) * self.alignment
        offsets, sizes = self._offsets, self._sizes
        best = len(sizes) - 1
        best_size = _ENDLESS
        for index in range(best):
            if size <= sizes[index] <= best_size:
                best, best_size = index, sizes[index]
        offset = offsets[best]
        if sizes[best] == size:
            del offsets[best], sizes[best]
        else:
            offsets[best] += size
            sizes[best] -= size
        if offset + size > self.peak_bytes:
            self.peak_bytes = offset + size
        return offset

    def give_back(self, offset: int, size_bytes: int) -> None:
        """Frees a region and joins it to a free neighbour.

        Nothing at all is given back as a block too, and can keep its neighbours apart. Such a block stays where it is in the list while the
        one before it shrinks from below, so the list is not always in order, and any block of it can be the neighbour.
        """
        size = -(-size_bytes // self.alignment) * self.alignment
        offsets, sizes = self._offsets, self._sizes
        for place, start in enumerate(offsets):
            if start + sizes[place] == offset:
                sizes[place] += size
                if place + 1 < len(offsets) and offsets[place + 1] == offset + size:
                    sizes[place] += sizes[place + 1]
                    del offsets[place + 1], sizes[place + 1]
                return
            if start == offset + size:
                offsets[place] = offset
                sizes[place] += size
                if place and offsets[place - 1] + sizes[place - 1] == offset:
                    sizes[place - 1] += sizes[place]
                    del offsets[place], sizes[place]
                return
        place = next((place for place, start in enumerate(offsets) if start >= offset), len(offsets))
        offsets.insert(place, offset)
        sizes.insert(place, size)


def fill(found: Timeline, rounds: list[tuple[int, int]] | None = None) -> tuple[int, ...]:
    """Bytes of every buffer once everything has had its place (ggml_gallocr_reserve).

    rounds: filled with (from how many times on, length) of the rounds in which addresses recur in each repeat; (0, 0) where they did not
    """
    events = found.events
    buffers = [Blocks(alignment) for alignment in found.alignments]
    offsets: dict[int, int] = {}
    # (own, shift): regions numbered from `own` on are meant `shift` further; the last pair that applies counts.
    shifts = [(0, 0)]
    done = 0
    for start, end, first, count, often in found.stretches:
        _replay(events[done:end], buffers, offsets, shifts)
        stretch = events[start:end]
        given_back = {region for region, _, taken, _, _ in stretch if not taken}
        carried = [region for region, _, taken, _, _ in stretch if taken and region not in given_back]
        shift = shifts[-1][1]
        seen: dict[object, int] = {}
        turn, times, recurring = 0, often, (0, 0)
        while turn < times:
            turn += 1
            # What the stretch takes over from the one before it moves along with it.
            _replay(stretch, buffers, offsets, [*shifts, (first - count, shift + turn * count)])
            state = (*(offsets[region + shift + turn * count] for region in carried), *(blocks.state() for blocks in buffers))
            if state in seen:
                # From here on addresses recur; whole rounds can be left out.
                recurring = (turn, turn - seen[state])
                times = turn + (times - turn) % recurring[1]
                seen.clear()
            else:
                seen[state] = turn
        if rounds is not None:
            rounds.append(recurring)
        shifts.append((first, shift + times * count))
        done = end
    _replay(events[done:], buffers, offsets, shifts)
    return tuple(blocks.peak_bytes for blocks in buffers)


def _replay(events: Iterable[Event], buffers: Sequence[Blocks], offsets: dict[int, int], shifts: Sequence[tuple[int, int]]) -> None:
    """Takes and gives back, with every region renumbered by `shifts`."""
    (own, latest), earlier = shifts[-1], shifts[-2::-1]
    for region, buffer, taken, size, skipped in events:
        number = region + (latest if region >= own else next((shift for start, shift in earlier if region >= start), 0))
        if taken:
            offsets[number] = buffers[buffer].take(size)
        else:
            buffers[buffer].give_back(offsets[number] + skipped, size)


class Growth(NamedTuple):
    """Two layouts of a graph that differ in nothing but sizes, and by how much.

    low: the smaller one
    by_step: what each event's sizes gain with a step, of `Event`'s bytes and of the bytes that are skipped
    """

    low: Timeline
    by_step: list[tuple[int, int]]


def growth(low: Timeline, high: Timeline, steps: int) -> Growth | None:
    """How `low` becomes `high` in so many steps. None where other things come and go, or sizes do not gain whole bytes with every step."""
    if low.stretches != high.stretches or len(low.events) != len(high.events):
        return None
    gained = []
    for (*what, size, skipped), (*other, more, further) in zip(low.events, high.events, strict=True):
        if what != other or (more - size) % steps or (further - skipped) % steps:
            return None
        gained.append(((more - size) // steps, (further - skipped) // steps))
    return Growth(low, gained)


def grown(growing: Growth, steps: int) -> Timeline:
    """The layout after so many steps."""
    events = [
        (region, buffer, taken, size + more * steps, skipped + further * steps)
        for (region, buffer, taken, size, skipped), (more, further) in zip(growing.low.events, growing.by_step, strict=True)
    ]
    return growing.low._replace(events=events)
