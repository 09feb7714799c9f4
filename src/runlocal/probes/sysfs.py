"""Cards as Linux lists them in sysfs, and who holds their memory as drivers write it into fdinfo.

https://docs.kernel.org/gpu/drm-usage-stats.html
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from runlocal.core.noun import NamedTuple
from runlocal.core.units import GIB, KIB, MIB
from runlocal.probes import commandline
from runlocal.probes.detected import Process
from runlocal.probes.text import clean, read_text

LARGEST_BYTES = 1 << 50  # beyond it a figure is none
_MOST_CARDS, _MOST_PROCESSES, _MOST_FILES = 256, 1 << 16, 1 << 12
_UNITS = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
# Display controllers and processing accelerators (AMD Instinct); a card's sound and USB parts are not cards.
_CLASSES = ("0x03", "0x12")


class Card(NamedTuple):
    """A card that a kernel driver has taken.

    number: of `/sys/class/drm/card0`
    device: its PCI device's folder
    address: `0000:03:00.0`
    pci_device, pci_revision: hexadecimal digits in upper case, `744C` and `C8`
    driver: `amdgpu`; None where not known
    render_minor: number of its render node, 128 of `/dev/dri/renderD128`; None without one
    """

    number: int
    device: Path
    address: str
    pci_device: str
    pci_revision: str
    driver: str | None
    render_minor: int | None


def cards(root: Path, vendor: str) -> tuple[Card, ...]:
    """The cards of the PCI vendor, `1002`, by number. A card with several nodes is listed once."""
    found: dict[str, Card] = {}
    for folder in (root / "class/drm").glob("card[0-9]*"):
        device = folder / "device"
        if re.fullmatch(r"card\d{1,4}", folder.name) and _digits(device / "vendor") == vendor:
            place, number = os.path.realpath(device), int(folder.name[4:])
            if place not in found or number < found[place].number:
                found[place] = _card(number, Path(place))
    return tuple(sorted(found.values(), key=lambda card: card.number)[:_MOST_CARDS])


def without_driver(root: Path, vendor: str) -> bool:
    """Whether a display device of that vendor is on the bus that no driver has taken."""
    for device in (root / "bus/pci/devices").glob("*"):
        if _digits(device / "vendor") == vendor and (read_text(device / "class", 64) or "").startswith(_CLASSES) and not os.path.exists(device / "driver"):
            return True
    return False


def _card(number: int, device: Path) -> Card:
    uevent = read_text(device / "uevent", 4096) or ""
    driver, slot = (re.search(rf"^{key}=([\w.:-]{{1,64}})$", uevent, re.MULTILINE) for key in ("DRIVER", "PCI_SLOT_NAME"))
    minors = [int(node.name[7:]) for node in (device / "drm").glob("renderD*") if re.fullmatch(r"renderD\d{1,6}", node.name)]
    return Card(
        number=number,
        device=device,
        address=slot[1] if slot else clean(device.name),
        pci_device=_digits(device / "device"),
        pci_revision=_digits(device / "revision"),
        driver=driver[1] if driver else None,
        render_minor=min(minors, default=None),
    )


def _digits(path: Path) -> str:
    """`744C` of a file that holds 0x744c; empty where it holds something else."""
    text = (read_text(path, 64) or "").strip()
    return text[2:].upper() if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text) else ""


class Holdings(NamedTuple):
    """What processes hold: bytes by card's address, process and region (`vram`, `gtt`, `vram0`, `local0`, …)."""

    by_card: Mapping[str, Mapping[int, Mapping[str, int]]]

    def of(self, address: str, *regions: str) -> dict[int, int]:
        """Bytes by process in the regions whose names begin so."""
        return {pid: sum(size for region, size in held.items() if region.startswith(regions)) for pid, held in self.by_card.get(address, {}).items()}


def holdings(proc: Path) -> Holdings:
    """Of the processes whose files we may read: our own user's, all of them where we are root."""
    found: dict[str, dict[int, dict[str, int]]] = {}
    seen: set[tuple[str, str]] = set()
    for pid in _pids(proc):
        for text in _open_cards(proc / str(pid)):
            fields = dict(re.findall(r"^(drm-[\w-]{1,40}):[ \t]*(\S[^\n]{0,80})$", text, re.MULTILINE))
            client = (fields.get("drm-pdev", "").strip(), fields.get("drm-client-id", "").strip())
            if not all(client) or client in seen:
                continue
            seen.add(client)
            held = found.setdefault(client[0], {}).setdefault(pid, {})
            for region, size in _regions(fields).items():
                held[region] = held.get(region, 0) + size
    return Holdings(by_card=found)


def _pids(proc: Path) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isascii() and name.isdigit())[:_MOST_PROCESSES]
    except OSError:
        return []


def _open_cards(process: Path) -> Iterator[str]:
    """fdinfo of every open file of the process that is a card's."""
    try:
        numbers = os.listdir(process / "fd")[:_MOST_FILES]
    except OSError:
        return
    for number in numbers:
        try:
            target = os.readlink(process / "fd" / number)
        except OSError:
            continue
        if target.startswith("/dev/dri/"):
            yield read_text(process / "fdinfo" / number, 8192) or ""


def _regions(fields: Mapping[str, str]) -> dict[str, int]:
    """Bytes by region: what is resident where the driver says so; amdgpu's older name for it is `memory`."""
    found: dict[str, int] = {}
    for kind in ("total", "memory", "resident"):  # the later ones win
        for key, value in fields.items():
            size = re.fullmatch(r"(\d{1,18}) ?(KiB|MiB|GiB|)", value.strip())
            if key.startswith(f"drm-{kind}-") and size:
                found[key.removeprefix(f"drm-{kind}-")] = int(size[1]) * _UNITS[size[2]]
    return found


def named(proc: Path, held: Mapping[int, int]) -> tuple[Process, ...]:
    """The processes that hold something, largest first."""
    sizes = [(size, pid) for pid, size in held.items() if 0 < size <= LARGEST_BYTES]
    return tuple(_process(proc, pid, size) for size, pid in sorted(sizes, key=lambda pair: (-pair[0], pair[1])))


def _process(proc: Path, pid: int, size: int) -> Process:
    program, models = commandline.read(proc, pid)
    return Process(pid=pid, name=program or None, bytes=size, models=models)
