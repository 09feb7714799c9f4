"""From the files of a machine to a verdict and a list of devices: `check` and `gpus` where no NVIDIA card is."""

from pathlib import Path
from typing import Any

import pytest

from runlocal.commands import gpus, machines
from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.machine import Backend, Gpu
from runlocal.core.units import GIB, MIB
from runlocal.probes import detect
from runlocal.probes.detected import Surroundings

from .trees import card, kfd, linux, programs

XTX = {"mem_info_vram_total": "25753026560", "mem_info_vram_used": "536870912"}
ASKED = Options(quant="Q4_K_M", ctx="8k")


def put(monkeypatch: pytest.MonkeyPatch, around: Surroundings) -> None:
    """Makes it this computer."""
    monkeypatch.setattr(detect, "Surroundings", lambda **_: around)


def verdict(model: str) -> tuple[Gpu, Any]:
    """The device that the model was judged on, and the headline's cell."""
    (check,) = run([model], ASKED).checks
    (machine,) = check.machines
    (gpu,) = machine.machine.gpus
    return gpu, machine.cells[0]


def test_a_radeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", XTX, "c8")
    kfd(tmp_path, 1, 110000, 128)
    put(monkeypatch, linux(tmp_path))
    gpu, cell = verdict("llama-3.1-8b")
    assert (gpu.name, gpu.id, gpu.backend) == ("AMD Radeon RX 7900 XTX", "rx-7900-xtx", Backend.ROCM)
    assert cell.answer.value == "fits"
    assert any("rocm's allocator is not modelled" in part.because for part in cell.parts)


def test_an_arc_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, 0, "xe", "8086", "e20b", {"tile0/physical_vram_size_bytes": str(12 * GIB)})
    put(monkeypatch, linux(tmp_path))
    gpu, cell = verdict("llama-3.1-8b")
    assert (gpu.name, gpu.id, gpu.backend) == ("Intel(R) Arc(TM) B580 Graphics", "arc-b580", Backend.SYCL)
    assert cell.answer.value == "fits"
    rows = gpus.run("", everything=False).listing
    assert rows.rows[0]["name"] == "Intel(R) Arc(TM) B580 Graphics"
    assert not any("E20B" in note for note in rows.notes), "the name stands wherever the number stood"


def test_strix_halo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays on the host is in the same memory."""
    pools = {"mem_info_vram_total": str(512 * MIB), "mem_info_vram_used": "0", "mem_info_gtt_total": str(108000 * MIB), "mem_info_gtt_used": "0"}
    card(tmp_path, 0, "amdgpu", "1002", "1586", pools, "c1")
    kfd(tmp_path, 1, 110501, 128)
    put(monkeypatch, linux(tmp_path))
    gpu, cell = verdict("llama-3.3-70b")
    assert (gpu.name, gpu.unified) == ("AMD Radeon 8060S Graphics", True)
    assert cell.answer.value == "fits"
    assert any("in the same memory" in part.label for part in cell.parts)


def test_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "hw.memsize) echo 68719476736;; hw.optional.arm64) echo 1;; machdep.cpu.brand_string) echo Apple M4 Max;;"
    programs(tmp_path / "bin", monkeypatch, {"sysctl": f'case "$2" in {told} esac', "sw_vers": "echo 26.1"})
    put(monkeypatch, Surroundings(environ={}, platform="darwin", python="/nowhere", libraries=()))
    gpu, cell = verdict("llama-3.3-70b")
    assert (gpu.id, gpu.backend, gpu.usable_bytes, gpu.context_bytes) == ("m4-max-64", Backend.METAL, 53084 * MIB, None)
    assert cell.answer.value in ("fits", "tight")


def test_gpus_says_how_each_was_found_and_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", XTX, "c8")
    card(tmp_path, 1, "amdgpu", "1002", "164e", {"mem_info_vram_total": str(512 * MIB), "mem_info_gtt_total": str(15 * GIB)}, "c1")
    kfd(tmp_path, 1, 110000, 128)
    kfd(tmp_path, 2, 100306, 129)
    put(monkeypatch, linux(tmp_path))
    found = gpus.run("", everything=False)
    large, small = found.listing.rows
    assert (large["name"], large["found_by"], large["in_use_bytes"]) == ("AMD Radeon RX 7900 XTX", "sysfs (amdgpu)", 0)
    assert (large["usable_bytes"], large["idle_usable_bytes"]) == (25753026560 - 536870912, 25753026560 - 536870912)
    assert str(small["name"]).endswith("(left out)")
    assert any("is left out beside" in note for note in found.listing.notes)
    assert "No NVIDIA driver was found." in found.listing.notes
    assert found.hints == ()


def test_a_card_that_cannot_be_used_is_no_answer_about_the_processor_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named where the reason stands that no GPU was found."""
    card(tmp_path, 0, "amdgpu", "1002", "744c", {}, "c8")
    put(monkeypatch, linux(tmp_path))
    (asked,) = machines.machines(Options())
    assert asked.machine.gpus == ()
    assert "AMD Radeon RX 7900 XTX" in asked.hint and "does not say how much memory" in asked.hint


def test_raw_readings_are_a_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", XTX, "c8")
    put(monkeypatch, linux(tmp_path))
    found = gpus.doctor().listing
    assert found.kind == "readings"
    assert {"way": "sysfs card0", "what": "mem_info_vram_total", "value": "25753026560"} in found.rows
