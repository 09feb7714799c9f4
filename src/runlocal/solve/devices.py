"""Cards of an inventory as devices that a model can be judged on."""

from runlocal.catalog.gpu_entries import GpuEntry
from runlocal.catalog.gpu_names import canonical
from runlocal.catalog.gpus import cards, entry, look_up, match_driver, unlisted_context, unlisted_reserve
from runlocal.catalog.machines import parse_machine
from runlocal.core.errors import Problem
from runlocal.core.fleet import Card
from runlocal.core.machine import Gpu
from runlocal.core.noun import NamedTuple
from runlocal.core.units import gib, size_text

_FORM_FACTORS = (" OAM", " Accelerator")


class Device(NamedTuple):
    """What a card is taken for.

    gpu: the device, without what processes hold of it
    label: as people call it
    alone: a process has it and nothing beside it: a MIG slice, a unified-memory machine
    notes: what the reader should know of it, a sentence each
    """

    gpu: Gpu
    label: str
    alone: bool
    notes: tuple[str, ...] = ()


def device(card: Card) -> Device | None:
    """The card by its name and memory, by its memory alone where the catalogue has no such card; None where neither says how large it is."""
    known = _entry(card.name, None if card.profile else card.memory_bytes)
    found = None
    if known is not None:
        found = _slice(known, card) if card.profile else _listed(known, card)
    if found is None and card.memory_bytes:
        found = _unlisted(card)
    if found is None or card.reserved_bytes is None:
        return found
    return found._replace(gpu=found.gpu._replace(reserved_bytes=card.reserved_bytes))


def _listed(known: GpuEntry, card: Card) -> Device:
    machine = parse_machine(known.id)
    gpu = machine.gpus[0]._replace(index=0)
    notes = machine.notes
    if card.memory_bytes and not card.nominal:
        gpu = gpu._replace(memory_bytes=card.memory_bytes)
    elif not card.memory_bytes:
        notes = (*known.notes, *notes)
    return Device(gpu, known.name, known.unified, notes)


def _slice(known: GpuEntry, card: Card) -> Device | None:
    profile = (card.profile or "").partition("+")[0]
    if all(one.name != profile for one in known.mig):
        return None
    machine = parse_machine(f"{known.id}:{profile}")
    gpu, notes = machine.gpus[0], machine.notes
    if card.memory_bytes:
        gpu, notes = gpu._replace(memory_bytes=card.memory_bytes), ()
    return Device(gpu, f"{known.name} {card.profile}", True, (*known.notes, *notes))


def _unlisted(card: Card) -> Device:
    memory = card.memory_bytes or 0
    name = f"{card.name} {card.profile or ''}".strip() or "GPU"
    reserve = 0 if card.profile else unlisted_reserve(memory)
    assumed = f"; the driver's reserve of {size_text(reserve)} is assumed" if reserve and card.reserved_bytes is None else ""
    gpu = Gpu(
        index=0, id=None, name=name, memory_bytes=memory, reserved_bytes=reserve, context_bytes=unlisted_context(memory), backend=card.backend
    )  # fmt: skip
    return Device(
        gpu, f"{name} ({gib(memory)})", card.profile is not None, (f"{name} is not in the catalogue: it is judged by its {gib(memory)} of memory{assumed}.",)
    )


def _entry(name: str, memory_bytes: int | None) -> GpuEntry | None:
    """The product of that name whose memory is near; None where name and memory do not settle it."""
    if not name:
        return None
    if memory_bytes and (read := match_driver(name, memory_bytes)):
        return read
    for suffix in _FORM_FACTORS:
        name = name.removesuffix(suffix)
    try:
        found = look_up(name)
        candidates = [found] if found else []
    except Problem as problem:
        candidates = [entry(one) for one in problem.candidates] if memory_bytes else []
    if memory_bytes is None:
        return candidates[0] if candidates else None
    near = [one for one in candidates if _near(one, memory_bytes)] or _of_name(name, memory_bytes)
    return near[0] if len(near) == 1 else None


def _of_name(name: str, memory_bytes: int) -> list[GpuEntry]:
    """Cards whose driver's name is the same in other spelling, those nearest in memory."""
    wanted = canonical(name)
    near = [one for one in cards() if _near(one, memory_bytes) and any(canonical(driver) == wanted for driver in one.driver_names)]
    least = min((abs(one.memory_bytes - memory_bytes) for one in near), default=0)
    return [one for one in near if abs(one.memory_bytes - memory_bytes) == least]


def _near(known: GpuEntry, memory_bytes: int) -> bool:
    """Within an eighth, as `match_driver` has it."""
    return abs(known.memory_bytes - memory_bytes) * 8 <= known.memory_bytes
