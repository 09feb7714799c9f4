"""This computer, as the devices and memory that a model is judged against."""

import os
import sys
from importlib import import_module
from itertools import groupby
from typing import Protocol

from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.probes import host
from runlocal.probes.detected import Detection, Found, Host, Surroundings

# Order is that of the notes; a vendor's module is imported only when asked.
VENDORS = {"NVIDIA": "runlocal.probes.nvidia"}


class Vendor(Protocol):
    """What a vendor's module offers."""

    def read(self, surroundings: Surroundings, memory: Host, processes: bool) -> Found:
        """The vendor's devices. `processes`: also ask who holds their memory. Never raises for what the machine does."""


def detect(*, processes: bool = False, surroundings: Surroundings | None = None) -> Detection:
    """Reads this computer: its GPUs, and with `processes` also who holds their memory. Never raises; problems become sentences."""
    around = surroundings or Surroundings(environ=os.environ, platform=sys.platform)
    memory = host.read(around)
    found = [_ask(vendor, module, around, memory, processes) for vendor, module in VENDORS.items()]
    return Detection(
        gpus=tuple(gpu for one in found for gpu in one.gpus),
        host=memory,
        notes=tuple(note for one in found for note in one.notes),
        driver_version=next((one.driver_version for one in found if one.driver_version), None),
        cuda_version=next((one.cuda_version for one in found if one.cuda_version), None),
    )


def machine(detection: Detection) -> Machine:
    """The machine that a program started here would run on: the visible devices and the memory that is available now."""
    gpus = detection.visible
    seen = (note for found in detection.gpus if found.visible_index is not None for note in found.notes)
    return Machine(
        origin=Origin.HERE,
        label=_label(gpus) if gpus else detection.host.cpu or "CPU",
        gpus=gpus,
        host_bytes=detection.host.total_bytes if detection.host.available_bytes is None else detection.host.available_bytes,
        notes=tuple(dict.fromkeys((*detection.notes, *detection.host.notes, *(found.problem for found in detection.gpus if found.problem), *seen))),
    )


def _ask(vendor: str, module: str, around: Surroundings, memory: Host, processes: bool) -> Found:
    try:
        probe: Vendor = import_module(module)
        return probe.read(around, memory, processes)
    except Exception as error:  # noqa: BLE001 - a fault in one vendor's probe must not hide another vendor's cards
        return Found(notes=(f"Reading {vendor} GPUs failed, which is a fault in runlocal: {type(error).__name__} in {module}.",))


def _label(gpus: tuple[Gpu, ...]) -> str:
    """`2 x RTX 3090 + RTX 4090`."""
    parts = []
    for name, group in groupby(gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ") for gpu in gpus):
        count = len(list(group))
        parts.append(f"{count} x {name}" if count > 1 else name)
    return " + ".join(parts)
