"""The whole computer."""

import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

import runlocal
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.probes import detect
from runlocal.probes.detected import DetectedGpu, Detection, Host, Surroundings

from .fakedriver import MEMINFO, Driver
from .nvidia_scenarios import RTX_4090, TWO_CARDS

SOURCE = Path(runlocal.__file__).parent.parent


def test_no_gpu_is_a_machine_of_processor_and_memory(no_driver: Driver) -> None:
    detection = no_driver("")
    assert detection.gpus == ()
    assert detection.why_no_gpu == "No NVIDIA driver was found."
    expected = Machine(origin=Origin.HERE, label="CPU", gpus=(), host_bytes=119000000 * 1024, notes=("No NVIDIA driver was found.",))
    assert detect.machine(detection) == expected


def test_with_gpus(driver: Driver) -> None:
    found = detect.machine(driver(TWO_CARDS))
    assert (found.origin, found.label, len(found.gpus), found.host_bytes) == (Origin.HERE, "RTX 4090 + RTX 3090", 2, 119000000 * 1024)
    assert driver(TWO_CARDS).why_no_gpu == ""


def test_sentences_are_said_once_and_those_of_hidden_cards_not_at_all() -> None:
    gpu = Gpu(index=0, id=None, name="A", memory_bytes=1)
    gpus = (
        DetectedGpu(driver_index=0, name="A", gpu=gpu, visible_index=1, notes=("One.", "Two.")),
        DetectedGpu(driver_index=1, name="A", gpu=gpu, visible_index=0, notes=("Two.",)),
        DetectedGpu(driver_index=2, name="A", gpu=gpu, notes=("Hidden.",)),
        DetectedGpu(driver_index=3, name="A", gpu=None, problem="Lost."),
    )
    found = detect.machine(Detection(gpus=gpus, host=Host(total_bytes=5), notes=("First.",)))
    assert found.notes == ("First.", "Lost.", "One.", "Two.")
    assert (found.label, found.host_bytes) == ("2 x A", 5)


def test_a_broken_vendor_hides_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each fails alone, and a fault is called one."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "probe_that_breaks.py").write_text("def read(surroundings, memory, processes):\n    raise KeyError('x')\n")
    (tmp_path / "probe_that_works.py").write_text(
        "from runlocal.probes.detected import *\ndef read(surroundings, memory, processes):\n    return Found(notes=('Fine.',), driver_version='1')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(detect, "VENDORS", {"A": "probe_that_breaks", "B": "probe_that_works", "C": "probe_that_is_missing"})
    found = detect.detect(surroundings=Surroundings(environ={}, platform="linux", proc=tmp_path, sys=tmp_path))
    assert found.notes[1] == "Fine."
    assert "A GPUs failed" in found.notes[0]
    assert "KeyError" in found.notes[0]
    assert "C GPUs failed" in found.notes[2]
    assert found.driver_version == "1"


def test_every_vendor_has_a_module_with_read() -> None:
    for module in detect.VENDORS.values():
        assert callable(import_module(module).read)


def run(code: str, *folders: Path) -> str:
    """What a fresh interpreter prints, with these folders first on its path."""
    environment = {"PYTHONPATH": ":".join(map(str, [*folders, SOURCE])), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    heavy = "{'pynvml', 'subprocess', 'ctypes', 'tempfile', 'pydantic', 'rich', 'runlocal.probes.nvidia'}"
    assert run(f"import sys, runlocal.probes.detect; print({heavy} & set(sys.modules))") == "set()"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("def nvmlInit(): raise SystemError\nclass NVMLError(Exception): pass", "an old pynvml package hides nvidia-ml-py"),
        ("print 'Python 2'", "an old pynvml package hides nvidia-ml-py"),
        ("raise ImportError", "nvidia-ml-py is missing"),
    ],
    ids=["old", "python2", "missing"],
)
def test_a_package_that_hides_the_binding_is_named(tmp_path: Path, module: str, words: str) -> None:
    (tmp_path / "pynvml.py").write_text(module)
    said = run("from runlocal.probes.detect import detect; print(detect().notes[0])", tmp_path)
    assert words in said
    assert "pip" in said


def test_the_deprecated_packages_warning_is_not_passed_on(library: Path, tmp_path: Path) -> None:
    """The PyPI package pynvml warns at import; it hands on to the real binding."""
    import pynvml  # type: ignore[import-untyped]

    (tmp_path / "pynvml.py").write_text(f"import warnings\nwarnings.warn('deprecated', FutureWarning)\nexec(open({pynvml.__file__!r}).read())\n")
    (tmp_path / "scenario").write_text("driver 580.95.05\ncuda 13000\n" + RTX_4090)
    code = f"""
        import os, sys, warnings
        warnings.simplefilter("error")
        os.environ["FAKENVML"] = {str(tmp_path / "scenario")!r}
        from runlocal.probes.detect import Surroundings, detect
        found = detect(surroundings=Surroundings(environ={{}}, platform="linux", libraries=({str(library / "libnvidia-ml.so.1")!r},)))
        print(len(found.gpus), *found.notes)
    """
    assert run(code, tmp_path) == "1"


def test_the_session_is_closed_whatever_happens(driver: Driver) -> None:
    for scenario in (TWO_CARDS, TWO_CARDS.replace("ecc 0", "ecc 0\nfail nvmlDeviceGetHandleByIndex_v2 15"), "fail nvmlDeviceGetCount_v2 999\n" + TWO_CARDS):
        driver(scenario)
        assert driver.called[-1] == "nvmlShutdown"
        assert driver.called.count("nvmlInitWithFlags") == driver.called.count("nvmlShutdown") == 1
    driver("fail nvmlInitWithFlags 9\n")
    assert driver.called == ["nvmlInitWithFlags"]
