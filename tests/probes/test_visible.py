"""CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER.

Rules: https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html; the cases of letters behind
numbers, spaces and repeated entries are those of https://github.com/pytorch/pytorch/blob/main/test/test_cuda_nvml_based_avail.py.
"""

import pytest

from runlocal.core.machine import Gpu
from runlocal.probes.detect import machine
from runlocal.probes.detected import DetectedGpu
from runlocal.probes.nvidia.visible import number_visible

from .fakedriver import Driver
from .nvidia_scenarios import MIG, RTX_3090, THREE, TWO_CARDS, UUID_3090, UUID_4090, UUID_A100

BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def card(index: int, uuid: str) -> DetectedGpu:
    """A card of its own kind, so that order matters."""
    return DetectedGpu(
        driver_index=index, name=f"Card {index}", uuid=uuid, card_uuid=uuid, gpu=Gpu(index=index, id=None, name=f"Card {index}", memory_bytes=1 + index)
    )


def mig_slice(index: int, number: int, uuid: str, card_uuid: str) -> DetectedGpu:
    """A slice of the card `index`."""
    return card(index, uuid)._replace(card_uuid=card_uuid, mig_slice=True, mig_profile="1g.5gb", instances=(number, 0))


FOUR = (card(0, "GPU-aa00"), card(1, "GPU-aa11"), card(2, "GPU-bb22"), card(3, "GPU-cc33"))
SLICED = (mig_slice(0, 1, "MIG-0001", "GPU-aa00"), mig_slice(0, 10, "MIG-0002", "GPU-aa00"), card(1, "GPU-bb11"))


def seen(gpus: tuple[DetectedGpu, ...], setting: str | None) -> list[int]:
    """Places of the devices a program sees, in its order."""
    numbered, _ = number_visible(gpus, BY_BUS if setting is None else {**BY_BUS, "CUDA_VISIBLE_DEVICES": setting})
    return sorted((place for place, gpu in enumerate(numbered) if gpu.visible_index is not None), key=lambda place: numbered[place].visible_index or 0)


@pytest.mark.parametrize(
    ("setting", "places"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("  ", []),
        ("2,1", [2, 1]),
        ("0,2,-1,1", [0, 2]),
        ("-1", []),
        ("3", [3]),
        ("4", []),
        ("1,4,0", [1]),
        ("0, 1 ,2", [0, 1, 2]),
        ("1gpu2,2ampere", [1, 2]),
        ("+3", [3]),
        ("0,1,0", []),
        ("0,,1", [0]),
        ("none", []),
        ("GPU-bb22", [2]),
        ("GPU-bb22,GPU-aa00", [2, 0]),
        ("GPU-b", [2]),
        ("GPU-aa", []),
        ("GPU-bb22,GPU-aa,GPU-cc33", [2]),
        ("GPU-bb22,GPU-bb", []),
        ("GPU-bb22,0", [2]),
        ("0,GPU-bb22", [0]),
        ("GPU-bb22,MIG-1", [2]),
        ("gpu-bb22", []),
        ("99999999999999999999", []),
    ],
)
def test_cards(setting: str | None, places: list[int]) -> None:
    assert seen(FOUR, setting) == places


@pytest.mark.parametrize(
    ("setting", "places"),
    [
        (None, [2]),  # whole cards first: a program cannot use both
        ("0", [0]),  # a number means the card, which stands for its first slice
        ("1", [2]),
        ("1,0", [2]),
        ("GPU-aa00", [0]),
        ("GPU-b", [2]),
        ("MIG-0002", [1]),
        ("MIG-0002,MIG-0001", [1]),
        ("MIG-000", []),
        ("MIG-GPU-aa00/10/0", [1]),
        ("MIG-GPU-aa00/1/0", [0]),
        ("MIG-GPU-aa00/1", []),
        ("MIG-GPU-aa00/2/0", []),
    ],
)
def test_slices(setting: str | None, places: list[int]) -> None:
    assert seen(SLICED, setting) == places


def test_a_card_that_cannot_be_read_is_not_seen() -> None:
    gpus = (FOUR[0], FOUR[1]._replace(gpu=None, problem="lost"), FOUR[2])
    assert seen(gpus, None) == [0, 2]
    assert seen(gpus, "1,2") == [2]


def test_numbers_are_ambiguous_where_cards_differ() -> None:
    """The order of numbers is nvidia-smi's with PCI_BUS_ID alone; it is no matter where all are named, where all are equal, or by UUID."""

    def said(gpus: tuple[DetectedGpu, ...], **environ: str) -> bool:
        return any("fastest" in note and "GPU-bb22" in note for note in number_visible(gpus, environ)[1])

    assert said(FOUR, CUDA_VISIBLE_DEVICES="0")
    assert said(FOUR, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="FASTEST_FIRST")
    assert not said(FOUR, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert not said(FOUR, CUDA_VISIBLE_DEVICES="3,2,1,0")
    assert not said(FOUR, CUDA_VISIBLE_DEVICES="GPU-bb22")
    assert not said(FOUR)
    equal = tuple(gpu._replace(name="Card", gpu=gpu.gpu._replace(memory_bytes=1) if gpu.gpu else None) for gpu in FOUR)
    assert not said(equal, CUDA_VISIBLE_DEVICES="0")


@pytest.mark.parametrize(
    ("setting", "words"),
    [("", "is empty"), ("-1", "is '-1'"), ("0,9", "stops counting at '9'"), ("0,0", "twice"), ("x" * 500, "see no GPU"), ("\x1b[31m", "see no GPU")],
)
def test_what_is_hidden_is_said(setting: str, words: str) -> None:
    notes = " ".join(number_visible(FOUR, {"CUDA_VISIBLE_DEVICES": setting, **BY_BUS})[1])
    assert words in notes
    assert notes.isprintable()
    assert len(notes) < 200


def test_hidden_cards_stay_in_the_list(driver: Driver) -> None:
    """The machine is what a program sees; the list is what is there."""
    detection = driver(TWO_CARDS, {"CUDA_VISIBLE_DEVICES": UUID_3090[:8]})
    assert [found.visible_index for found in detection.gpus] == [None, 0]
    assert [(gpu.index, gpu.name) for gpu in machine(detection).gpus] == [(0, "NVIDIA GeForce RTX 3090")]
    detection = driver(TWO_CARDS, {"CUDA_VISIBLE_DEVICES": ""})
    assert machine(detection).gpus == ()
    assert detection.why_no_gpu == "CUDA_VISIBLE_DEVICES is empty: CUDA programs started here see no GPU."


def test_order_of_the_list_is_the_order_of_the_machine(driver: Driver) -> None:
    detection = driver(THREE.replace(RTX_3090, RTX_3090 + "fail nvmlDeviceGetUUID 3\n"), {"CUDA_VISIBLE_DEVICES": "2,0", **BY_BUS})
    assert [(gpu.index, (gpu.uuid or "")[:8]) for gpu in machine(detection).gpus] == [(0, "GPU-9999"), (1, UUID_4090[:8])]


def test_slices_by_name(driver: Driver) -> None:
    for setting in ("MIG-bbbb", f"MIG-{UUID_A100}/1/10"):
        assert [gpu.name for gpu in driver(MIG, {"CUDA_VISIBLE_DEVICES": setting}).visible] == ["NVIDIA A100-SXM4-40GB MIG 3g.20gb"]
    assert [gpu.name for gpu in driver(MIG, {"CUDA_VISIBLE_DEVICES": "0"}).visible] == ["NVIDIA A100-SXM4-40GB MIG 1g.5gb"]
