"""Layers on devices: `-ngl` counts the output layer first, and a split gives a layer to the card whose share its place falls into."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.core.part import HOST
from runlocal.engines.ggml.placement import Placement, place


def counts(found: Placement, *devices: str) -> tuple[int, ...]:
    """Layers per device, the output layer not among them."""
    return tuple(found.layers.count(device) for device in devices)


@pytest.mark.parametrize(
    ("asked", "blocks", "output"),
    [(None, 32, "gpu0"), (33, 32, "gpu0"), (999, 32, "gpu0"), (32, 31, "gpu0"), (2, 1, "gpu0"), (1, 0, "gpu0"), (0, 0, HOST)],
)
def test_layers_on_one_gpu_of_a_model_of_32(asked: int | None, blocks: int, output: str) -> None:
    found = place(32, asked, (24.0,))
    assert counts(found, "gpu0", HOST) == (blocks, 32 - blocks)
    assert found.output == output
    assert found.layers == (HOST,) * (32 - blocks) + ("gpu0",) * blocks, "the last layers go to the GPU"
    assert found.gpu_layers == blocks + (output != HOST)
    assert found.all_on_gpus == (blocks == 32)


@pytest.mark.parametrize(
    ("shares", "blocks"),
    [
        ((1.0, 1.0), (17, 15)),  # i/33 < 1/2 up to i = 16; the 33rd, the output, is the second card's sixteenth
        ((24.0, 12.0), (22, 10)),  # i/33 < 2/3 up to i = 21
        ((12.0, 24.0), (11, 21)),  # i/33 < 1/3 up to i = 10, and 11/33 is the bound itself
        ((1.0, 1.0, 1.0), (11, 11, 10)),
        ((1.0, 1.0, 1.0, 1.0), (9, 8, 8, 7)),  # 8.25 layers each
    ],
)
def test_split_of_32_layers_and_the_output(shares: tuple[float, ...], blocks: tuple[int, ...]) -> None:
    found = place(32, None, shares)
    assert counts(found, *found.devices()) == blocks
    assert found.output == found.devices()[-1]
    assert found.pipelined


def test_split_of_some_layers() -> None:
    """-ngl 17: layers 16 to 31 and the output go, i/17 < 1/2 up to the ninth."""
    found = place(32, 17, (1.0, 1.0))
    assert counts(found, HOST, "gpu0", "gpu1") == (16, 9, 7)
    assert found.output == "gpu1"
    assert not found.pipelined, "a layer on the host, no overlap"


@pytest.mark.parametrize("on_host", [{"host_experts": 1}, {"host_experts": 32}, {"cache_on_host": True}])
def test_no_overlap_where_the_host_takes_part(on_host: dict[str, Any]) -> None:
    assert not place(32, None, (1.0, 1.0), **on_host).pipelined
    assert place(32, None, (1.0, 1.0), **on_host).all_on_gpus


def test_a_bound_that_falls_on_a_layer_is_the_next_devices() -> None:
    """33 with the output in thirds: layer 11 is at 11/33 and the bound at 1/3, both 0.33333334 in single precision, so it is the second GPU's."""
    assert counts(place(32, None, (1.0, 1.0, 1.0)), "gpu0", "gpu1", "gpu2") == (11, 11, 10)


@given(counts=st.lists(st.integers(0, 60), min_size=2, max_size=8).filter(any))
def test_whole_numbers_of_layers_are_dealt_out_as_they_stand(counts: list[int]) -> None:
    """What the printed `-ts` says is what each GPU gets, the output counted with the last that gets any."""
    found = place(sum(counts) - 1, None, tuple(map(float, counts)))
    assert [(*found.layers, found.output).count(f"gpu{index}") for index in range(len(counts))] == counts


def test_without_a_gpu_everything_is_on_the_host() -> None:
    found = place(32, None, ())
    assert found.layers == (HOST,) * 32
    assert (found.output, found.gpu_layers, found.devices()) == (HOST, 0, ())


@settings(deadline=None, max_examples=80)
@given(
    stored=st.integers(1, 130),
    asked=st.none() | st.integers(0, 140),
    shares=st.lists(st.floats(1.0, 1e12), max_size=5).map(tuple),
)
def test_every_layer_has_one_device_in_order(stored: int, asked: int | None, shares: tuple[float, ...]) -> None:
    found = place(stored, asked, shares)
    walk = [-1 if device == HOST else int(device.removeprefix("gpu")) for device in (*found.layers, found.output)]
    assert walk == sorted(walk)
    assert len(found.layers) == stored
    assert found.gpu_layers == (0 if not shares else min(stored + 1, stored + 1 if asked is None else asked))
    assert sum(found.spread(tuple(range(stored))).values()) == stored
