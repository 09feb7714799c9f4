"""Host memory and processor: Linux with container limits, macOS, Windows."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from runlocal.core.units import KIB, gib
from runlocal.probes.detected import Host, Surroundings
from runlocal.probes.text import clean, read_int, read_text


def read(surroundings: Surroundings) -> Host:
    """Memory and processor of this computer; what cannot be read is None and a sentence in `notes`."""
    if surroundings.platform == "darwin":
        return _macos()
    if surroundings.platform == "win32":
        return _windows(surroundings)
    return _linux(surroundings)


def _linux(surroundings: Surroundings) -> Host:
    cpu, cores = _linux_processor(surroundings.proc)
    fields = {key: int(value) * KIB for key, value in re.findall(r"^(\w+):\s+(\d{1,15}) kB", read_text(surroundings.proc / "meminfo") or "", re.MULTILINE)}
    physical = fields.get("MemTotal")
    if not physical:
        return Host(cpu=cpu, cores=cores, notes=(f"Host memory is not known: {surroundings.proc / 'meminfo'} cannot be read.",))
    # WSL 1 and kernels before 3.14 do not say what is available; free memory is the lower bound of it.
    total, available, limit = physical, min(fields.get("MemAvailable", fields.get("MemFree", 0)), physical), None
    for ceiling, used in _container_limits(surroundings):
        if ceiling < total:
            total = limit = ceiling
        available = min(available, max(0, ceiling - used))
    notes = (f"A limit on this container or process leaves it {gib(total)} of the computer's {gib(physical)} of memory.",) if limit is not None else ()
    return Host(total_bytes=total, available_bytes=available, physical_bytes=physical, limit_bytes=limit, cpu=cpu, cores=cores, notes=notes)


def _container_limits(surroundings: Surroundings) -> Iterator[tuple[int, int]]:
    """(limit, memory in use that cannot be reclaimed) in bytes of each control group that this process is in, its ancestors too.

    https://docs.kernel.org/admin-guide/cgroup-v2.html and …/cgroup-v1/memory.html: a limit of any ancestor binds. Version 2 writes
    "max" for no limit, which is no number; version 1 writes a number beyond any memory, which the caller's comparison drops.
    """
    roots = surroundings.sys / "fs/cgroup"
    for line in (read_text(surroundings.proc / "self/cgroup", 1 << 16) or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            root, ceiling, usage, cache = roots, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, ceiling, usage, cache = roots / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        for group in _ancestors(root, path):
            limit = read_int(group / ceiling)
            if limit is not None:
                statistics = re.search(rf"^{cache} (\d{{1,19}})$", read_text(group / "memory.stat", 1 << 16) or "", re.MULTILINE)
                yield limit, max(0, (read_int(group / usage) or 0) - (int(statistics[1]) if statistics else 0))


def _ancestors(root: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it. A path from another namespace (`/../…`) does not exist here: the root alone is ours."""
    parts = PurePosixPath(path).parts[1:65]
    if ".." in parts:
        parts = ()
    for depth in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:depth])


def _linux_processor(proc: Path) -> tuple[str | None, int | None]:
    text = read_text(proc / "cpuinfo", 4 << 20) or ""
    name = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(\S.*)$", text, re.MULTILINE)
    cores = set()
    for processor in text.split("\n\n"):
        ids = dict(re.findall(r"^(physical id|core id)\s*:\s*(\d{1,9})$", processor, re.MULTILINE))
        if len(ids) == 2:
            cores.add((ids["physical id"], ids["core id"]))
    return (clean(name[1]) if name else None), len(cores) or None


def _macos() -> Host:
    """hw.memsize is exact; what is available is the free, inactive and speculative pages of vm_stat."""
    memory = _command("sysctl", "-n", "hw.memsize").strip()
    cores = _command("sysctl", "-n", "hw.physicalcpu").strip()
    statistics = _command("vm_stat")
    if not memory.isdecimal():
        return Host(notes=("Host memory is not known: sysctl hw.memsize does not answer.",))
    page = re.search(r"page size of (\d{1,9}) bytes", statistics)
    pages = [int(count) for count in re.findall(r"^Pages (?:free|inactive|speculative):\s+(\d{1,15})\.$", statistics, re.MULTILINE)]
    return Host(
        total_bytes=int(memory),
        available_bytes=min(int(memory), sum(pages) * int(page[1])) if page and pages else None,
        physical_bytes=int(memory),
        cpu=clean(_command("sysctl", "-n", "machdep.cpu.brand_string")) or None,
        cores=int(cores) if cores.isdecimal() else None,
    )


def _command(*words: str) -> str:
    """What the command prints, empty where it fails."""
    import subprocess

    try:
        return subprocess.run(words, capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL).stdout[: 1 << 16].decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError):
        return ""


def _windows(surroundings: Surroundings) -> Host:
    """GlobalMemoryStatusEx: https://learn.microsoft.com/windows/win32/api/sysinfoapi/ns-sysinfoapi-memorystatusex (64 bytes)."""
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
            (name, ctypes.c_uint64)
            for name in ("total", "available", "page_total", "page_available", "virtual_total", "virtual_available", "extended_available")
        ]

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    cpu = clean(surroundings.environ.get("PROCESSOR_IDENTIFIER", "")) or None
    system = getattr(ctypes, "windll", None)
    if system is None or not system.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return Host(cpu=cpu, notes=("Host memory is not known: GlobalMemoryStatusEx does not answer.",))
    return Host(total_bytes=status.total, available_bytes=status.available, physical_bytes=status.total, cpu=cpu)
