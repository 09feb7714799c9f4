"""A cell's parts over the devices of its machine."""

from collections.abc import Sequence

from runlocal.core.machine import Machine, Origin
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, Basis, Kind, Part, gpu, need
from runlocal.core.report import Cell, MachineCheck
from runlocal.core.units import size_text

_LEAST_SURE_LAST = tuple(Basis)


class Row(NamedTuple):
    """A part over all devices.

    parts: one per device that has it
    """

    kind: Kind
    label: str
    parts: tuple[Part, ...]

    @property
    def basis(self) -> Basis:
        """The least sure of them."""
        return max((part.basis for part in self.parts), key=_LEAST_SURE_LAST.index)

    def on(self, device: str) -> int | None:
        """Bytes on `device`, None where it has none of it."""
        sizes = [part.bytes for part in self.parts if part.device == device]
        return sum(sizes) if sizes else None


def rows(cell: Cell) -> list[Row]:
    """The cell's parts by kind and label, kinds in their order; parts of no bytes are left out."""
    table: dict[tuple[Kind, str], list[Part]] = {}
    for part in cell.parts:
        if part.bytes:
            table.setdefault((part.kind, part.label), []).append(part)
    order = tuple(Kind)
    return [Row(kind, label, tuple(parts)) for (kind, label), parts in sorted(table.items(), key=lambda item: order.index(item[0][0]))]


def devices(cell: Cell, machine: Machine) -> list[str]:
    """The machine's GPUs, those that parts stand on beside them, then the host if anything does."""
    on = {part.device for part in cell.parts}
    gpus = dict.fromkeys(gpu(device.index) for device in machine.gpus) | dict.fromkeys(sorted(on - {HOST}, key=lambda name: (len(name), name)))
    return [*gpus, *([HOST] if HOST in on else [])]


def usable(device: str, machine: Machine) -> int | None:
    """Bytes that can be had on `device`, None where nothing limits it or it is not known."""
    if device == HOST:
        return machine.host_bytes
    if machine.origin is Origin.UNLIMITED:
        return None
    return next((one.usable_bytes for one in machine.gpus if gpu(one.index) == device), None)


def shares_host_memory(device: str, machine: Machine) -> bool:
    """Whether `device` is a GPU whose memory is the host's, so that what lies on the host lies there too."""
    return any(one.unified and gpu(one.index) == device for one in machine.gpus)


def left(device: str, cell: Cell, machine: Machine) -> int | None:
    """Usable less needed bytes of `device`, None where nothing limits it."""
    size = usable(device, machine)
    if size is None:
        return None
    return size - need(cell.parts, device) - (need(cell.parts, HOST) if shares_host_memory(device, machine) else 0)


def device_text(device: str) -> str:
    """`GPU 0`, `host`."""
    return HOST if device == HOST else f"GPU {device.removeprefix('gpu')}"


def layers_text(members: Sequence[str], cell: Cell) -> str:
    """`layers 0 to 36 and the output`, counted from 0, of neighbouring devices; empty where all is on one device or they hold none."""
    spread = cell.spread
    if spread is None:
        return ""
    there = [(first, behind - 1) for device, first, behind in spread.ranges if device in members]
    alone = len(spread.ranges) == 1 and spread.ranges[0][0] == spread.output
    found = [] if alone or not there else [f"layers {there[0][0]} to {there[-1][1]}" if there[0][0] != there[-1][1] else f"layer {there[0][0]}"]
    if spread.output in members and not alone:
        found.append("the output")
    if HOST in members and spread.host_experts and spread.ranges[-1][0] != HOST:
        found.append("the experts of " + (f"layers 0 to {spread.host_experts - 1}" if spread.host_experts > 1 else "layer 0"))
    if HOST in members and spread.cache_on_host and spread.ranges[-1][0] != HOST:
        found.append("the cache")
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)


def part_rows(found: MachineCheck) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    """The key in words, for Markdown: head (label, stands right) and rows."""
    cell, names = found.headline, devices(found.headline, found.machine)
    head = [("part", False), *((device_text(name), True) for name in names), ("how sure", False)]
    body = [[row.label, *(_size(row.on(name)) for name in names), row.basis.value] for row in rows(cell)]
    total = [["needed", *(size_text(need(cell.parts, name)) for name in names), ""]] if body else []
    return head, body + total


def _size(size: int | None) -> str:
    return "" if size is None else size_text(size)
