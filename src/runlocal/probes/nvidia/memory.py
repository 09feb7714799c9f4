"""A card's memory as NVML tells it, and what of it a process can have."""

from typing import Any

from runlocal.core.noun import NamedTuple
from runlocal.core.units import GIB, gib
from runlocal.probes.nvidia.nvml import ARGUMENT_VERSION_MISMATCH, FUNCTION_NOT_FOUND, UNKNOWN, Nvml, Refused
from runlocal.probes.nvidia.sentences import IMPOSSIBLE

# UNKNOWN: WSL with driver 516.59, https://github.com/XuehaiPan/nvitop/pull/30
_OLD_FORM_HELPS = (FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH, UNKNOWN, IMPOSSIBLE)
_RESERVE_SPLIT_OUT = 510  # the driver release that put its reserve into v1's total and used, and offers it apart in v2
_LARGEST = 1 << 50


class Reading(NamedTuple):
    """Bytes of one device.

    total_bytes: of the device
    reserved_bytes: kept by the driver
    in_use_bytes: held by processes
    free_bytes: as the driver says
    note: what is assumed, a sentence; None where nothing is
    """

    total_bytes: int
    reserved_bytes: int
    in_use_bytes: int
    free_bytes: int
    note: str | None = None


def read_memory(nvml: Nvml, handle: Any, driver: int | None, wddm: bool) -> Reading:
    """The device's memory. Raises Refused, with IMPOSSIBLE where the figures contradict themselves.

    driver: first number of the driver's version; None where not known
    wddm: Windows budgets the memory (Windows itself and WSL)
    """
    try:
        memory = nvml.call("nvmlDeviceGetMemoryInfo", handle, nvml.binding.nvmlMemory_v2)
        return _split_out(memory.total, memory.reserved, memory.used, memory.free)
    except Refused as refused:
        if refused.code not in _OLD_FORM_HELPS:
            raise
        before_split = refused.code == FUNCTION_NOT_FOUND and (driver is None or driver < _RESERVE_SPLIT_OUT)
    memory = nvml.call("nvmlDeviceGetMemoryInfo", handle)
    return _lumped(memory.total, memory.used, memory.free, before_split, wddm)


def read_table(total: int, reserved: int | None, used: int, free: int, driver_version: str | None, wddm: bool) -> Reading:
    """The same of figures that nvidia-smi printed, in bytes; `reserved` is None before R510. They are whole MiB, so their sum may miss some.

    Raises Refused, with IMPOSSIBLE where the figures contradict themselves.
    """
    if reserved is not None:
        return _split_out(total, reserved, used, free)
    release = (driver_version or "").split(".")[0]
    return _lumped(total, used, free, release.isdecimal() and int(release) < _RESERVE_SPLIT_OUT, wddm)


def _split_out(total: int, reserved: int, used: int, free: int) -> Reading:
    """NVML's second form: `used` is what processes hold, and total = reserved + used + free."""
    if not 0 <= total <= _LARGEST or max(reserved, used, free) > total:
        raise Refused(IMPOSSIBLE)
    # Where the sum does not come out, less is usable, never more than the driver calls free.
    in_use = max(used, total - reserved - free)
    return Reading(total_bytes=total, reserved_bytes=reserved, in_use_bytes=in_use, free_bytes=free)


def _lumped(total: int, used: int, free: int, before_split: bool, wddm: bool) -> Reading:
    """NVML's first form. Before R510 its total leaves the driver's reserve out; since then its `used` holds that too.

    https://github.com/wookayin/gpustat/issues/141, https://github.com/NVIDIA/gpu-operator/issues/348. The reserve is then assumed:
    2.5 % of the total, at most 1 GiB; where Windows budgets the memory 10 %, at least 1 GiB. What is usable now does not hang on
    it (on Linux): it is what the driver calls free.
    """
    if not 0 <= total <= _LARGEST or max(used, free) > total:
        raise Refused(IMPOSSIBLE)
    taken = max(used, total - free)
    if before_split:
        return Reading(total_bytes=total, reserved_bytes=0, in_use_bytes=taken, free_bytes=free)
    if wddm:
        reserved = min(total, max(total // 10, GIB))
        note = f"The driver does not say what it reserves; {gib(reserved)} is assumed, because Windows budgets this memory."
        return Reading(total_bytes=total, reserved_bytes=reserved, in_use_bytes=max(0, taken - reserved), free_bytes=free, note=note)
    reserved = min(taken, total // 40, GIB)
    note = f"The driver does not say how much of the {gib(taken)} taken is its own reserve; {gib(reserved)} is assumed."
    return Reading(total_bytes=total, reserved_bytes=reserved, in_use_bytes=taken - reserved, free_bytes=free, note=note)
