"""Apple silicon: one memory for processor and GPU, of which macOS lets the GPU keep a part resident.

That part is Metal's recommendedMaxWorkingSetSize, which follows `sysctl iogpu.wired_limit_mb`:
https://developer.apple.com/documentation/metal/mtldevice/recommendedmaxworkingsetsize
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from runlocal.core.machine import Backend, Gpu
from runlocal.core.units import MIB, gib
from runlocal.probes.command import answer
from runlocal.probes.detected import DetectedGpu, Found, Host, Reading, Surroundings
from runlocal.probes.text import clean

_SYSCTLS = ("hw.memsize", "machdep.cpu.brand_string", "hw.model", "hw.optional.arm64", "iogpu.wired_limit_mb")
# Asked in a process of its own: a fault in a framework ends that one alone. CoreGraphics comes first for programs without a window.
_ASK_METAL = """
import ctypes
library = "/System/Library/Frameworks/{0}.framework/{0}".format
ctypes.CDLL(library("CoreGraphics"))
metal, objc = ctypes.CDLL(library("Metal")), ctypes.CDLL("/usr/lib/libobjc.dylib")
metal.MTLCreateSystemDefaultDevice.restype = objc.sel_registerName.restype = ctypes.c_void_p
objc.sel_registerName.argtypes = [ctypes.c_char_p]
ask = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)(("objc_msgSend", objc))
device = metal.MTLCreateSystemDefaultDevice()
print(ask(device, objc.sel_registerName(b"recommendedMaxWorkingSetSize")) if device else 0)
"""


def read(surroundings: Surroundings, memory: Host, processes: bool) -> Found:
    """The GPU of an Apple chip. `processes`: also how many cores it has, which takes a moment. Never raises for what the system does."""
    if surroundings.platform != "darwin":
        return Found()
    if _sysctl("hw.optional.arm64") != "1":
        return Found(absent="This Mac has no Apple chip; the GPUs of Intel Macs are not read.")
    displays = _displays() if processes else {}
    name = clean(_sysctl("machdep.cpu.brand_string")) or clean(str(displays.get("sppci_model", ""))) or "Apple GPU"
    found = DetectedGpu(driver_index=0, name=name, gpu=None, found_by="sysctl and Metal", integrated=True, visible_index=0)
    total = memory.physical_bytes
    if not total:
        return Found(gpus=(found._replace(visible_index=None, problem=f"{name}: it shares the host's memory, whose size cannot be read."),))
    limit, how, notes = _limit(surroundings, total)
    if limit is None:
        # The smallest share seen, of macOS 15 and earlier up to 32 GB; who knows the usual limits puts the right one in its place.
        limit, found = total * 2 // 3, found._replace(macos=_macos(), found_by="sysctl")
    else:
        notes.append(f"{name}: {how} lets the GPU keep {gib(limit)} resident; `sudo sysctl iogpu.wired_limit_mb=N` changes that until the next start.")
    cores = str(displays.get("sppci_cores", ""))
    if cores.isdecimal():
        notes.append(f"{name}: {cores[:4]} GPU cores.")
    gpu = Gpu(index=0, id=None, name=name, memory_bytes=total, backend=Backend.METAL, unified=True)
    return Found(gpus=(limited(found._replace(gpu=gpu, notes=tuple(notes)), limit, memory),))


def readings(surroundings: Surroundings) -> Iterator[Reading]:
    """What macOS answers."""
    if surroundings.platform == "darwin":
        for name in _SYSCTLS:
            yield Reading("sysctl", name, _sysctl(name) or "no answer")
        yield Reading("sw_vers", "-productVersion", (answer("sw_vers", "-productVersion") or "no answer").strip())
        yield Reading("Metal", "recommendedMaxWorkingSetSize", (answer(surroundings.python, "-I", "-c", _ASK_METAL) or "no answer").strip())
        displays = _displays()
        for name in ("sppci_model", "sppci_cores", "spdisplays_mtlgpufamilysupport"):
            yield Reading("system_profiler", name, clean(str(displays.get(name, "no answer"))))


def limited(found: DetectedGpu, limit: int, memory: Host) -> DetectedGpu:
    """`found` with `limit` bytes for the GPU, of which no more can be had now than is available on the host."""
    assert found.gpu is not None
    total = found.gpu.memory_bytes
    free = limit if memory.available_bytes is None else min(limit, memory.available_bytes)
    return found._replace(gpu=found.gpu._replace(reserved_bytes=total - limit, in_use_bytes=limit - free), free_bytes=free)


def _limit(surroundings: Surroundings, total: int) -> tuple[int | None, str, list[str]]:
    """(limit in bytes or None, who told it, why another did not)"""
    told = (answer(surroundings.python, "-I", "-c", _ASK_METAL) or "").strip()
    if told.isdecimal() and len(told) < 18 and 0 < int(told) <= total:
        return int(told), "Metal", []
    notes = ["Metal did not tell how much memory the GPU may keep resident."]
    wired = _sysctl("iogpu.wired_limit_mb")
    if wired.isdecimal() and len(wired) < 9 and 0 < int(wired) * MIB <= total:  # 0: the system's default
        return int(wired) * MIB, "iogpu.wired_limit_mb", notes
    return None, "", notes


def _macos() -> int:
    version = re.match(r"\d{1,3}", answer("sw_vers", "-productVersion") or "")
    return int(version[0]) if version else 0


def _sysctl(name: str) -> str:
    return clean(answer("sysctl", "-n", name) or "")


def _displays() -> dict[str, Any]:
    """system_profiler's entry for the chip's GPU."""
    try:
        entries = json.loads(answer("system_profiler", "SPDisplaysDataType", "-json") or "{}")["SPDisplaysDataType"]
        return next((entry for entry in entries if isinstance(entry, dict) and "Apple" in str(entry.get("sppci_model"))), {})
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
