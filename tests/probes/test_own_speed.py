"""A GPU of one's own that the catalogue knows by its name has the speed of the same one on a shelf; host memory has what is said."""

from pathlib import Path

import pytest

from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.report import Cell

from .test_judged import XTX, put
from .trees import card, kfd, linux


def headline(**options: object) -> Cell:
    (check,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", ctx="8k", **options)).checks  # type: ignore[arg-type]
    return check.machines[0].headline


def test_as_fast_as_on_a_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", XTX, "c8")
    kfd(tmp_path, 1, 110000, 128)
    put(monkeypatch, linux(tmp_path))
    here = headline()
    assert here.speed is not None
    assert here.speed == headline(gpu=("rx-7900-xtx",)).speed
    # Layers that are put in host memory need its bandwidth, whosever the computer is.
    assert "--ram-bandwidth" in headline(gpu_layers=20).speed_unknown
    slower = headline(gpu_layers=20, ram_bandwidth="96").speed
    assert slower is not None
    assert slower.most < here.speed.least


def test_a_computer_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, linux(tmp_path))
    assert "--ram-bandwidth" in headline().speed_unknown
    told = headline(ram_bandwidth="96").speed
    assert told is not None
    assert told.because.startswith("5.69 GB read for a token, which the memory delivers 16.9 times a second")
