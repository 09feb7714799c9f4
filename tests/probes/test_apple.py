"""Apple silicon, through programs of the names that macOS has."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runlocal.commands import here
from runlocal.core.machine import Backend
from runlocal.core.units import GIB, MIB
from runlocal.probes import apple, detect, host
from runlocal.probes.detected import DetectedGpu, Found, Surroundings

from .trees import programs

# llama.cpp prints "recommendedMaxWorkingSetSize  = 55662.79 MB" (of 10^6 bytes) on 64 GB since macOS 26: sources in data/gpus/rules.toml.
METAL_64 = 53084 * MIB
PAGE = 16384
Mac = Callable[..., Surroundings]


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """A Mac with so much memory of which so much is free; `metal` is what Metal tells."""

    def make(
        gb: int = 64, free_gb: int = 60, *, metal: str = "exit 1", wired: str = "0", macos: str = "26.1", chip: str = "Apple M1 Max", arm: str = "1"
    ) -> Surroundings:
        answers = {"hw.memsize": gb * GIB, "machdep.cpu.brand_string": chip, "hw.optional.arm64": arm, "iogpu.wired_limit_mb": wired, "hw.physicalcpu": 10}
        displays = {"SPDisplaysDataType": [{"sppci_model": chip, "sppci_cores": "32", "_name": "kHW_AppleM1MaxItem"}]}
        scripts = {
            "sysctl": 'case "$2" in ' + " ".join(f"{name}) echo '{value}';;" for name, value in answers.items()) + " *) exit 1;; esac",
            "vm_stat": f"echo 'Mach Virtual Memory Statistics: (page size of {PAGE} bytes)\nPages free: {free_gb * GIB // PAGE}.'",
            "sw_vers": f"echo {macos}",
            "system_profiler": f"echo '{json.dumps(displays)}'",
        }
        programs(tmp_path / "bin", monkeypatch, scripts)
        (tmp_path / "metal").write_text(f"#!/bin/sh\n{metal}\n")
        (tmp_path / "metal").chmod(0o755)
        return Surroundings(environ={}, platform="darwin", python=str(tmp_path / "metal"), libraries=())

    return make


def ask(around: Surroundings, *, processes: bool = False) -> Found:
    """The GPU of that Mac."""
    return apple.read(around, host.read(around), processes)


def test_metal_s_own_limit(mac: Mac) -> None:
    (found,) = ask(mac(metal=f"echo {METAL_64}"), processes=True).gpus
    assert found.gpu is not None
    assert (found.name, found.gpu.memory_bytes, found.gpu.usable_bytes) == ("Apple M1 Max", 64 * GIB, METAL_64)
    assert (found.gpu.backend, found.gpu.unified, found.macos, found.found_by) == (Backend.METAL, True, None, "sysctl and Metal")
    assert "Apple M1 Max: 32 GPU cores." in found.notes


def test_no_more_than_the_host_has_free(mac: Mac) -> None:
    (found,) = ask(mac(free_gb=20, metal=f"echo {METAL_64}")).gpus
    assert found.gpu is not None
    assert (found.gpu.usable_bytes, found.gpu._replace(in_use_bytes=0).usable_bytes) == (20 * GIB, METAL_64)


def test_a_limit_that_the_owner_set(mac: Mac) -> None:
    (found,) = ask(mac(wired="57344")).gpus
    assert found.gpu is not None and found.gpu.usable_bytes == 56 * GIB
    assert "Metal did not tell" in found.notes[0] and "iogpu.wired_limit_mb lets" in found.notes[1]


@pytest.mark.parametrize(
    ("gb", "macos", "limit_mib"),
    [
        (64, "26.1", 53084),
        (64, "15.7.2", 49152),
        (16, "27.0", 12124),
        (16, "14.4", 10922),
        (128, "26.0", 110100),
        (32, "13.6", 21845),
    ],
)
def test_the_usual_limit_by_macos(mac: Mac, monkeypatch: pytest.MonkeyPatch, gb: int, macos: str, limit_mib: int) -> None:
    """Of data/gpus/rules.toml, whose figures public logs print."""
    found = complete(mac(gb, gb, macos=macos), monkeypatch)
    assert found.gpu is not None and found.gpu.usable_bytes == limit_mib * MIB
    assert any(f"the usual one of {gb}.0 GiB under macOS {macos.split('.')[0]}" in note for note in found.notes)


@pytest.mark.parametrize(("gb", "macos"), [(64, "nonsense"), (20, "26.0"), (256, "15.0")])
def test_where_no_usual_limit_is_known_the_smallest_share_is_taken_and_said(mac: Mac, monkeypatch: pytest.MonkeyPatch, gb: int, macos: str) -> None:
    found = complete(mac(gb, gb, macos=macos), monkeypatch)
    assert found.gpu is not None
    assert found.gpu.usable_bytes == (49152 * MIB if gb == 64 else gb * GIB * 2 // 3)
    assert any("is assumed" in note or "an unknown macOS" in note for note in found.notes)


def complete(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> DetectedGpu:
    """With what the catalogue knows."""
    monkeypatch.setattr(detect, "Surroundings", lambda **_: around)
    (found,) = here.detection().gpus
    return found


@pytest.mark.parametrize("metal", ["echo 0", "echo -5", f"echo {1 << 60}", "echo 99999999999999999999999999", "kill -SEGV $$"])
def test_what_metal_cannot_have_meant(mac: Mac, metal: str) -> None:
    (found,) = ask(mac(metal=metal)).gpus
    assert found.macos == 26 and found.visible_index == 0


def test_an_intel_mac(mac: Mac) -> None:
    found = ask(mac(arm="0"))
    assert found.gpus == () and "no Apple chip" in (found.absent or "")


def test_a_mac_that_answers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "bin", monkeypatch, {"sysctl": '[ "$2" = hw.optional.arm64 ] && echo 1'})
    around = Surroundings(environ={}, platform="darwin", python=str(tmp_path / "none"), libraries=())
    (found,) = ask(around, processes=True).gpus
    assert found.gpu is None and "cannot be read" in (found.problem or "")
    assert len(list(apple.readings(around))) == 10
