"""Machines with devices of several makers: which of them a model is judged on."""

from pathlib import Path

import pytest

from runlocal.core.machine import Gpu
from runlocal.core.units import GIB
from runlocal.probes import detect
from runlocal.probes.detected import DetectedGpu, Detection, Found, Host, Surroundings


def device(name: str, size: int, *, index: int | None = 0, integrated: bool = False) -> DetectedGpu:
    """One of so many GiB."""
    gpu = Gpu(index=0, id=None, name=name, memory_bytes=size * GIB, unified=integrated)
    return DetectedGpu(driver_index=0, name=name, gpu=gpu, visible_index=index, integrated=integrated)


def judged(monkeypatch: pytest.MonkeyPatch, *vendors: tuple[DetectedGpu, ...], absent: str | None = None) -> Detection:
    """What is made of these findings."""
    found = iter([Found(gpus=gpus, absent=absent) for gpus in vendors])
    monkeypatch.setattr(detect, "VENDORS", {str(number): "" for number in range(len(vendors))})
    monkeypatch.setattr(detect, "_ask", lambda *_: next(found))
    monkeypatch.setattr(detect.host, "read", lambda _: Host())
    return detect.detect(surroundings=Surroundings(environ={}, platform="linux", libraries=()))


def names(found: Detection) -> list[str]:
    return [gpu.name for gpu in found.visible]


def test_a_processor_s_graphics_are_left_out_beside_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much memory they share, and whoever makes the card."""
    own = judged(monkeypatch, (), (device("A iGPU", 60, index=0, integrated=True), device("A card", 16, index=1)))
    assert names(own) == ["A card"] and own.gpus[1].visible_index == 0
    assert own.gpus[0].left_out == "A iGPU is left out beside A card: programs leave an integrated GPU out where there is a card."
    assert own.notes == (), "a verdict says nothing of it"
    assert names(judged(monkeypatch, (device("N card", 8),), (device("A iGPU", 60, integrated=True),))) == ["N card"]


def test_one_maker_s_cards_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, (device("N card", 12),), (device("A 1", 16, index=1), device("A 0", 16, index=0)))
    assert names(found) == ["A 0", "A 1"]
    assert found.notes == ("N card is left out beside A 0: a program uses the GPUs of one maker.",)


def test_equal_makers_go_by_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(judged(monkeypatch, (device("N", 16),), (device("A", 16),))) == ["N"]


def test_what_the_environment_hides_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(judged(monkeypatch, (device("N", 80, index=None),), (device("A iGPU", 16, integrated=True),))) == ["A iGPU"]


def test_a_full_card_stays_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    full = device("N", 8)
    assert full.gpu is not None
    full = full._replace(gpu=full.gpu._replace(in_use_bytes=8 * GIB))
    assert names(judged(monkeypatch, (full,), (device("A iGPU", 16, integrated=True),))) == ["N"]


def test_absence_is_news_only_where_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, (), (device("A", 16),), absent="None of ours.")
    assert (found.notes, found.absent) == ((), ("None of ours.",) * 2), "`gpus` says it all the same"
    assert judged(monkeypatch, (), (), absent="None of ours.").why_no_gpu == "None of ours. None of ours."


def test_nothing_of_it_is_imported_before_it_is_asked_for(tmp_path: Path) -> None:
    import subprocess
    import sys

    import runlocal

    parts = "{'runlocal.probes.' + name for name in ('amd', 'apple', 'command', 'doctor', 'intel', 'sysfs', 'windows')}"
    code = f"import sys, runlocal.cli, runlocal.commands.check; print({parts} & set(sys.modules))"
    environment = {"PYTHONPATH": str(Path(runlocal.__file__).parent.parent), "HOME": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.strip() == "set()"
