"""The raw readings of a bug report: whole, bounded, and nobody's secrets."""

import subprocess
import sys
from pathlib import Path

import pytest

import runlocal
from runlocal.probes import detect, doctor
from runlocal.probes.detected import Surroundings

from .nvidia_scenarios import TWO_CARDS
from .trees import card, holder, kfd, linux

UUID = "8932f937-d72c-4106-c12f-20bd9faed9f6"


def test_a_machine_of_two_makers(tmp_path: Path) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", {"mem_info_vram_total": "25753026560\n", "unique_id": "d2dc3b6a5c4b1234\n"}, "c8")
    card(tmp_path, 1, "xe", "8086", "e20b", {"tile0/physical_vram_size_bytes": "12884901888\n"})
    kfd(tmp_path, 1, 110000, 128)
    holder(tmp_path, 20, "/home/alice/llama-server", {})
    around = linux(tmp_path, environ={"HIP_VISIBLE_DEVICES": f"GPU-{UUID}", "HOME": "/home/alice", "USER": "alice", "HF_TOKEN": "hf_secret"})
    readings = detect.readings(around)
    said = [f"{one.way} | {one.what} | {one.value}" for one in readings]
    assert "sysfs card0 | mem_info_vram_total | 25753026560" in said
    assert "sysfs card0 | mem_info_gtt_total | not readable" in said
    assert "sysfs card1 | tile0/physical_vram_size_bytes | 12884901888" in said
    assert "kfd node 1 | gfx, render minor | gfx1100, 128" in said
    assert "environment | HIP_VISIBLE_DEVICES | GPU-8932f937…" in said
    for secret in ("alice", "secret", "llama-server", UUID[9:], "d2dc3b6a5c4b1234", str(tmp_path)):
        assert not any(secret in line for line in said), secret


def test_what_is_not_known_is_said_in_words(tmp_path: Path) -> None:
    said = {one.what: one.value for one in detect.readings(linux(tmp_path)) if one.way == "memory"}
    assert said["limit_bytes"] == "none found"
    assert all(value.isdigit() for what, value in said.items() if what != "limit_bytes")
    without = linux(tmp_path, {"proc/meminfo": ""})
    assert {one.value for one in detect.readings(without) if one.way == "memory"} == {"not known", "none found"}


def test_a_fault_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reads_badly.py").write_text("def readings(around):\n    raise RuntimeError('/home/alice')\n")
    (tmp_path / "reads_without_end.py").write_text(
        "from runlocal.probes.detected import Reading\ndef readings(around):\n    while True:\n        yield Reading('a' * 999, 'b', 'c\\x1b' * 999)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = doctor.readings(linux(tmp_path / "machine"), ("reads_badly", "missing_module", "reads_without_end"))
    assert [one.value for one in found if one.what == "fault"] == ["RuntimeError", "ModuleNotFoundError"]
    assert len(found) <= 4096
    assert all(one.value.isprintable() and len(one.value) <= 300 for one in found)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        (f"0, GPU-{UUID}, NVIDIA GeForce RTX 4090, 24564", "0, GPU-8932f937…, NVIDIA GeForce RTX 4090, 24564"),
        (f"MIG-{UUID}", "MIG-8932f937…"),
        (f"MIG-GPU-{UUID}/1/10", "MIG-GPU-8932f937…"),
        (UUID, "8932f937…"),
        ("total 25757220864, reserved 507510784", "total 25757220864, reserved 507510784"),
        ("580.95.05", "580.95.05"),
    ],
)
def test_serials_are_cut(text: str, public: str) -> None:
    assert doctor.shortened(text) == public


def test_nvml_s_answers_are_raw(library: Path, tmp_path: Path) -> None:
    """Through the real binding, each question's answer or its error."""
    (tmp_path / "scenario").write_text(TWO_CARDS)
    code = f"""
from runlocal.probes.detected import Surroundings
from runlocal.probes.nvidia import raw
for one in raw.answers(({str(library / "libnvidia-ml.so.1")!r},)):
    print(one.way, one.what, one.value, sep=" | ")
"""
    environment = {"PYTHONPATH": str(Path(runlocal.__file__).parent.parent), "PATH": "/usr/bin:/bin", "FAKENVML": str(tmp_path / "scenario")}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "NVML | nvmlDeviceGetCount | 2" in said
    assert "NVML GPU 1 | nvmlDeviceGetName | NVIDIA GeForce RTX 3090" in said
    assert any(line.startswith("NVML GPU 0 | nvmlDeviceGetMemoryInfo_v2 | total 25757220864, reserved ") for line in said)
    assert "NVML GPU 0 | nvmlDeviceGetMigMode | NVML error 3" in said


def test_nvml_s_answers_and_errors(tmp_path: Path) -> None:
    """Without a library: why; the rest is read all the same."""
    around = Surroundings(environ={}, platform="linux", proc=tmp_path, sys=tmp_path, dev=tmp_path, libraries=())
    ways = {one.way for one in detect.readings(around)}
    assert {"system", "memory", "NVML", "nvidia-smi"} <= ways
