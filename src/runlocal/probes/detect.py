"""This computer, as the devices and memory that a model is judged against."""

import os
import sys
from importlib import import_module
from itertools import groupby
from typing import Protocol

from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.probes import host
from runlocal.probes.detected import DetectedGpu, Detection, Found, Host, Reading, Surroundings

# Order is that of the notes; a vendor's module is imported only when asked.
VENDORS = {
    "NVIDIA": "runlocal.probes.nvidia",
    "AMD": "runlocal.probes.amd",
    "Intel": "runlocal.probes.intel",
    "Apple": "runlocal.probes.apple",
    "AMD or Intel (Windows)": "runlocal.probes.windows",
}


class Vendor(Protocol):
    """What a vendor's module offers."""

    def read(self, surroundings: Surroundings, memory: Host, processes: bool) -> Found:
        """The vendor's devices. `processes`: also ask who holds their memory. Never raises for what the machine does."""


def detect(*, processes: bool = False, surroundings: Surroundings | None = None) -> Detection:
    """Reads this computer: its GPUs, and with `processes` also who holds their memory. Never raises; problems become sentences."""
    around = surroundings or Surroundings(environ=os.environ, platform=sys.platform)
    memory = host.read(around)
    found = [_ask(vendor, module, around, memory, processes) for vendor, module in VENDORS.items()]
    gpus, notes = _chosen([one.gpus for one in found])
    # That one vendor has no card here is news only where none has.
    absent, seen = tuple(one.absent for one in found if one.absent), any(gpu.visible_index is not None for gpu in gpus)
    return Detection(
        gpus=gpus,
        host=memory,
        notes=(*(note for one in found for note in one.notes), *(() if seen else absent), *notes),
        absent=absent if seen else (),
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


def readings(surroundings: Surroundings | None = None) -> tuple[Reading, ...]:
    """What every way of asking answers, raw, for a report of a fault: no names of users or files, and of serial numbers the beginning alone."""
    from runlocal.probes import doctor

    around = surroundings or Surroundings(environ=os.environ, platform=sys.platform)
    return doctor.readings(around, tuple(VENDORS.values()))


def _chosen(vendors: list[tuple[DetectedGpu, ...]]) -> tuple[tuple[DetectedGpu, ...], tuple[str, ...]]:
    """The devices that a model is judged on keep their `visible_index`: a program uses one vendor's, and its integrated one only without a card.

    llama.cpp takes an integrated GPU where it has no other: `llama_model_load_from_file_impl` in src/llama.cpp.
    """

    def usable(gpus: tuple[DetectedGpu, ...]) -> tuple[bool, int]:
        seen = [found for found in gpus if found.visible_index is not None and found.gpu is not None]
        own = [found for found in seen if not found.integrated]
        return bool(own), sum(found.gpu.usable_bytes for found in own or seen if found.gpu is not None)

    best = max(vendors, key=usable, default=())
    cards, most = usable(best)
    if not cards and not most:
        return tuple(found for gpus in vendors for found in gpus), ()
    judged = [found for found in best if found.visible_index is not None and found.gpu is not None and found.integrated != cards]
    judged.sort(key=lambda found: found.visible_index or 0)
    kept, notes = [], []
    for found in (found for gpus in vendors for found in gpus):
        if found in judged:
            kept.append(found._replace(visible_index=judged.index(found)))
        elif found.visible_index is None or found.gpu is None:
            kept.append(found)
        else:
            why = "programs leave an integrated GPU out where there is a card" if found.integrated and cards else "a program uses the GPUs of one maker"
            left_out = f"{found.name} is left out beside {judged[0].name}: {why}."
            kept.append(found._replace(visible_index=None, left_out=left_out))
            if not found.integrated:
                notes.append(left_out)
    return tuple(kept), tuple(notes)


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
