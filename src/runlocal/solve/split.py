"""Layers over the GPUs so that the fullest has most left."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from runlocal.core.load import Load
from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, gpu
from runlocal.core.verdict import headroom
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Judgeable

_ATTEMPTS = 6  # buffers follow the split a little, so that what was worked out from one split may be bettered from the next


class Laid(NamedTuple):
    """A workload on a placement, and what it takes."""

    workload: Workload
    placement: Placement
    load: Load


def lay(runtime: Judgeable, recipe: Recipe, workload: Workload, machine: Machine, *, rough: bool = False) -> Laid:
    """The workload as the runtime places it."""
    placement = runtime.placement(workload, machine)
    return Laid(workload, placement, runtime.load(recipe, workload, placement, machine, rough=rough))


def lay_best(runtime: Judgeable, recipe: Recipe, workload: Workload, machine: Machine, left_free: Sequence[int]) -> Laid:
    """As the runtime places it; where that leaves a GPU less than its reserve and nobody named a split, shared out so that the fullest has most left.

    left_free: bytes to leave free on each GPU
    """
    best = lay(runtime, recipe, workload, machine)
    least = _least_left(best, machine, left_free)
    count = best.placement.gpu_layers
    if len(machine.gpus) == 1 or workload.tensor_split is not None or not count or least >= 0:
        return best
    tried = {best.placement}
    for _ in range(_ATTEMPTS):
        sizes = runtime.layer_bytes(recipe, workload, best.placement)
        rooms = rooms_of(best, machine, sizes)
        if sum(rooms) < sum(sizes[len(sizes) - count :]):
            break  # together they are too small, however it is shared out
        laid = lay_by_rooms(runtime, recipe, workload, machine, [room - free for room, free in zip(rooms, left_free, strict=True)])
        if laid.placement in tried:
            break
        tried.add(laid.placement)
        if (left := _least_left(laid, machine, left_free)) > least:
            best, least = laid, left
    return best


def lay_by_rooms(runtime: Judgeable, recipe: Recipe, workload: Workload, machine: Machine, rooms: Sequence[int]) -> Laid:
    """The workload shared out by the bytes that each GPU has for layers, unless somebody named a split."""
    placement = runtime.placement(workload, machine)
    if len(machine.gpus) > 1 and workload.tensor_split is None and placement.gpu_layers:
        sizes = runtime.layer_bytes(recipe, workload, placement)
        placement = runtime.placement(workload, machine, share_out(sizes[len(sizes) - placement.gpu_layers :], rooms))
    return Laid(workload, placement, runtime.load(recipe, workload, placement, machine))


def rooms_of(laid: Laid, machine: Machine, sizes: Sequence[int]) -> list[int]:
    """Bytes that each GPU has for layers: what it has left, at the unsafe end of what is estimated, and what its layers take now.

    sizes: bytes of each layer and, last, of the output
    """
    held = dict.fromkeys((*laid.placement.devices(), HOST), 0)
    for device, size in zip((*laid.placement.layers, laid.placement.output), sizes, strict=True):
        held[device] += size
    free = zip(headroom(laid.load, machine), laid.load.gpu_margins, strict=True)
    return [left - margin + held[gpu(index)] for index, (left, margin) in enumerate(free)]


def even_left(laid: Laid, machine: Machine, sizes: Sequence[int], left_free: Sequence[int]) -> int:
    """What the fullest GPU would have left beyond its reserve with layers shared out evenly, beside the buffers that are there now.

    sizes: as of `rooms_of`
    """
    rooms = [room - free for room, free in zip(rooms_of(laid, machine, sizes), left_free, strict=True)]
    dealt, left, taken = share_out(sizes, rooms), [], 0
    for count, room in zip(dealt, rooms, strict=True):
        left.append(room - sum(sizes[taken : taken + count]))
        taken += count
    return min(left)


def share_out(sizes: Sequence[int], rooms: Sequence[int]) -> tuple[int, ...]:
    """How many of the layers each GPU gets, in order, so that the least that any of them has left is as much as can be.

    sizes: bytes of each layer; rooms: bytes that each GPU has for layers
    """
    least, most = min(rooms) - sum(sizes), max(rooms)  # the GPU with least room holds all; a GPU holds nothing
    while most - least > 1:
        middle = (least + most) // 2
        if sum(_dealt(sizes, rooms, middle)) == len(sizes):
            least = middle
        else:
            most = middle
    return _dealt(sizes, rooms, least)


def go_in(sizes: Sequence[int], rooms: Sequence[int]) -> bool:
    """Whether the layers can be shared out so that each GPU has room for its own."""
    return sum(_dealt(sizes, rooms, 0)) == len(sizes)


def _dealt(sizes: Sequence[int], rooms: Sequence[int], left: int) -> tuple[int, ...]:
    """Layers of each GPU where each takes as many as leave it `left` bytes; fewer than all where that is too much to ask."""
    ends, counts, taken = list(accumulate(sizes, initial=0)), [], 0
    for room in rooms:
        end = max(taken, bisect_right(ends, ends[taken] + room - left) - 1)
        counts.append(end - taken)
        taken = end
    return tuple(counts)


def fill_up(sizes: Sequence[int], rooms: Sequence[int]) -> int:
    """How many of the layers fit, from the last one on: the last GPU takes what it can hold, then the one before."""
    count = 0
    for room in reversed(rooms):
        while count < len(sizes) and sizes[-1 - count] <= room:
            room -= sizes[-1 - count]
            count += 1
    return count


def _least_left(laid: Laid, machine: Machine, left_free: Sequence[int]) -> int:
    """What the fullest GPU has left beyond its reserve, at the unsafe end of what is estimated."""
    free = zip(headroom(laid.load, machine), laid.load.gpu_margins, left_free, strict=False)
    return min((left - margin - reserve for left, margin, reserve in free), default=0)
