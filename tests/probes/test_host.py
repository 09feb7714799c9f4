"""Host memory: /proc and control groups on Linux, sysctl and vm_stat on macOS, GlobalMemoryStatusEx on Windows."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from runlocal.core.units import GIB, KIB
from runlocal.probes import host
from runlocal.probes.detected import Host, Surroundings

from .fakedriver import MEMINFO

MEMTOTAL, MEMAVAILABLE = 127600748 * KIB, 119000000 * KIB


def tree(root: Path, files: dict[str, str]) -> Surroundings:
    """A Linux whose kernel files are these."""
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Surroundings(environ={}, platform="linux", proc=root / "proc", sys=root / "sys")


def test_plain_linux(tmp_path: Path) -> None:
    cpuinfo = "".join(
        f"processor\t: {n}\nmodel name\t: AMD  Ryzen 9 7950X 16-Core\x07 Processor\nphysical id\t: 0\ncore id\t\t: {n // 2}\nbogomips\t: 1\n\n"
        for n in range(8)
    )
    found = host.read(tree(tmp_path, {"proc/cpuinfo": cpuinfo}))
    assert found == Host(
        total_bytes=MEMTOTAL,
        available_bytes=MEMAVAILABLE,
        physical_bytes=MEMTOTAL,
        limit_bytes=None,
        cpu="AMD Ryzen 9 7950X 16-Core Processor",
        cores=4,
        notes=(),
    )


def test_two_sockets_and_arm(tmp_path: Path) -> None:
    """Cores are counted per socket; Arm's cpuinfo names none."""
    sockets = "".join(f"model name: X\nphysical id: {socket}\ncore id: {core}\n\n" for socket in range(2) for core in range(3))
    assert host.read(tree(tmp_path / "a", {"proc/cpuinfo": sockets})).cores == 6
    found = host.read(tree(tmp_path / "b", {"proc/cpuinfo": "processor: 0\nCPU part: 0xd85\n"}))
    assert (found.cpu, found.cores) == (None, None)


def test_a_kernel_that_does_not_say_what_is_available(tmp_path: Path) -> None:
    found = host.read(tree(tmp_path, {"proc/meminfo": "MemTotal: 1000 kB\nMemFree: 300 kB\n"}))
    assert (found.total_bytes, found.available_bytes) == (1000 * KIB, 300 * KIB)


@pytest.mark.parametrize("meminfo", ["", "MemTotal: none kB\n", "MemTotal: 0 kB\n", "\x00\xff"])
def test_unreadable_memory_is_a_sentence(tmp_path: Path, meminfo: str) -> None:
    found = host.read(tree(tmp_path, {"proc/meminfo": meminfo}))
    assert (found.total_bytes, found.available_bytes) == (None, None)
    assert "cannot be read" in found.notes[0]


def test_container_of_version_2(tmp_path: Path) -> None:
    """8 GiB allowed, 3 GiB in use of which 1 GiB is cache that gives way: 8 - 2 = 6 GiB."""
    group = "sys/fs/cgroup"
    files = {
        "proc/self/cgroup": "0::/\n",
        f"{group}/memory.max": f"{8 * GIB}\n",
        f"{group}/memory.current": f"{3 * GIB}\n",
        f"{group}/memory.stat": f"anon 5\ninactive_file {GIB}\n",
    }
    found = host.read(tree(tmp_path, files))
    assert (found.total_bytes, found.available_bytes, found.physical_bytes, found.limit_bytes) == (8 * GIB, 6 * GIB, MEMTOTAL, 8 * GIB)
    assert "8.0 GiB" in found.notes[0]


def test_limit_of_an_ancestor_binds(tmp_path: Path) -> None:
    """user.slice allows 4 GiB and has 1 GiB in use; the group itself allows more, the root has no file."""
    group = "sys/fs/cgroup/user.slice"
    files = {
        "proc/self/cgroup": "0::/user.slice/session.scope\n",
        f"{group}/memory.max": str(4 * GIB),
        f"{group}/memory.current": str(GIB),
        f"{group}/session.scope/memory.max": str(16 * GIB),
        f"{group}/session.scope/memory.current": "0",
    }
    found = host.read(tree(tmp_path, files))
    assert (found.total_bytes, found.available_bytes) == (4 * GIB, 3 * GIB)


def test_no_limit_changes_nothing(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.current": str(GIB)}
    assert host.read(tree(tmp_path, files)).available_bytes == MEMAVAILABLE


@pytest.mark.parametrize("path", ["/docker/0123", "/"])
def test_container_of_version_1(tmp_path: Path, path: str) -> None:
    """The path is the host's where the container has no namespace of its own; the limit then stands at the root."""
    group = "sys/fs/cgroup/memory"
    files = {
        "proc/self/cgroup": f"12:cpu,cpuacct:{path}\n5:memory:{path}\n1:name=systemd:{path}\n",
        f"{group}/memory.limit_in_bytes": str(2 * GIB),
        f"{group}/memory.usage_in_bytes": str(GIB),
        f"{group}/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB // 2}\n",
    }
    found = host.read(tree(tmp_path, files))
    assert (found.total_bytes, found.available_bytes) == (2 * GIB, 3 * GIB // 2)


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
    }
    found = host.read(tree(tmp_path, files))
    assert (found.total_bytes, found.available_bytes, found.limit_bytes) == (MEMTOTAL, MEMAVAILABLE, None)


@pytest.mark.parametrize("lines", ["0::/../../etc\n", "garbage\n", ":::::\n", "0::" + "/a" * 5000 + "\n", "\x00\n"])
def test_hostile_group_paths(tmp_path: Path, lines: str) -> None:
    outside = {"etc/memory.max": "1", "sys/etc/memory.max": "1", "proc/self/cgroup": lines}
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    assert host.read(tree(tmp_path, outside)).total_bytes == MEMTOTAL


def test_use_beyond_the_limit_leaves_nothing(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(GIB), "sys/fs/cgroup/memory.current": str(2 * GIB)}
    assert host.read(tree(tmp_path, files)).available_bytes == 0


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Puts these shell scripts, and nothing else, on PATH."""
    folder.mkdir(exist_ok=True)
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_macos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """(100000 free + 200000 inactive + 5000 speculative) pages of 16 KiB."""
    sysctl = 'case "$2" in hw.memsize) echo 68719476736;; hw.physicalcpu) echo 16;; machdep.cpu.brand_string) echo "Apple M4 Max";; esac'
    pages = "Pages free:                              100000.\nPages active:                            900000.\nPages inactive:                          200000.\nPages speculative:                         5000.\nPages wired down:                        300000."
    commands(tmp_path / "bin", monkeypatch, sysctl=sysctl, vm_stat=f"echo 'Mach Virtual Memory Statistics: (page size of 16384 bytes)\n{pages}'")
    found = host.read(Surroundings(environ={}, platform="darwin"))
    assert found == Host(total_bytes=64 * GIB, available_bytes=305000 * 16384, physical_bytes=64 * GIB, cpu="Apple M4 Max", cores=16)


def test_macos_without_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(tmp_path / "bin", monkeypatch, sysctl="echo no; exit 1")
    found = host.read(Surroundings(environ={}, platform="darwin"))
    assert found.total_bytes is None
    assert "hw.memsize" in found.notes[0]
    commands(tmp_path / "bin", monkeypatch, sysctl="echo 8589934592")
    assert host.read(Surroundings(environ={}, platform="darwin")).available_bytes is None


def test_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The structure is 64 bytes; total stands at offset 8, available at 16."""

    def answer(pointer: object) -> int:
        raw = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint32))  # type: ignore[arg-type]
        assert raw[0] == 64
        words = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint64))  # type: ignore[arg-type]
        words[1], words[2] = 32 * GIB, 20 * GIB
        return 1

    windows = Surroundings(environ={"PROCESSOR_IDENTIFIER": "Intel64 Family 6"}, platform="win32")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=answer)), raising=False)
    assert host.read(windows) == Host(total_bytes=32 * GIB, available_bytes=20 * GIB, physical_bytes=32 * GIB, cpu="Intel64 Family 6")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=lambda _: 0)), raising=False)
    assert "GlobalMemoryStatusEx" in host.read(windows).notes[0]
