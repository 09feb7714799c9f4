"""What the driver and the libraries take beside ggml's buffers."""

import pytest

from runlocal.catalog.facts import facts
from runlocal.catalog.gpus import find_gpu
from runlocal.core.machine import Backend, Gpu, Machine, Origin
from runlocal.core.part import Basis, Kind
from runlocal.engines.ggml.overhead import overhead_parts

GGML = facts("llama.cpp", None).ggml
MIB = 1 << 20


def machine(*gpus: Gpu) -> Machine:
    return Machine(origin=Origin.NAMED, label="made up", gpus=gpus)


def card(index: int = 0, backend: Backend = Backend.CUDA, context: int | None = 300 * MIB, measured: bool = False) -> Gpu:
    return Gpu(index=index, id=None, name="card", memory_bytes=24 << 30, context_bytes=context, context_measured=measured, backend=backend)


def test_a_context_and_scratch_per_card() -> None:
    found = list(overhead_parts(machine(card(0), card(1)), GGML))
    assert [(part.device, part.label) for part in found] == [
        ("gpu0", "CUDA context"),
        ("gpu0", "cuBLAS and kernel scratch"),
        ("gpu1", "CUDA context"),
        ("gpu1", "cuBLAS and kernel scratch"),
    ]
    assert {part.kind for part in found} == {Kind.RUNTIME}
    assert found[0].bytes == 300 * MIB


@pytest.mark.parametrize(("measured", "basis"), [(True, Basis.MEASURED), (False, Basis.ESTIMATED)])
def test_a_context_that_was_measured_says_so(measured: bool, basis: Basis) -> None:
    part = next(iter(overhead_parts(machine(card(measured=measured)), GGML)))
    assert part.basis is basis


def test_scratch_may_take_three_times_as_much() -> None:
    """64 MiB, up to 192: the verdict counts on the larger."""
    scratch = list(overhead_parts(machine(card()), GGML))[1]
    assert (scratch.bytes, scratch.margin_bytes) == (64 * MIB, 128 * MIB)


def test_where_nothing_is_known_of_a_context_nothing_is_made_up() -> None:
    """Metal: what the system keeps is outside the limit that it gives the GPU."""
    assert list(overhead_parts(machine(card(backend=Backend.METAL, context=None)), GGML)) == []


def test_other_drivers_have_a_context_too() -> None:
    found = list(overhead_parts(machine(card(backend=Backend.ROCM)), GGML))
    assert [part.bytes for part in found] == [300 * MIB, 64 * MIB]
    assert not any("CUDA" in part.label or "cuBLAS" in part.label for part in found)


def test_the_contexts_that_were_measured() -> None:
    """256 MiB on an RTX 3090 (https://github.com/invoke-ai/InvokeAI/issues/9413), 107 on a 4060 Ti, 555 on an RTX PRO 6000 (llama.cpp pull request 23604)."""
    for name, mib in (("rtx-3090", 256), ("rtx-4060-ti-16gb", 107)):
        gpu = find_gpu(name).gpu(0)
        assert gpu.context_bytes is not None
        assert gpu.context_measured
        assert gpu.context_bytes == pytest.approx(mib * MIB, abs=MIB)
