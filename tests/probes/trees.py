"""Machines made of files: sysfs, procfs and device nodes in a folder, and programs on PATH."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from runlocal.probes.detected import Surroundings

from .fakedriver import MEMINFO


def linux(root: Path, files: Mapping[str, str | bytes] = {}, environ: Mapping[str, str] = {}) -> Surroundings:
    """A Linux whose files are these, and no others."""
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    folders = {name: root / name for name in ("proc", "sys", "dev")}
    return Surroundings(environ=environ, platform="linux", share=root / "usr/share", libraries=(), **folders)


def card(root: Path, number: int, driver: str, vendor: str, device: str, files: Mapping[str, str | bytes], revision: str = "00") -> None:
    """A PCI card with its DRM node, render node and one connector, as the kernel lays them."""
    address = f"0000:{number + 3:02x}:00.0"
    place = root / "sys/devices/pci0000:00" / address
    own = {"vendor": f"0x{vendor}\n", "device": f"0x{device}\n", "revision": f"0x{revision}\n", "class": "0x030000\n"}
    for name, text in {**own, "uevent": f"DRIVER={driver}\nPCI_SLOT_NAME={address}\n", f"drm/renderD{128 + number}/dev": "226:128\n", **files}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for node in (f"card{number}", f"card{number}-DP-1"):
        (root / f"sys/class/drm/{node}").mkdir(parents=True)
        (root / f"sys/class/drm/{node}/device").symlink_to(place)
    (root / "sys/bus/pci/devices").mkdir(parents=True, exist_ok=True)
    (root / f"sys/bus/pci/devices/{address}").symlink_to(place)
    (place / "driver").mkdir()
    (root / "dev/dri").mkdir(parents=True, exist_ok=True)
    (root / f"dev/dri/renderD{128 + number}").touch()


def kfd(root: Path, node: int, version: int, minor: int, gpu_id: int = 0) -> None:
    """The compute driver's node of a card."""
    folder = root / f"sys/class/kfd/kfd/topology/nodes/{node}"
    folder.mkdir(parents=True)
    (folder / "properties").write_text(f"cpu_cores_count 0\ngfx_target_version {version}\ndrm_render_minor {minor}\n")
    (folder / "gpu_id").write_text(f"{gpu_id}\n")


def holder(root: Path, pid: int, program: str, clients: Mapping[int, str]) -> None:
    """A process with open files of a card; `clients`: fdinfo by file number."""
    process = root / f"proc/{pid}"
    for folder in ("fd", "fdinfo"):
        (process / folder).mkdir(parents=True)
    (process / "cmdline").write_text(f"{program}\0--token\0secret\0")
    for number, text in clients.items():
        (process / f"fd/{number}").symlink_to("/dev/dri/renderD128")
        (process / f"fdinfo/{number}").write_text(text)


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, scripts: Mapping[str, str]) -> None:
    """Puts these shell scripts, and nothing else, on PATH."""
    folder.mkdir(exist_ok=True)
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
