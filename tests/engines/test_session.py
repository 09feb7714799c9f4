"""All parts of a model together."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.catalog.facts import facts
from runlocal.catalog.gpus import find_gpu
from runlocal.catalog.models import bundled
from runlocal.core.errors import Code, Problem
from runlocal.core.machine import Machine, Origin
from runlocal.core.part import HOST, Basis, Kind, Part, gpu, need
from runlocal.core.workload import Workload
from runlocal.runtimes.llama_cpp import LlamaCpp

MIB = 1 << 20


@cache
def opened(model_id: str) -> LlamaCpp:
    return LlamaCpp(bundled(model_id), "0c1e57098", facts("llama.cpp", None))


def cards(count: int) -> Machine:
    return Machine(origin=Origin.NAMED, label="made up", gpus=tuple(find_gpu("rtx-3090").gpu(index) for index in range(count)))


def parts(model_id: str, machine: Machine, quant: str = "Q4_K_M", **more: object) -> tuple[Part, ...]:
    runtime = opened(model_id)
    workload = Workload(context_tokens=8192)._replace(**more)  # type: ignore[arg-type]
    return runtime.parts(runtime.recipe(quant, None), workload, runtime.placement(workload, machine), machine)


def kinds(found: tuple[Part, ...], device: str) -> set[Kind]:
    return {part.kind for part in found if part.device == device}


def test_what_lies_where() -> None:
    found = parts("gemma-3-4b", cards(2))
    assert kinds(found, "gpu0") == {Kind.WEIGHTS, Kind.CACHE, Kind.VISION, Kind.VISION_BUFFER, Kind.COMPUTE_BUFFER, Kind.RUNTIME}
    assert kinds(found, "gpu1") == {Kind.WEIGHTS, Kind.CACHE, Kind.COMPUTE_BUFFER, Kind.RUNTIME}, "tower and image graph are on the first card"
    assert kinds(found, HOST) == {Kind.WEIGHTS, Kind.COMPUTE_BUFFER}


def test_types_that_cuda_cannot_multiply() -> None:
    """llama.cpp would leave the matrices on the host; on a machine without GPU nothing is different from other types."""
    with pytest.raises(Problem) as problem:
        parts("llama-3.2-1b", cards(1), "TQ1_0")
    assert problem.value.code is Code.NOT_COMPUTED
    assert parts("llama-3.2-1b", Machine(origin=Origin.BUDGET, label="CPU", gpus=(), host_bytes=1 << 34), "TQ1_0")


def test_images_and_vision() -> None:
    machine = cards(1)
    with_image, loaded, without = (parts("gemma-3-4b", machine, **more) for more in ({}, {"images": 0}, {"vision": False}))
    assert {part.kind for part in with_image} - {part.kind for part in loaded} == {Kind.VISION_BUFFER}
    assert {part.kind for part in loaded} - {part.kind for part in without} == {Kind.VISION}


def test_a_cache_kept_on_the_host() -> None:
    found = parts("llama-3.1-8b", cards(1), kv_offload=False)
    assert Kind.CACHE not in kinds(found, "gpu0")
    assert sum(part.bytes for part in found if part.kind is Kind.CACHE and part.device == HOST) == 1 << 30


def test_one_memory_for_both() -> None:
    """What would lie on the host of a card counts against the GPU's share where the memory is one."""
    mac = Machine(origin=Origin.NAMED, label="made up", gpus=(find_gpu("m4-max-64").gpu(0),))
    found, apart = parts("llama-3.1-8b", mac), parts("llama-3.1-8b", cards(1))
    assert {part.device for part in found} == {"gpu0"}
    kept = {Kind.WEIGHTS, Kind.CACHE, Kind.COMPUTE_BUFFER}
    assert sum(part.bytes for part in found if part.kind in kept) == sum(part.bytes for part in apart if part.kind in kept)


def test_a_device_that_ggml_has_no_backend_for_is_refused() -> None:
    runtime = opened("llama-3.1-8b")
    machine = Machine(origin=Origin.NAMED, label="Gaudi 3", gpus=(find_gpu("gaudi-3").gpu(0),))
    assert runtime.refuses(runtime.recipe("Q4_K_M", None), Workload(context_tokens=2048), machine) == "llama.cpp refuses: ggml has no backend for HL-325L"
    assert runtime.refuses(runtime.recipe("Q4_K_M", None), Workload(context_tokens=2048), cards(1)) is None


def test_without_a_gpu() -> None:
    """Everything is on the host, no driver takes anything, and no tied embedding is copied."""
    found = parts("llama-3.2-1b", Machine(origin=Origin.BUDGET, label="CPU", gpus=(), host_bytes=1 << 34))
    assert {part.device for part in found} == {HOST}
    assert Kind.RUNTIME not in kinds(found, HOST)
    runtime = opened("llama-3.2-1b")
    weights = sum(part.bytes for part in found if part.kind is Kind.WEIGHTS)
    assert weights == pytest.approx(runtime.tensor_bytes(runtime.recipe("Q4_K_M", None)), abs=64 * 1024)


def test_every_part_says_why_and_where_from() -> None:
    for model_id in ("gemma-3-4b", "mixtral-8x7b", "deepseek-v2-lite-16b"):
        for part in parts(model_id, cards(1)):
            assert part.because
            assert part.source.startswith("https://"), part
            assert part.bytes >= 0 <= part.margin_bytes
            assert part.basis is Basis.ESTIMATED or not part.margin_bytes


@settings(deadline=None, max_examples=30)
@given(
    model_id=st.sampled_from(["llama-3.1-8b", "gemma-3-4b", "qwen3-30b-a3b", "deepseek-v2-lite-16b", "gpt-oss-20b"]),
    count=st.integers(0, 4),
    layers=st.none() | st.integers(0, 60),
    context=st.sampled_from([512, 8192, 32768]),
    sequences=st.integers(1, 4),
    flags=st.fixed_dictionaries(
        {}, optional={"cpu_moe": st.booleans(), "kv_offload": st.booleans(), "unified_kv": st.booleans(), "flash_attention": st.booleans()}
    ),
)
def test_the_parts_of_a_device_sum_to_its_need(model_id: str, count: int, layers: int | None, context: int, sequences: int, flags: dict[str, bool]) -> None:
    machine = cards(count)
    found = parts(model_id, machine, context_tokens=context, sequences=sequences, gpu_layers=layers, **flags)
    devices = [gpu(index) for index in range(count)] + [HOST]
    assert sum(need(found, device) for device in devices) == sum(part.bytes for part in found)
    assert all(isinstance(part.bytes, int) and part.bytes >= 0 for part in found)


@settings(deadline=None, max_examples=30)
@given(
    model_id=st.sampled_from(["llama-3.1-8b", "gemma-3-4b", "qwen3-30b-a3b", "deepseek-v2-lite-16b", "phi-4-14b", "gpt-oss-20b"]),
    count=st.integers(1, 3),
    context=st.integers(1, 256),
    sequences=st.integers(1, 6),
    flash=st.booleans(),
)
def test_more_context_or_sequences_never_cost_less(model_id: str, count: int, context: int, sequences: int, flash: bool) -> None:
    machine = cards(count)
    tokens = context * 256
    base = parts(model_id, machine, context_tokens=tokens, sequences=sequences, flash_attention=flash)
    longer = parts(model_id, machine, context_tokens=2 * tokens, sequences=sequences, flash_attention=flash)
    wider = parts(model_id, machine, context_tokens=tokens, sequences=sequences + 1, flash_attention=flash)
    for device in (gpu(index) for index in range(count)):
        assert need(base, device) <= need(longer, device)
        assert need(base, device) <= need(wider, device)
    # Best fit leaves a little less behind now and then: the host's inputs may shrink by less than a MiB.
    assert need(base, HOST) <= min(need(longer, HOST), need(wider, HOST)) + MIB
