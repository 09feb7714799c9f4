"""What NVML answers, unread."""

from collections.abc import Iterator
from typing import Any

from runlocal.probes.detected import Reading
from runlocal.probes.nvidia.nvml import Nvml, Refused, Unusable, session
from runlocal.probes.text import clean

_SYSTEM = ("nvmlSystemGetDriverVersion", "nvmlSystemGetNVMLVersion", "nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetCount")
_DEVICE = (
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetEccMode",
    "nvmlDeviceGetAddressingMode",
    "nvmlDeviceGetVirtualizationMode",
    "nvmlDeviceGetCudaComputeCapability",
)
_FIELDS = ("total", "reserved", "free", "used")
_MOST_CARDS = 64


def answers(libraries: tuple[str, ...]) -> Iterator[Reading]:
    """Every question's answer or error. `libraries`: as for `session`."""
    try:
        with session(libraries) as nvml:
            for function in _SYSTEM:
                yield Reading("NVML", function, _asked(nvml, function))
            count = _asked(nvml, "nvmlDeviceGetCount")
            for index in range(min(int(count), _MOST_CARDS) if count.isdecimal() else 0):
                yield from _device(nvml, index)
    except (Unusable, Refused) as failure:
        yield Reading("NVML", "start", str(failure))


def _device(nvml: Nvml, index: int) -> Iterator[Reading]:
    way = f"NVML GPU {index}"
    try:
        handle = nvml.call("nvmlDeviceGetHandleByIndex", index)
    except Refused as refused:
        yield Reading(way, "nvmlDeviceGetHandleByIndex", str(refused))
        return
    for function in _DEVICE:
        yield Reading(way, function, _asked(nvml, function, handle))
    yield Reading(way, "nvmlDeviceGetMemoryInfo_v2", _asked(nvml, "nvmlDeviceGetMemoryInfo", handle, nvml.binding.nvmlMemory_v2))
    try:
        for number in range(min(nvml.call("nvmlDeviceGetMaxMigDeviceCount", handle), _MOST_CARDS)):
            part = nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
            for function in ("nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo"):
                yield Reading(f"{way} slice {number}", function, _asked(nvml, function, part))
    except Refused as refused:
        yield Reading(way, "MIG slices", str(refused))


def _asked(nvml: Nvml, function: str, *arguments: Any) -> str:
    try:
        told = nvml.call(function, *arguments)
    except Refused as refused:
        return str(refused)
    if hasattr(told, "total"):
        return ", ".join(f"{name} {getattr(told, name)}" for name in _FIELDS if hasattr(told, name))
    return clean(str(told))
