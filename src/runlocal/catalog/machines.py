"""Machines that are not here, from what people type: `--gpu 2x3090`, `--gpu a100-80:1g.10gb`, `--vram 24GB+12GB`."""

import re

from runlocal.catalog.gpu_entries import GpuEntry, MigProfile
from runlocal.catalog.gpus import find_gpu, look_up
from runlocal.core.errors import Code, Problem
from runlocal.core.machine import MOST_DEVICES, Gpu, Machine, Origin
from runlocal.core.noun import NamedTuple
from runlocal.core.units import GIB, gib, parse_size, size_text

_LONGEST_SPEC = 400
# Patterns are compiled where they are used: a plain name pays for none.
_COUNT_FIRST = r"(-?\d{1,6})\s*[x×*]\s*(.+)"
_COUNTED_SIZE = r"(-?\d{1,6})\s*[x×*]\s*(\d.*)"
_COUNT_LAST = r"(.+?)\s*[x×*]\s*(-?\d{1,6})"
_FLAGS = re.IGNORECASE | re.ASCII
# The one product whose name has a plus sign in it: Ryzen AI Max+ 395.
_PLUS_IN_NAME = r"max\+(?=\s*(?:pro\s*)?3\d\d)"
_SPEC_HINT = 'write "RTX 4090", 2x3090, 5090+3090, m4-max-64 or a100-80:1g.10gb'


class _Group(NamedTuple):
    times: int
    entry: GpuEntry
    slice: MigProfile | None


def parse_machine(spec: str) -> Machine:
    """The machine that `--gpu SPEC` names: cards joined by `+`, each with an optional count before or after it, a MIG profile after a colon.

    A whole name wins over a count: `1080 ti` is a card. `cpu` is a machine without a GPU.

    Raises Problem(BAD_VALUE) for a malformed spec and Problem(UNKNOWN_GPU) for a name
    that is not in the catalogue or does not settle which card is meant.
    """
    if spec.strip().lower() == "cpu":
        return Machine(origin=Origin.NAMED, label="CPU only", gpus=())
    if "," in spec:
        words = [word for word in map(str.strip, _bounded(spec).split(",")) if word]
        told = f"several machines side by side: --gpu {' --gpu '.join(words)}; one machine with all of them: {'+'.join(words)}" if words else _SPEC_HINT
        raise Problem(Code.BAD_VALUE, f"{spec[:80]!r}: a comma does not separate GPUs", hint=told)
    text = re.sub(_PLUS_IN_NAME, "max ", _bounded(spec), flags=_FLAGS) if "+" in spec else _bounded(spec)
    groups = [_group(part.strip(), spec) for part in text.split("+")]
    gpus: list[Gpu] = []
    for group in groups:
        devices = 1 if group.slice else group.entry.devices
        for _ in range(group.times * devices):
            gpus.append(_slice(group.entry, group.slice) if group.slice else group.entry.gpu(len(gpus)))
            _check_count(len(gpus), spec)
    if len(gpus) > 1 and any(group.slice for group in groups):
        raise Problem(Code.BAD_VALUE, f"{spec!r}: one process can use one MIG slice, and nothing beside it", hint="name a single slice, or whole cards")
    if len(gpus) > 1 and any(group.entry.vendor == "apple" for group in groups):
        raise Problem(Code.BAD_VALUE, f"{spec!r}: a Mac has one GPU, which cannot be joined with others", hint="repeat --gpu to compare machines side by side")
    return Machine(
        origin=Origin.NAMED,
        label=" + ".join(_label(group) for group in groups),
        gpus=tuple(gpus),
        notes=tuple(dict.fromkeys(note for group in groups for note in _notes(group))),
    )


def parse_budget(text: str) -> Machine:
    """The machine of `--vram SIZE`: devices of exactly that usable size, `24`, `81559MiB`, `2x24GB`, `24GB+12GB`. Raises Problem(BAD_VALUE)."""
    sizes: list[int] = []
    labels: list[str] = []
    for part in _bounded(text).split("+"):
        match = re.fullmatch(_COUNTED_SIZE, part.strip(), _FLAGS)
        count = _counted(int(match[1]), text) if match else 1
        try:
            size = parse_size(match[2] if match else part)
        except ValueError as error:
            raise Problem(Code.BAD_VALUE, f"--vram: {error}", hint="so many of a size: 2x24GB; several sizes: 24GB+12GB") from None
        sizes += [size] * count
        _check_count(len(sizes), text)
        labels.append(_times(count, _size_label(size)))
    gpus = tuple(Gpu(index=index, id=None, name=f"{_size_label(size)} budget", memory_bytes=size) for index, size in enumerate(sizes))
    return Machine(origin=Origin.BUDGET, label=" + ".join(labels), gpus=gpus)


def _bounded(text: str) -> str:
    if not text.strip():
        raise Problem(Code.BAD_VALUE, "an empty text names no machine", hint=_SPEC_HINT)
    if len(text) > _LONGEST_SPEC:
        raise Problem(Code.BAD_VALUE, f"{text[:40]!r}… is too long to name a machine", hint=_SPEC_HINT)
    return text


def _group(part: str, spec: str) -> _Group:
    if not part:
        raise Problem(Code.BAD_VALUE, f"{spec!r} has a + with nothing beside it", hint=_SPEC_HINT)
    name, colon, profile = part.partition(":")
    count, entry = _counted_entry(name.strip(), spec)
    return _Group(count, entry, _mig(entry, profile.strip()) if colon else None)


def _counted_entry(text: str, spec: str) -> tuple[int, GpuEntry]:
    """How many of which card. Where the text is no name, the split whose rest is a name counts: 2x3090, 3090x2."""
    whole = look_up(text)
    if whole is not None:
        return 1, whole
    first, last = re.fullmatch(_COUNT_FIRST, text, _FLAGS), re.fullmatch(_COUNT_LAST, text, _FLAGS)
    splits = [(int(match[count]), match[name]) for match, count, name in ((first, 1, 2), (last, 2, 1)) if match]
    for count, name in splits:
        entry = look_up(name)
        if entry is not None:
            return _counted(count, spec), entry
    return 1, find_gpu(first[2] if first else text)


def _counted(count: int, spec: str) -> int:
    if count < 1:
        raise Problem(Code.BAD_VALUE, f"{spec!r}: {count} cards are no machine", hint="leave the count out for one card, or write 2x and up")
    _check_count(count, spec)
    return count


def _check_count(count: int, spec: str) -> None:
    if count > MOST_DEVICES:
        raise Problem(Code.BAD_VALUE, f"{spec[:80]!r} names more than {MOST_DEVICES} devices, the most in one machine", hint=_SPEC_HINT)


def _mig(entry: GpuEntry, name: str) -> MigProfile:
    if not entry.mig:
        raise Problem(Code.BAD_VALUE, f"{entry.name} cannot be cut into MIG slices", hint="name the card alone")
    for profile in entry.mig:
        if profile.name == name.casefold():
            return profile
    known = tuple(f"{entry.id}:{profile.name}" for profile in entry.mig)
    raise Problem(Code.BAD_VALUE, f"{entry.name} has no MIG profile {name[:40]!r}", hint=f"it has {', '.join(p.name for p in entry.mig)}", candidates=known)


def _slice(entry: GpuEntry, profile: MigProfile) -> Gpu:
    """A MIG slice as a device. Its size is what the slice reports, the card's reserve is outside it; its share of the bandwidth is not known."""
    return entry.gpu(0)._replace(
        id=f"{entry.id}:{profile.name}",
        name=f"{entry.driver_names[0]} MIG {profile.name}",
        memory_bytes=profile.memory_bytes,
        reserved_bytes=0,
        context_bytes=profile.context_bytes,
        context_measured=False,
        bandwidth_bytes=None,
    )


def _label(group: _Group) -> str:
    name = f"{group.entry.name} {group.slice.name}" if group.slice else group.entry.name
    return _times(group.times, name)


def _times(count: int, name: str) -> str:
    return name if count == 1 else f"{count} × {name}"


def _size_label(size: int) -> str:
    return size_text(size) if size % GIB else f"{size // GIB} GiB"


def _notes(group: _Group) -> tuple[str, ...]:
    """What of the machine's figures is assumed, and how a name with several meanings was read."""
    entry, notes = group.entry, list(group.entry.notes)
    if group.slice:
        if group.slice.memory_assumed:
            notes.append(f"The memory of a {group.slice.name} slice of {entry.name} is assumed from its name ({gib(group.slice.memory_bytes)}).")
        return tuple(notes)
    if entry.vendor == "apple":
        how = "by default since macOS 26" if entry.reserved_basis == "measured" else "by default (assumed: this size was not read under macOS 26)"
        notes.append(f"{entry.name}: macOS lets the GPU use {gib(entry.usable_bytes)} {how}; `sysctl iogpu.wired_limit_mb` changes it.")
        return tuple(notes)
    if entry.unified and group.times > 1:
        notes.append(f"{group.times} × {entry.name} are {group.times} machines: the answer holds only where the runtime spans a network.")
    if entry.unified:
        notes.append(f"{entry.name}: the memory is the system's own; {gib(entry.usable_bytes)} of it is the most that the GPU is taken to get.")
    elif entry.memory_basis == "nominal":
        notes.append(f"{entry.name}: the memory is the size on the box; what its driver reports was not found.")
    if entry.reserved_basis == "assumed":
        notes.append(f"{entry.name}: the driver's reserve of {size_text(entry.reserved_bytes)} is assumed, not measured.")
    return tuple(notes)
