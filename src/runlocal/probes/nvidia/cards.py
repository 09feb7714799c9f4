"""One card as NVML tells it: itself, its MIG slices, or why it cannot be read."""

import re
from pathlib import Path
from typing import Any

from runlocal.core.machine import Gpu
from runlocal.core.noun import NamedTuple
from runlocal.core.units import MIB
from runlocal.probes.detected import DetectedGpu, Host, Process
from runlocal.probes.nvidia.memory import Reading, read_memory
from runlocal.probes.nvidia.nvml import FUNCTION_NOT_FOUND, GPU_IS_LOST, NO_PERMISSION, NOT_FOUND, NOT_SUPPORTED, RESET_REQUIRED, Nvml, Refused
from runlocal.probes.nvidia.processes import read_processes, wrong_lists
from runlocal.probes.nvidia.sentences import sentence
from runlocal.probes.text import clean, read_text

_NO_SUCH_THING = (NOT_SUPPORTED, FUNCTION_NOT_FOUND)  # the usual answers of a card or driver without the feature
_GONE = (GPU_IS_LOST, RESET_REQUIRED)  # whatever was asked: the card is of no use now
_ATS = 2  # NVML_DEVICE_ADDRESSING_MODE_ATS: the GPU uses the host's page tables
_VGPU = 2  # NVML_GPU_VIRTUALIZATION_MODE_VGPU
_MOST_SLICES = 64
_PROFILE = re.compile(r"(?:\d+c\.)?\d+g\.\d+gb(?:[+-][a-z.]+)*")
# `NVIDIA A40-24Q`, `GRID A100D-40C`: https://docs.nvidia.com/vgpu/latest/grid-vgpu-user-guide/ names types so.
_VGPU_NAME = re.compile(r"GRID .*|.*\d-\d{1,3}[ABCQ]")


class Setting(NamedTuple):
    """What is the same for every card.

    host: the computer's memory
    driver_version: as the driver says
    wddm: Windows budgets the memory
    processes: also ask who holds memory
    proc: where procfs is
    """

    host: Host
    driver_version: str | None
    wddm: bool
    processes: bool
    proc: Path

    @property
    def driver(self) -> int | None:
        """First number of the driver's version."""
        release = (self.driver_version or "").split(".")[0]
        return int(release) if release.isascii() and release.isdigit() else None


def read_card(nvml: Nvml, index: int, setting: Setting) -> tuple[DetectedGpu, ...]:
    """The card with NVML's number `index`, or its slices; where it cannot be read one entry that says why. Never raises Refused."""
    name = "NVIDIA GPU"
    try:
        handle = nvml.call("nvmlDeviceGetHandleByIndex", index)
        card = _Device(nvml, handle, f"GPU {index}")
        name = card.text("nvmlDeviceGetName", "its name") or name
        card.subject = f"GPU {index} ({name})"
        uuid = card.text("nvmlDeviceGetUUID", "its UUID") or None
        mode = card.ask("nvmlDeviceGetMigMode", "whether MIG is on")
        whole = _read_device(card, DetectedGpu(driver_index=index, name=name, gpu=None, uuid=uuid, card_uuid=uuid))
        if mode is not None and mode[0] == 1:
            return _read_slices(card, whole, setting) or (whole._replace(problem=_no_slices(card.subject)),)
        try:
            return (_measure(card, whole, setting),)
        except Refused as refused:
            # A container that holds only a slice may not look at the card: https://github.com/NVIDIA/nvidia-container-toolkit/issues/842
            slices = _read_slices(card, whole, setting) if refused.code == NO_PERMISSION else ()
            return slices or (
                whole._replace(problem=sentence(card.subject, refused.code, "" if refused.code in _GONE else "its memory"), notes=tuple(card.notes)),
            )
    except Refused as refused:
        subject = f"GPU {index}" if name == "NVIDIA GPU" else f"GPU {index} ({name})"
        return (DetectedGpu(driver_index=index, name=name, gpu=None, problem=sentence(subject, refused.code)),)


class _Device:
    """A handle, and the sentences about what it did not answer."""

    def __init__(self, nvml: Nvml, handle: Any, subject: str) -> None:
        self.nvml, self.handle, self.subject = nvml, handle, subject
        self.notes: list[str] = []

    def ask(self, function: str, doing: str, usual: tuple[int, ...] = _NO_SUCH_THING) -> Any:
        """The answer, or None: without a word where the code is a `usual` one, else with a sentence. Raises Refused when the card is gone."""
        try:
            return self.nvml.call(function, self.handle)
        except Refused as refused:
            if refused.code in _GONE:
                raise
            if refused.code not in usual:
                self.notes.append(sentence(self.subject, refused.code, doing))
            return None

    def text(self, function: str, doing: str) -> str:
        """As `ask`, for a string that every card has."""
        return clean(str(self.ask(function, doing, usual=()) or ""))


def _no_slices(subject: str) -> str:
    return f"{subject}: MIG is on and no slice can be used; create one with `nvidia-smi mig -cgi … -C`, or turn MIG off with `nvidia-smi -mig 0`."


def _read_device(device: _Device, found: DetectedGpu) -> DetectedGpu:
    """`found` with what is the same for a card and for its slices."""
    ecc = device.ask("nvmlDeviceGetEccMode", "whether ECC is on")
    mode = device.ask("nvmlDeviceGetVirtualizationMode", "whether it is virtual")
    vgpu = mode == _VGPU or _VGPU_NAME.fullmatch(found.name) is not None
    if vgpu:
        device.notes.append(f"{device.subject}: a virtual GPU; it shares its bandwidth with others.")
    return found._replace(ecc=None if ecc is None else ecc[0] == 1, vgpu=vgpu)


def _measure(device: _Device, found: DetectedGpu, setting: Setting) -> DetectedGpu:
    """`found` with its memory. Raises Refused when that cannot be read."""
    share = found.vgpu or found.mig_slice  # a share of a card has memory of its own, whatever it does not answer
    try:
        memory = read_memory(device.nvml, device.handle, setting.driver, setting.wddm)
    except Refused as refused:
        if refused.code != NOT_SUPPORTED or share:
            raise
        return _finish(device, _of_host(device, found, setting), setting)
    if not share and _is_the_hosts(device, memory, setting.host):
        return _finish(device, _of_host(device, found, setting), setting)
    if memory.total_bytes == 0:
        return found._replace(problem=f"{device.subject}: the driver reports no memory at all; reboot.", notes=tuple(device.notes))
    if memory.note:
        device.notes.append(f"{device.subject}: {memory.note}")
    return _finish(device, found._replace(gpu=_gpu(found, memory), free_bytes=memory.free_bytes), setting)


def _is_the_hosts(device: _Device, memory: Reading, host: Host) -> bool:
    """Whether the figures are those of memory that GPU and processor share: nothing at all, or nearly all of the host's under ATS.

    No key on names: DGX Spark, Jetson and Grace differ by driver, https://github.com/XuehaiPan/nvitop/pull/208.
    """
    if memory.total_bytes == 0:
        return True
    if host.physical_bytes is None or memory.total_bytes * 10 < host.physical_bytes * 9:
        return False
    return bool(device.ask("nvmlDeviceGetAddressingMode", "how it addresses memory") == _ATS)


def _of_host(device: _Device, found: DetectedGpu, setting: Setting) -> DetectedGpu:
    """A device without memory of its own: CUDA's total is MemTotal, and what can be had is MemAvailable (the page cache gives way)."""
    total, available = setting.host.total_bytes, setting.host.available_bytes
    if not total or available is None:
        return found._replace(problem=f"{device.subject}: it shares the host's memory, which cannot be read.", notes=tuple(device.notes))
    board = clean((read_text(setting.proc / "device-tree/model", 256) or "").replace("\0", " ")) or None
    device.notes.append(f"{device.subject}: the driver gives no figures of its own; it shares the host's memory, whose figures stand here.")
    memory = Reading(total_bytes=total, reserved_bytes=0, in_use_bytes=total - available, free_bytes=available)
    return found._replace(gpu=_gpu(found, memory)._replace(unified=True), board=board, found_by="NVML, with the host's memory")


def _gpu(found: DetectedGpu, memory: Reading) -> Gpu:
    return Gpu(
        index=found.driver_index,
        id=None,
        name=found.name,
        memory_bytes=memory.total_bytes,
        reserved_bytes=memory.reserved_bytes,
        in_use_bytes=memory.in_use_bytes,
        uuid=found.uuid,
    )


def _finish(device: _Device, found: DetectedGpu, setting: Setting) -> DetectedGpu:
    """`found` with what is asked only of a device that can be used."""
    if found.gpu is None:
        return found
    capability = device.ask("nvmlDeviceGetCudaComputeCapability", "its compute capability", usual=())
    gpu = found.gpu._replace(compute_capability=tuple(capability) if capability else None)
    processes, why_not = _processes(device, gpu.memory_bytes, setting) if setting.processes else (None, None)
    return found._replace(gpu=gpu, processes=processes, why_no_processes=why_not, notes=tuple(device.notes))


def _processes(device: _Device, most_bytes: int, setting: Setting) -> tuple[tuple[Process, ...] | None, str | None]:
    """Who holds its memory; why nobody can say."""
    if wrong_lists(setting.driver_version):
        return None, f"{device.subject}: driver {setting.driver_version} lists processes wrongly; 535.86 and later do not."
    try:
        return read_processes(device.nvml, device.handle, setting.proc, most_bytes), None
    except Refused as refused:
        if refused.code in _GONE:
            raise
        return None, sentence(device.subject, refused.code, "who holds its memory")


def _read_slices(card: _Device, whole: DetectedGpu, setting: Setting) -> tuple[DetectedGpu, ...]:
    """The card's MIG slices that this process may see."""
    count = card.ask("nvmlDeviceGetMaxMigDeviceCount", "how many MIG slices it has", usual=()) or 0
    slices = []
    for number in range(min(count, _MOST_SLICES)):
        subject = f"{card.subject}, MIG slice {number}"
        try:
            handle = card.nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", card.handle, number)
            slices.append(_read_slice(_Device(card.nvml, handle, subject), whole, card.notes, setting))
        except Refused as refused:
            if refused.code != NOT_FOUND:
                slices.append(whole._replace(uuid=None, mig_slice=True, problem=sentence(subject, refused.code)))
    return tuple(slices)


def _read_slice(device: _Device, whole: DetectedGpu, notes: list[str], setting: Setting) -> DetectedGpu:
    """One slice. Raises Refused when it cannot be read."""
    device.notes += notes
    name = device.text("nvmlDeviceGetName", "its name") or f"{whole.name} MIG slice"
    profile = _PROFILE.search(name)
    instances = device.ask("nvmlDeviceGetGpuInstanceId", "its GPU instance"), device.ask("nvmlDeviceGetComputeInstanceId", "its compute instance")
    found = whole._replace(
        name=name,
        uuid=device.text("nvmlDeviceGetUUID", "its UUID") or None,
        mig_slice=True,
        mig_profile=profile[0] if profile else None,
        instances=None if None in instances else (int(instances[0]), int(instances[1])),
    )
    try:
        return _measure(device, found, setting)
    except Refused as refused:
        attributes = None if refused.code in _GONE else device.ask("nvmlDeviceGetAttributes", "its size")
        if not attributes:
            raise
        device.notes.append(sentence(device.subject, refused.code, "how much of it is free"))
        memory = Reading(total_bytes=attributes.memorySizeMB * MIB, reserved_bytes=0, in_use_bytes=0, free_bytes=0)
        found = found._replace(gpu=_gpu(found, memory)._replace(in_use_bytes=None), found_by="NVML, with the slice's nominal size")
        return _finish(device, found, setting)
