"""Intel cards, as the files of xe and i915 tell them."""

from pathlib import Path

import pytest

from runlocal.core.machine import Backend
from runlocal.core.units import GIB, KIB, MIB
from runlocal.probes import host, intel
from runlocal.probes.detected import Found, Process, Surroundings

from .trees import card, holder, linux

# An Arc A750 under xe: https://github.com/flightlessmango/MangoHud/issues/1936; a B580: https://github.com/ValveSoftware/steam-for-linux/issues/12636
A750_BYTES, A750_USED, B580_BYTES = 8522825728, 32079872, 0x300000000
VRAM_MM = f"  use_type: 1\n  use_tt: 0\n  size: {A750_BYTES}\n  usage: {A750_USED}\ndefault_page_size: 4KiB\n"


def ask(around: Surroundings, *, processes: bool = False) -> Found:
    """The Intel cards of that machine."""
    return intel.read(around, host.read(around), processes)


def test_xe_as_root(tmp_path: Path) -> None:
    """A twentieth (406.4 MiB) is taken for the driver's own, and the 30.6 MiB in use are within it."""
    card(tmp_path, 0, "xe", "8086", "56a1", {"tile0/physical_vram_size_bytes": f"{A750_BYTES}\n"}, "08")
    (found,) = ask(linux(tmp_path, {"sys/kernel/debug/dri/0000:03:00.0/tile0/vram_mm": VRAM_MM})).gpus
    assert found.gpu is not None
    assert (found.gpu.memory_bytes, found.gpu.reserved_bytes, found.gpu.in_use_bytes) == (A750_BYTES, A750_BYTES // 20, 0)
    assert (found.gpu.backend, found.found_by, found.pci, found.visible_index) == (Backend.SYCL, "sysfs (xe)", ("intel", "56A1", "08"), 0)
    assert len(found.notes) == 1 and "is assumed" in found.notes[0]


def test_without_root_what_processes_hold_is_counted(tmp_path: Path) -> None:
    card(tmp_path, 0, "xe", "8086", "e20b", {"tile0/physical_vram_size_bytes": str(B580_BYTES)})
    client = "drm-driver:\txe\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t{}\ndrm-total-vram0:\t{} MiB\ndrm-resident-vram0:\t{} MiB\ndrm-total-gtt:\t7 KiB\n"
    holder(tmp_path, 7, "/usr/bin/llama-server", {4: client.format(1, 3000, 2048)})
    holder(tmp_path, 8, "Xorg", {4: client.format(2, 64, 64)})
    (found,) = ask(linux(tmp_path), processes=True).gpus
    assert found.gpu is not None and found.gpu.in_use_bytes == 2112 * MIB
    assert found.processes == (Process(7, "llama-server", 2 * GIB), Process(8, "Xorg", 64 * MIB))
    assert any("to root alone; 2.1 GiB" in note for note in found.notes)


def test_two_tiles_and_i915(tmp_path: Path) -> None:
    card(tmp_path, 0, "xe", "8086", "0bd5", {f"tile{tile}/physical_vram_size_bytes": str(64 * GIB) for tile in range(2)})
    card(tmp_path, 1, "i915", "8086", "56a0", {"drm/card1/lmem_total_bytes": str(16256 * MIB)})
    large, small = ask(linux(tmp_path)).gpus
    assert large.gpu is not None and small.gpu is not None
    assert (large.gpu.memory_bytes, small.gpu.memory_bytes, small.found_by) == (128 * GIB, 16256 * MIB, "sysfs (i915)")


def test_integrated_graphics_are_named_and_not_counted(tmp_path: Path) -> None:
    card(tmp_path, 0, "i915", "8086", "a780", {})
    card(tmp_path, 1, "xe", "8086", "e20b", {"tile0/physical_vram_size_bytes": str(B580_BYTES)})
    integrated, arc = ask(linux(tmp_path)).gpus
    assert integrated.gpu is None and "no memory of its own" in (integrated.problem or "")
    assert (arc.visible_index, integrated.visible_index) == (0, None)


@pytest.mark.parametrize("text", ["", "0", "-5", "0x300000000", "9" * 64, str(1 << 60)])
def test_figures_that_cannot_be(tmp_path: Path, text: str) -> None:
    card(tmp_path, 0, "xe", "8086", "e20b", {"tile0/physical_vram_size_bytes": text})
    (found,) = ask(linux(tmp_path)).gpus
    assert found.gpu is None and found.problem


@pytest.mark.parametrize(
    ("setting", "seen", "said"),
    [
        ("level_zero:1", [None, 0], False),
        ("level_zero:1,0", [1, 0], False),
        ("level_zero:*", [0, 1], False),
        ("*:gpu", [0, 1], False),
        ("!opencl:*", [0, 1], True),
        ("", [0, 1], False),
    ],
)
def test_oneapi_s_selector(tmp_path: Path, setting: str, seen: list[int | None], said: bool) -> None:
    for number in range(2):
        card(tmp_path, number, "xe", "8086", "e20b", {"tile0/physical_vram_size_bytes": str(B580_BYTES)})
    found = ask(linux(tmp_path, environ={"ONEAPI_DEVICE_SELECTOR": setting}))
    assert [gpu.visible_index for gpu in found.gpus] == seen
    assert bool(found.notes) == said


def test_use_over_several_tiles_and_a_torn_file(tmp_path: Path) -> None:
    card(tmp_path, 0, "xe", "8086", "0bd5", {f"tile{tile}/physical_vram_size_bytes": str(8 * GIB) for tile in range(2)})
    debug = {f"sys/kernel/debug/dri/0000:03:00.0/tile{tile}/vram_mm": f"size: 1\n usage: {3 * GIB}\n" for tile in range(2)}
    (found,) = ask(linux(tmp_path, debug)).gpus
    assert found.gpu is not None and found.gpu.in_use_bytes == 6 * GIB - 16 * GIB // 20
    (torn,) = ask(linux(tmp_path, {**debug, "sys/kernel/debug/dri/0000:03:00.0/tile1/vram_mm": "size"})).gpus
    assert torn.gpu is not None and torn.gpu.in_use_bytes == 0 * KIB
