"""AMD and Intel cards under Windows, through the registry; NVIDIA's are NVML's.

`HardwareInformation.qwMemorySize` is a driver's own 64-bit figure, where Win32_VideoController.AdapterRAM ends at 4 GiB:
https://github.com/AlexsJones/llmfit/issues/830
"""

import re
from collections.abc import Iterator
from typing import Any

from runlocal.core.machine import Backend, Gpu
from runlocal.core.units import GIB, gib
from runlocal.probes.detected import DetectedGpu, Found, Host, Reading, Surroundings
from runlocal.probes.text import clean

_DISPLAYS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
_VALUES = ("DriverDesc", "MatchingDeviceId", "DriverVersion", "HardwareInformation.qwMemorySize", "HardwareInformation.MemorySize")
_MOST_ADAPTERS = 64
_LARGEST_BYTES = 1 << 50
_VENDORS = ("ven_1002", "ven_8086")


def read(surroundings: Surroundings, memory: Host, processes: bool) -> Found:
    """AMD's and Intel's cards. Who holds their memory the registry does not tell."""
    if surroundings.platform != "win32":
        return Found()
    adapters = [adapter for adapter in _adapters() if any(vendor in str(adapter.get("MatchingDeviceId", "")).lower() for vendor in _VENDORS)]
    gpus = [_card(index, adapter) for index, adapter in enumerate(adapters)]
    places = {index: number for number, index in enumerate(index for index, found in enumerate(gpus) if found.gpu is not None)}
    return Found(gpus=tuple(found._replace(visible_index=places.get(index)) for index, found in enumerate(gpus)))


def readings(surroundings: Surroundings) -> Iterator[Reading]:
    """What the registry holds of display adapters, NVIDIA's too."""
    for number, adapter in enumerate(_adapters() if surroundings.platform == "win32" else ()):
        for name in _VALUES:
            yield Reading(f"registry adapter {number}", name, clean(str(adapter.get(name, "not there"))))


def _card(index: int, adapter: dict[str, Any]) -> DetectedGpu:
    name = clean(str(adapter.get("DriverDesc", ""))) or "GPU"
    found = DetectedGpu(driver_index=index, name=name, gpu=None, found_by="registry")
    subject = f"GPU {index} ({name})"
    total = _size(adapter.get("HardwareInformation.qwMemorySize"))
    if total is None:
        return found._replace(problem=f"{subject}: the registry does not say how much memory it has; install its maker's driver.")
    if total < GIB:
        problem = f"{subject}: it has {gib(total)} of its own, and Windows lends it the rest; a model is judged on the processor and its memory."
        return found._replace(problem=problem, integrated=True)
    # Windows budgets the memory: 10 %, at least 1 GiB, as for NVIDIA's cards there.
    reserved = min(total, max(total // 10, GIB))
    gpu = Gpu(index=index, id=None, name=name, memory_bytes=total, reserved_bytes=reserved, backend=Backend.VULKAN)
    note = f"{subject}: the registry tells its size alone; {gib(reserved)} is assumed to stay with Windows, and what programs hold is not known."
    return found._replace(gpu=gpu, notes=(note,))


def _size(value: object) -> int | None:
    """Bytes; drivers write a number or eight bytes of one."""
    if isinstance(value, bytes) and len(value) in (4, 8):
        value = int.from_bytes(value, "little")
    return value if isinstance(value, int) and 0 < value <= _LARGEST_BYTES else None


def _adapters() -> list[dict[str, Any]]:
    """The values of every display adapter's key."""
    try:
        import winreg
    except ImportError:
        return []
    registry: Any = winreg  # its names are typed on Windows alone
    found = []
    try:
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, _DISPLAYS) as displays:
            for number in range(_MOST_ADAPTERS):
                try:
                    name = registry.EnumKey(displays, number)
                except OSError:
                    break
                if re.fullmatch(r"\d{4}", name):
                    found.append(_values(registry, displays, name))
    except OSError:
        return found
    return [adapter for adapter in found if adapter]


def _values(registry: Any, displays: Any, name: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    try:
        with registry.OpenKey(displays, name) as adapter:
            for value in _VALUES:
                try:
                    values[value] = registry.QueryValueEx(adapter, value)[0]
                except OSError:
                    continue
    except OSError:
        return {}
    return values
