"""NVIDIA cards where NVML's library cannot be loaded: nvidia-smi's table, and Jetsons by their device tree."""

from pathlib import Path

import pytest

from runlocal.core.units import KIB, MIB
from runlocal.probes.detected import Detection, Process, Surroundings

from .fakedriver import Driver
from .nvidia_scenarios import UUID_4090
from .trees import linux, programs

# Totals, reserves and their driver: data/gpus/nvidia.toml.
RTX_4090 = f"0, {UUID_4090}, NVIDIA GeForce RTX 4090, 24564, 484, 58, 24022, 580.95.05, 8.9, [N/A]"
RTX_3090 = "1, GPU-30900000-0000-0000-0000-000000000000, NVIDIA GeForce RTX 3090, 24576, 452, 1024, 23100, 580.95.05, 8.6, [N/A]"
# A DGX Spark's: https://github.com/XuehaiPan/nvitop/pull/208
GB10 = "0, GPU-c0c0, NVIDIA GB10, [N/A], [N/A], [N/A], [N/A], 580.173.02, 12.1, [N/A]"
APPS = f"{UUID_4090}, 42, 2048, /opt/llama/llama-server\n{UUID_4090}, 43, [N/A], C:\\Games\\game.exe\nGPU-other, x, 5, y"


@pytest.fixture(autouse=True)
def at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No program but those of a test."""
    programs(tmp_path / "bin", monkeypatch, {})


def smi(driver: Driver, folder: Path, table: str, *, knows: str = "*", environ: dict[str, str] | None = None) -> Detection:
    """What is detected where nvidia-smi prints this table for the columns that it knows."""
    script = f"#!/bin/sh\ncase \"$1\" in *query-compute-apps*) printf '%s\\n' '{APPS}';; {knows}) printf '%s\\n' '{table}';; *) echo 'not a valid field'; exit 2;; esac\n"
    (folder / "bin/nvidia-smi").write_text(script)
    (folder / "bin/nvidia-smi").chmod(0o755)
    return driver("", environ)


@pytest.fixture
def bare(tmp_path: Path, at: None, no_driver: Driver) -> Driver:
    """A machine without the library, whose PATH is the test's."""
    return no_driver


def test_two_cards(bare: Driver, tmp_path: Path) -> None:
    found = smi(bare, tmp_path, f"{RTX_4090}\n{RTX_3090}")
    large, small = found.gpus
    assert large.gpu is not None and small.gpu is not None
    assert (large.gpu.memory_bytes, large.gpu.reserved_bytes, large.gpu.usable_bytes) == (24564 * MIB, 484 * MIB, 24022 * MIB)
    assert (large.gpu.compute_capability, large.found_by, large.visible_index, small.visible_index) == ((8, 9), "nvidia-smi", 0, 1)
    assert large.processes == (Process(42, "llama-server", 2048 * MIB), Process(43, "game.exe", None))
    assert found.notes == ("NVML's library cannot be loaded. nvidia-smi's figures stand here.",)
    assert found.driver_version == "580.95.05"


def test_an_old_one_that_knows_fewer_columns(bare: Driver, tmp_path: Path) -> None:
    """Before R510 the total leaves the reserve out."""
    table = "0, GPU-1, Tesla T4, 15109, 109, 15000, 470.57.02"
    (found,) = smi(bare, tmp_path, table, knows="--query-gpu=index,uuid,name,memory.total,memory.used,memory.free,driver_version").gpus
    assert found.gpu is not None
    assert (found.gpu.memory_bytes, found.gpu.reserved_bytes, found.gpu.in_use_bytes) == (15109 * MIB, 0, 109 * MIB)


def test_unified_memory(bare: Driver, tmp_path: Path) -> None:
    (found,) = smi(bare, tmp_path, GB10).gpus
    assert found.gpu is not None
    assert (found.gpu.memory_bytes, found.gpu.usable_bytes, found.gpu.unified) == (127600748 * KIB, 119000000 * KIB, True)
    assert "shares the host's memory" in found.notes[0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (RTX_4090.replace("[N/A]", "Enabled"), "MIG is on"),
        (RTX_4090.replace("24564", "[Unknown Error]"), "[Unknown Error]"),
        (RTX_4090.replace("24564", "[Insufficient Permissions]"), "[Insufficient Permissions]"),
        (RTX_4090.replace("24564", "5"), "cannot be"),
    ],
)
def test_a_bad_card_does_not_hide_the_other(bare: Driver, tmp_path: Path, row: str, words: str) -> None:
    bad, good = smi(bare, tmp_path, f"{row}\n{RTX_3090}").gpus
    assert bad.gpu is None and words in (bad.problem or "")
    assert good.visible_index == 0


@pytest.mark.parametrize("table", ["", "garbage", "NVIDIA-SMI has failed because it couldn't communicate", "\x1b[0m,,,,,,,,,"])
def test_a_table_that_is_none(bare: Driver, tmp_path: Path, table: str) -> None:
    assert not any(found.gpu for found in smi(bare, tmp_path, table).gpus)


def test_cuda_visible_devices_holds_for_it_too(bare: Driver, tmp_path: Path) -> None:
    found = smi(bare, tmp_path, f"{RTX_4090}\n{RTX_3090}", environ={"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [gpu.visible_index for gpu in found.gpus] == [None, 0]


@pytest.mark.parametrize(
    ("compatible", "name", "capability"),
    [
        ("nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0", "Orin (nvgpu)", (8, 7)),
        ("nvidia,tegra194\0", "Xavier (nvgpu)", (7, 2)),
        ("nvidia,p3971-0089+p3834-0008\0nvidia,tegra264\0", "NVIDIA Thor", (11, 0)),
    ],
)
def test_a_jetson(bare: Driver, tmp_path: Path, compatible: str, name: str, capability: tuple[int, int]) -> None:
    around = linux(tmp_path / "board", {"proc/device-tree/compatible": compatible, "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0"})
    found = bare("", proc=around.proc)
    (gpu,) = found.gpus
    assert gpu.gpu is not None
    assert (gpu.name, gpu.gpu.compute_capability, gpu.gpu.unified, gpu.board) == (name, capability, True, "NVIDIA Jetson AGX Orin Developer Kit")
    assert (gpu.gpu.memory_bytes, gpu.gpu.usable_bytes, gpu.visible_index) == (127600748 * KIB, 119000000 * KIB, 0)


@pytest.mark.parametrize("compatible", ["", "nvidia,tegra999\0", "raspberrypi,5-model-b\0", "nvidia,tegra2345\0"])
def test_another_board_is_none(bare: Driver, tmp_path: Path, compatible: str) -> None:
    around: Surroundings = linux(tmp_path / "board", {"proc/device-tree/compatible": compatible})
    assert bare("", proc=around.proc).gpus == ()
