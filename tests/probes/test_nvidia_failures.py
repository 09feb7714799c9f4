"""Everything NVML can answer, at every place where it is asked."""

import re
from pathlib import Path

import pytest

from runlocal.probes.detected import Detection

from .fakedriver import MEMINFO, Driver
from .nvidia_scenarios import GB10_ANSWERING, HEADER, MIG, MIG_CONTAINER, RTX_4090, TWO_CARDS, UUID_A100

CODES = [*range(1, 31), 77, 999]
# The codes that nvidia-ml-py knows and one that it does not.
DRIVER_CALLS = ["nvmlInitWithFlags", "nvmlShutdown", "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetCount_v2"]
CARD_CALLS = [
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetEccMode",
    "nvmlDeviceGetVirtualizationMode",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
]
ELSEWHERE = [  # failed by tests of their own below
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetAddressingMode",
    "nvmlDeviceGetAttributes_v2",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlSystemGetProcessName",
    "nvmlSystemGetNVMLVersion",
]
SLICE_CALLS = ["nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId", "nvmlDeviceGetMemoryInfo_v2"]
# Answers that say that a card or a driver has no such thing, which is no news; a process whose name is not told has none.
QUIET = {
    (call, code)
    for call in (
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetEccMode",
        "nvmlDeviceGetVirtualizationMode",
        "nvmlDeviceGetGpuInstanceId",
        "nvmlDeviceGetComputeInstanceId",
    )
    for code in (3, 13)
}


def sentences(detection: Detection) -> list[str]:
    """Everything that is said."""
    said = [*detection.notes, *(found.problem for found in detection.gpus if found.problem), *(note for found in detection.gpus for note in found.notes)]
    said += [found.why_no_processes for found in detection.gpus if found.why_no_processes]
    for text in said:
        assert re.fullmatch(r"[A-Z].*\S\.", text), text
        assert "fault in runlocal: " not in text, text
        assert "  " not in text, text
    return said


def test_no_call_is_forgotten_here(driver: Driver) -> None:
    """Every NVML function that any machine makes us call is made to fail by a test of this file, and each of those is called."""
    called: set[str] = set()
    slice_without_memory = MIG_CONTAINER.replace("instances 9 0\n", "fail nvmlDeviceGetMemoryInfo_v2 3\n")
    old_form = HEADER + RTX_4090 + "fail nvmlDeviceGetMemoryInfo_v2 999\n"
    for scenario in (TWO_CARDS, MIG, slice_without_memory, GB10_ANSWERING, old_form, "fail nvmlInitWithFlags 18\n"):
        driver(scenario)
        called |= set(driver.called)
    assert called == {*DRIVER_CALLS, *CARD_CALLS, *SLICE_CALLS, *ELSEWHERE}


@pytest.mark.parametrize("call", CARD_CALLS)
def test_a_failing_call_on_one_card_leaves_the_other_card_alone(driver: Driver, call: str) -> None:
    untouched = driver(TWO_CARDS).gpus[1]
    head, tail = TWO_CARDS.split("gpu NVIDIA GeForce RTX 3090")
    for code in CODES:
        detection = driver(f"{head}fail {call} {code}\ngpu NVIDIA GeForce RTX 3090{tail}")
        assert detection.gpus[1]._replace(visible_index=1) == untouched, (call, code)
        assert len(detection.gpus) == 2, (call, code)
        assert detection.gpus[0].gpu or detection.gpus[0].problem, (call, code)
        said = sentences(detection)
        fell_back = call == "nvmlDeviceGetMemoryInfo_v2" and code in {13, 25, 999}
        # A process list refused as too short is the binding's cue to ask again, and means "none" here; code 13 has an older form.
        retried = "Processes" in call and code == 7
        assert said or (call, code) in QUIET or fell_back or retried, (call, code)
        if code in {15, 16} and not retried:
            assert detection.gpus[0].gpu is None, (call, code)


@pytest.mark.parametrize("call", DRIVER_CALLS)
def test_a_failing_call_on_the_driver_is_a_sentence(driver: Driver, call: str) -> None:
    for code in CODES:
        detection = driver(f"fail {call} {code}\n" + TWO_CARDS)
        said = sentences(detection)
        assert said or call == "nvmlShutdown", (call, code)
        if call in {"nvmlInitWithFlags", "nvmlDeviceGetCount_v2"}:
            assert detection.gpus == (), (call, code)
            assert detection.why_no_gpu, (call, code)
            assert "nvmlShutdown" in driver.called or call == "nvmlInitWithFlags"
        else:
            assert len(detection.visible) == 2, (call, code)


@pytest.mark.parametrize("call", ["nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex"])
def test_a_failing_call_about_slices_never_offers_the_card(driver: Driver, call: str) -> None:
    for code in CODES:
        detection = driver(MIG.replace("mig 1\n", f"mig 1\nfail {call} {code}\n") + RTX_4090)
        assert [gpu.name for gpu in detection.visible] == ["NVIDIA GeForce RTX 4090"], (call, code)
        assert any(found.problem for found in detection.gpus), (call, code)
        assert sentences(detection), (call, code)


@pytest.mark.parametrize("call", SLICE_CALLS)
def test_a_failing_call_on_one_slice_leaves_the_other_slice_alone(driver: Driver, call: str) -> None:
    untouched = driver(MIG).gpus[1]
    head, tail = MIG.rsplit("slice ", 1)
    for code in CODES:
        detection = driver(f"{head}fail {call} {code}\nslice {tail}", {"CUDA_VISIBLE_DEVICES": "MIG-bbbb"})
        assert [gpu.uuid for gpu in detection.visible] == [untouched.uuid], (call, code)
        assert len(detection.gpus) == 2, (call, code)
        assert detection.gpus[1]._replace(visible_index=None) == untouched._replace(visible_index=None), (call, code)
        assert sentences(detection) or (call, code) in QUIET, (call, code)


def test_failing_attributes_and_addressing_mode(driver: Driver) -> None:
    """Asked only where the memory call fails on a slice, and where a card's memory might be the host's."""
    mute = MIG_CONTAINER.replace("instances 9 0\n", "fail nvmlDeviceGetMemoryInfo_v2 3\n")
    for code in CODES:
        detection = driver(f"{mute}fail nvmlDeviceGetAttributes_v2 {code}\n")
        assert detection.visible == (), code
        assert sentences(detection), code
        detection = driver(f"{GB10_ANSWERING}fail nvmlDeviceGetAddressingMode {code}\n")
        assert all(not gpu.unified for gpu in detection.visible), code
        assert sentences(detection) or code in {3, 13}, code


def test_both_forms_of_a_call_failing(driver: Driver) -> None:
    for code in CODES:
        if code == 3:
            continue  # the sign of unified memory, which has a test of its own
        detection = driver(HEADER + RTX_4090 + f"fail nvmlDeviceGetMemoryInfo_v2 13\nfail nvmlDeviceGetMemoryInfo {code}\n")
        assert detection.gpus[0].gpu is None, code
        assert sentences(detection), code
        assert detection.why_no_gpu, code
    for code in CODES:
        scenario = TWO_CARDS + "fail nvmlDeviceGetComputeRunningProcesses_v3 13\n"
        assert driver(scenario).gpus[1].processes is None, "this driver has no older form"
        assert all(process.name is None for process in driver(f"fail nvmlSystemGetProcessName {code}\n" + TWO_CARDS).gpus[1].processes or ()), code


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (9, "not running"),
        (18, "differ in version; reboot"),
        (4, "groups video and render"),
        (999, "restart the container"),
        (15, "lost"),
        (12, "No NVIDIA driver was found"),
    ],
)
def test_why_the_driver_does_not_start(driver: Driver, code: int, words: str) -> None:
    detection = driver(f"fail nvmlInitWithFlags {code}\nfail nvmlSystemGetNVMLVersion 1\n")
    assert words in detection.why_no_gpu
    assert len(detection.notes) == 1


def test_versions_that_differ_are_named(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    (tmp_path / "driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.172.08  Tue Jul  8 18:37:34 UTC 2025\nGCC version: gcc 13.3.0\n"
    )
    (tmp_path / "meminfo").write_text(MEMINFO)
    detection = driver("fail nvmlInitWithFlags 18\n" + HEADER, proc=tmp_path)
    assert detection.why_no_gpu == "NVIDIA driver: its files are version 580.95.05 and the running driver is 570.172.08; reboot."


def test_a_driver_without_cards(driver: Driver) -> None:
    assert "--gpus all" in driver(HEADER).why_no_gpu


def test_no_library(no_driver: Driver, tmp_path: Path) -> None:
    """Normal on a machine without NVIDIA, and said otherwise where the card is there."""
    assert no_driver("").notes == ("No NVIDIA driver was found.",)
    for number, (vendor, kind) in enumerate([("0x8086", "0x030000"), ("0x10de", "0x040300")]):
        folder = tmp_path / f"bus/pci/devices/0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "class").write_text(kind + "\n")
    assert no_driver("", sys_root=tmp_path).notes == ("No NVIDIA driver was found.",), "Intel's graphics and a card's sound are no NVIDIA card"
    (tmp_path / "bus/pci/devices/0000:01:00.0/class").write_text("0x030200\n")
    assert "--gpus all" in no_driver("", sys_root=tmp_path).why_no_gpu
    (tmp_path / "bus/pci/devices/0000:01:00.0/class").unlink()
    assert "--gpus all" in no_driver("", sys_root=tmp_path).why_no_gpu, "a device of unknown class may be one"


def test_a_library_outside_the_loaders_path_is_found(no_driver: Driver, library: Path) -> None:
    """WSL's and NixOS's place."""
    places = ("/nonexistent/libnvidia-ml.so.1", str(library / "libnvidia-ml.so.1"))
    assert [gpu.name for gpu in no_driver(HEADER + RTX_4090, libraries=places).visible] == ["NVIDIA GeForce RTX 4090"]


def test_a_slice_is_refused_with_its_card_named(driver: Driver) -> None:
    detection = driver(MIG.replace(f"uuid {UUID_A100}\n", f"uuid {UUID_A100}\nfail nvmlDeviceGetMigDeviceHandleByIndex 4\n"))
    assert {found.problem for found in detection.gpus} == {
        f"GPU 0 (NVIDIA A100-SXM4-40GB), MIG slice {number}: permission denied; in a container ask for the device (or its MIG slice), elsewhere check the rights of /dev/nvidia*."
        for number in range(7)
    }
