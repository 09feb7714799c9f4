"""NVIDIA GPUs, through NVML."""

import re
from collections.abc import Iterator

from runlocal.probes.detected import DetectedGpu, Found, Host, Reading, Surroundings
from runlocal.probes.nvidia.cards import Setting, read_card
from runlocal.probes.nvidia.nvml import LIBRARY_NOT_FOUND, Nvml, Refused, Unusable, session
from runlocal.probes.nvidia.sentences import at_start, sentence
from runlocal.probes.nvidia.visible import number_visible
from runlocal.probes.text import clean, read_text

_PCI_VENDOR = "0x10de"
_PCI_DISPLAY = "0x03"  # the class of display controllers; a card's sound and USB parts are not cards
_MOST_CARDS = 256


def read(surroundings: Surroundings, memory: Host, processes: bool) -> Found:
    """Every NVIDIA device here. `processes`: also ask who holds their memory. Never raises for what the driver does."""
    try:
        with session(surroundings.libraries if surroundings.platform == "linux" else ()) as nvml:
            return _read(nvml, surroundings, memory, processes)
    except Unusable as unusable:
        return _without_nvml(str(unusable), surroundings, memory, processes)
    except Refused as refused:
        if refused.code == LIBRARY_NOT_FOUND:
            return _without_nvml(_no_library(surroundings), surroundings, memory, processes)
        return Found(notes=(at_start(refused.code, refused.library_version, _running_version(surroundings)),))


def readings(surroundings: Surroundings) -> Iterator[Reading]:
    """What NVML, nvidia-smi and the kernel answer."""
    from runlocal.probes.nvidia import raw, smi

    yield from raw.answers(surroundings.libraries if surroundings.platform == "linux" else ())
    for line in smi.raw().splitlines()[:_MOST_CARDS]:
        yield Reading("nvidia-smi", "--query-gpu", clean(line, 200))
    for name in ("driver/nvidia/version", "device-tree/model", "device-tree/compatible"):
        text = (read_text(surroundings.proc / name, 1024) or "").replace("\0", " ")
        if text:
            yield Reading("procfs", name, clean(text, 200))


def _read(nvml: Nvml, surroundings: Surroundings, memory: Host, processes: bool) -> Found:
    notes: list[str] = []

    def ask(function: str, doing: str) -> object:
        try:
            return nvml.call(function)
        except Refused as refused:
            notes.append(sentence("NVIDIA driver", refused.code, doing))
            return None

    driver = clean(str(ask("nvmlSystemGetDriverVersion", "its version") or "")) or None
    cuda = ask("nvmlSystemGetCudaDriverVersion_v2", "its CUDA version")
    count = ask("nvmlDeviceGetCount", "how many GPUs there are")
    setting = Setting(host=memory, driver_version=driver, wddm=_wddm(surroundings), processes=processes, proc=surroundings.proc)
    gpus: list[DetectedGpu] = []
    for index in range(min(count if isinstance(count, int) else 0, _MOST_CARDS)):
        gpus += read_card(nvml, index, setting)
    if count == 0:
        notes.append("The NVIDIA driver runs and shows no GPU; in a container add --gpus all.")
    numbered, visible_notes = number_visible(tuple(gpus), surroundings.environ)
    return Found(
        gpus=numbered,
        notes=(*notes, *visible_notes),
        driver_version=driver,
        cuda_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) and cuda > 0 else None,
    )


def _without_nvml(why: str | None, surroundings: Surroundings, memory: Host, processes: bool) -> Found:
    """The cards where NVML cannot be asked: as nvidia-smi lists them, else a Jetson's. `why`: NVML's failure; None where there is no driver."""
    from runlocal.probes.nvidia import smi, tegra

    table = smi.ask(memory, _wddm(surroundings), processes)
    board = None if table else tegra.find(surroundings, memory)
    gpus = table.gpus if table else (board,) if board else ()
    if not gpus:
        return Found(notes=(why,)) if why else Found(absent="No NVIDIA driver was found.")
    numbered, notes = number_visible(gpus, surroundings.environ)
    reason = why or "NVML's library cannot be loaded."
    where = (f"{reason} nvidia-smi's figures stand here.",) if table else ()
    return Found(gpus=numbered, notes=(*where, *notes), driver_version=table.driver_version if table else None)


def _wddm(surroundings: Surroundings) -> bool:
    """Whether Windows budgets the cards' memory: Windows itself, and Linux inside it (WSL)."""
    kernel = read_text(surroundings.proc / "sys/kernel/osrelease", 256) or ""
    return surroundings.platform == "win32" or "microsoft" in kernel.lower()


def _no_library(surroundings: Surroundings) -> str | None:
    for device in sorted((surroundings.sys / "bus/pci/devices").glob("*")):
        vendor, kind = (read_text(device / name, 64) or "" for name in ("vendor", "class"))
        if vendor.strip() == _PCI_VENDOR and (not kind or kind.startswith(_PCI_DISPLAY)):
            return "NVIDIA card found but no driver library; install the NVIDIA driver, in Docker add --gpus all."
    return None


def _running_version(surroundings: Surroundings) -> str | None:
    """The version of the loaded kernel module: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  …`."""
    match = re.search(r"\b\d{3,4}\.\d{1,4}(?:\.\d{1,4})?\b", read_text(surroundings.proc / "driver/nvidia/version", 4096) or "")
    return match[0] if match else None
