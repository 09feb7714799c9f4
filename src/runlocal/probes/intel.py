"""Intel GPUs, through the files of the kernel drivers xe and i915.

https://docs.kernel.org/gpu/xe/, https://docs.kernel.org/gpu/drm-usage-stats.html. Neither driver says without root how much is in use.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from runlocal.core.machine import Backend, Gpu
from runlocal.core.units import GIB, gib
from runlocal.probes.detected import DetectedGpu, Found, Host, Reading, Surroundings
from runlocal.probes.sysfs import LARGEST_BYTES, Card, Holdings, cards, holdings, named
from runlocal.probes.text import read_int, read_text

_VENDOR = "8086"
_MOST_TILES = 16
_SELECTOR = "ONEAPI_DEVICE_SELECTOR"
_REGIONS = ("vram", "local")  # xe's and i915's names of a card's own memory


def read(surroundings: Surroundings, memory: Host, processes: bool) -> Found:
    """Every Intel GPU here. `processes`: also say who holds their memory. Never raises for what the driver does."""
    if surroundings.platform != "linux":
        return Found()
    listed = cards(surroundings.sys, _VENDOR)
    sizes = [_memory(card) for card in listed]
    held = holdings(surroundings.proc) if any(sizes) else Holdings(by_card={})
    gpus = [_card(card, index, size, held, surroundings, processes) for index, (card, size) in enumerate(zip(listed, sizes, strict=True))]
    numbered, notes = _number_visible(tuple(gpus), surroundings.environ)
    return Found(gpus=numbered, notes=notes)


def readings(surroundings: Surroundings) -> Iterator[Reading]:
    """What the drivers' files hold."""
    for card in cards(surroundings.sys, _VENDOR):
        way = f"sysfs card{card.number}"
        yield Reading(way, "device", f"{_VENDOR}:{card.pci_device} revision {card.pci_revision}, driver {card.driver}, renderD{card.render_minor}")
        for path in _size_files(card):
            yield Reading(way, str(path.relative_to(card.device)), (read_text(path, 128) or "not readable").strip())
        used = _in_use(card, surroundings.sys)
        yield Reading(way, "debugfs vram_mm usage", "not readable" if used is None else str(used))


def _size_files(card: Card) -> list[Path]:
    """xe has a file per tile, i915 one per card; integrated graphics have none."""
    tiles = sorted(card.device.glob("tile[0-9]*/physical_vram_size_bytes"))[:_MOST_TILES]
    return tiles or sorted(card.device.glob("drm/card[0-9]*/lmem_total_bytes"))[:1]


def _memory(card: Card) -> int:
    """Bytes of memory of its own; 0 without any."""
    return sum(read_int(path) or 0 for path in _size_files(card))


def _card(card: Card, index: int, total: int, held: Holdings, surroundings: Surroundings, processes: bool) -> DetectedGpu:
    found = DetectedGpu(
        driver_index=index,
        name=f"Intel GPU {card.pci_device}",
        gpu=None,
        found_by=f"sysfs ({card.driver or 'no driver'})",
        pci=("intel", card.pci_device, card.pci_revision),
        integrated=total == 0,
    )
    subject = f"GPU {index} ({found.name})"
    if total == 0:
        return found._replace(problem=f"{subject}: it has no memory of its own; a model is judged on the processor and its memory, which it shares.")
    if total > LARGEST_BYTES:
        return found._replace(problem=f"{subject}: the driver reports memory figures that cannot be; update the kernel.")
    by_process = held.of(card.address, *_REGIONS)
    # Level Zero offers 15473 of an A770's 16256 MiB: https://github.com/intel/compute-runtime/issues/586
    reserved = min(total // 20, GIB)
    notes = [f"{subject}: the driver does not say what it keeps; {gib(reserved)} is assumed."]
    used = _in_use(card, surroundings.sys)
    if used is None:
        in_use = min(total - reserved, sum(by_process.values()))
        notes.append(f"{subject}: {card.driver} says how much is in use to root alone; {gib(in_use)} is what the processes we may look at hold.")
    else:
        in_use = max(0, min(used, total) - reserved)  # the driver's own part is in the figure
    gpu = Gpu(index=index, id=None, name=found.name, memory_bytes=total, reserved_bytes=reserved, in_use_bytes=in_use, backend=Backend.SYCL)
    node = surroundings.dev / f"dri/renderD{card.render_minor}"
    if not os.path.exists(node):
        notes.append(f"{subject}: the device {node.name} is not here, so programs cannot use it; to a container hand --device /dev/dri.")
    return found._replace(gpu=gpu, notes=tuple(notes), processes=named(surroundings.proc, by_process) if processes else None)


def _in_use(card: Card, root: Path) -> int | None:
    """Bytes in use over all tiles, which xe tells root: `size: 8522825728`, `usage: 32079872` (https://github.com/flightlessmango/MangoHud/issues/1936)."""
    found = []
    for path in sorted((root / "kernel/debug/dri" / card.address).glob("tile[0-9]*/vram_mm"))[:_MOST_TILES]:
        usage = re.search(r"^\s*usage: (\d{1,18})$", read_text(path, 1 << 14) or "", re.MULTILINE)
        if usage is None:
            return None
        found.append(int(usage[1]))
    return sum(found) if found else None


def _number_visible(gpus: tuple[DetectedGpu, ...], environ: Mapping[str, str]) -> tuple[tuple[DetectedGpu, ...], tuple[str, ...]]:
    """`gpus` with `visible_index`; of ONEAPI_DEVICE_SELECTOR the form `level_zero:0,1` is read, any other is said not to be."""
    places = [place for place, gpu in enumerate(gpus) if gpu.gpu is not None]
    setting = environ.get(_SELECTOR)
    notes: tuple[str, ...] = ()
    if setting and places:
        plain = re.fullmatch(r"(?:level_zero|opencl|\*):(\*|gpu|\d{1,3}(?:,\d{1,3})*)", setting)
        if plain is None:
            notes = (f"{_SELECTOR} is {setting[:60]!r}, which runlocal does not read: all Intel GPUs are counted.",)
        elif plain[1] not in ("*", "gpu"):
            places = [places[int(entry)] for entry in dict.fromkeys(plain[1].split(",")) if int(entry) < len(places)]
    numbers = {place: index for index, place in enumerate(places)}
    return tuple(gpu._replace(visible_index=numbers.get(place)) for place, gpu in enumerate(gpus)), notes
