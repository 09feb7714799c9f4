"""Who holds a card's memory."""

from pathlib import Path
from typing import Any

from runlocal.probes import commandline
from runlocal.probes.detected import Process
from runlocal.probes.nvidia.nvml import FUNCTION_NOT_FOUND, Nvml, Refused

_LISTS = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
# Drivers 535.0 to 535.85 fill the structure wrongly: https://github.com/wookayin/gpustat/issues/161
_WRONG_RELEASE, _RIGHT_AGAIN = 535, 86


def read_processes(nvml: Nvml, handle: Any, proc: Path, most_bytes: int) -> tuple[Process, ...]:
    """The processes with memory on the device, largest first, those without a figure last. Raises Refused when no list can be had.

    most_bytes: a figure beyond it is no figure
    """
    held: dict[int, int | None] = {}
    for name in _LISTS:
        for entry in _list(nvml, name, handle):
            size = entry.usedGpuMemory
            size = size if size is not None and 0 <= size <= most_bytes else None
            # A process that computes and draws stands in both lists, each time with all that it holds.
            held[entry.pid] = max(size or 0, held.get(entry.pid) or 0) or size
    found = [_process(nvml, pid, size, proc) for pid, size in held.items()]
    return tuple(sorted(found, key=lambda process: (process.bytes is None, -(process.bytes or 0), process.pid)))


def wrong_lists(driver_version: str | None) -> bool:
    """Whether this driver's lists of processes are known to be wrong."""
    numbers = (driver_version or "").split(".")
    return len(numbers) > 1 and all(number.isdecimal() for number in numbers[:2]) and int(numbers[0]) == _WRONG_RELEASE and int(numbers[1]) < _RIGHT_AGAIN


def _list(nvml: Nvml, name: str, handle: Any) -> Any:
    try:
        return nvml.call(name, handle)
    except Refused as refused:
        if refused.code != FUNCTION_NOT_FOUND:
            raise
        return nvml.call(f"{name}_v2", handle)


def _process(nvml: Nvml, pid: int, size: int | None, proc: Path) -> Process:
    program, models = commandline.read(proc, pid)
    if not program:
        try:
            program = commandline.program_name(str(nvml.call("nvmlSystemGetProcessName", pid)).split("\0")[0])
        except Refused:
            program = ""
    return Process(pid=pid, name=program or None, bytes=size, models=models)
