"""Weights on devices: CUDA's padding, the second copy of a tied embedding, experts on the host."""

from functools import cache

import pytest

from runlocal.catalog.facts import facts, storage_types
from runlocal.catalog.models import bundled
from runlocal.core.part import HOST
from runlocal.core.tensor import Tensor
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.weights import Weight, cuda_bytes
from runlocal.quants.gguf import Stored
from runlocal.runtimes.llama_cpp import LlamaCpp


@cache
def opened(model_id: str) -> LlamaCpp:
    return LlamaCpp(bundled(model_id), "0c1e57098", facts("llama.cpp", None))


def weights(model_id: str, quant: str, placement: Placement) -> tuple[Weight, ...]:
    return opened(model_id).weights(opened(model_id).recipe(quant, None), placement)


def on(found: tuple[Weight, ...], device: str) -> int:
    return sum(weight.bytes for weight in found if weight.device == device)


def everything(model_id: str, shares: tuple[float, ...] = (1.0,), gpu_layers: int | None = None, **more: int) -> Placement:
    return place(opened(model_id).layout.stored_layers, gpu_layers, shares, **more)


@pytest.mark.parametrize(
    ("columns", "rows", "kind", "size"),
    [
        (4096, 1024, "Q4_K", 1024 * 16 * 144),  # 4096 = 8 × 512: no padding
        (896, 896, "Q5_0", 896 * 28 * 22 + 4 * 22),  # 896 = 512 + 384: 128 more values, four blocks of 22 bytes: 552,024, a multiple of 8 …
        (2880, 2880, "Q8_0", 2880 * 90 * 34 + 6 * 34),  # 2880 = 5 × 512 + 320: 192 more values
        (1408, 2048, "Q5_0", 2048 * 44 * 22 + 4 * 22),  # 1408 = 2 × 512 + 384
        (4096, 1, "F32", 16384),
        (896, 1, "F32", 3584),  # no blocks, no row padding
        (1, 1, "F32", 4),
    ],
)
def test_cuda_pads_the_last_row_and_aligns_to_128(columns: int, rows: int, kind: str, size: int) -> None:
    aligned = -(-size // 128) * 128
    assert cuda_bytes(Stored(Tensor(role="some", columns=columns, rows=rows), storage_types()[kind])) == aligned


def test_llama_3_1_8b_q4_k_m_is_what_llama_cpp_prints() -> None:
    """load_tensors: CUDA0 model buffer size = 4403.49 MiB, CPU_Mapped 281.81 MiB, in every public log of this file."""
    found = weights("llama-3.1-8b", "Q4_K_M", everything("llama-3.1-8b"))
    assert round(on(found, "gpu0") / 2**20, 2) == 4403.49
    assert round(on(found, HOST) / 2**20, 2) == 281.81
    assert on(found, HOST) == 128256 * 16 * 144, "the embedding stays on the host"


def test_a_tied_embedding_is_held_twice() -> None:
    """Llama 3.2 1B: 128256 rows of 2048 values, 8 blocks of 210 bytes as Q6_K, on the host and as the output on the GPU."""
    table = 128256 * 8 * 210
    found = weights("llama-3.2-1b", "Q4_K_M", everything("llama-3.2-1b"))
    assert on(found, HOST) == table
    copies = [weight for weight in found if weight.group == "output: second copy of the tied embedding"]
    assert [(copy.device, copy.bytes) for copy in copies] == [("gpu0", table)]
    runtime = opened("llama-3.2-1b")
    loaded = sum(weight.bytes for weight in found)
    assert loaded - table == pytest.approx(runtime.tensor_bytes(runtime.recipe("Q4_K_M", None)), abs=32 * 1024)


def test_a_tied_output_on_the_host_needs_no_copy() -> None:
    found = weights("llama-3.2-1b", "Q4_K_M", everything("llama-3.2-1b", gpu_layers=0))
    assert on(found, "gpu0") == 0
    assert [weight.bytes for weight in found if weight.group == "token embedding"] == [128256 * 8 * 210]
    assert not [weight for weight in found if weight.group.startswith("output: second copy")]


def test_the_rotary_table_is_loaded_for_every_device_with_layers() -> None:
    one, two = (weights("llama-3.1-8b", "Q4_K_M", everything("llama-3.1-8b", shares)) for shares in ((1.0,), (1.0, 1.0)))
    assert [weight.device for weight in one if weight.bytes == 64 * 4] == ["gpu0"]
    assert [weight.device for weight in two if weight.bytes == 64 * 4] == ["gpu0", "gpu1"]
    assert sum(weight.bytes for weight in two) - sum(weight.bytes for weight in one) == 64 * 4


def test_experts_on_the_host() -> None:
    """--cpu-moe moves the expert matrices and nothing else: 48 layers of 3 matrices of 128 × 2048 × 768."""
    plain = weights("qwen3-30b-a3b", "Q8_0", everything("qwen3-30b-a3b"))
    moved = weights("qwen3-30b-a3b", "Q8_0", everything("qwen3-30b-a3b", host_experts=48))
    experts = 48 * 3 * 128 * 2048 * 768 // 32 * 34
    assert on(moved, HOST) - on(plain, HOST) == experts
    # On the GPU they were padded: rows of 768 values are 256 short of 1024, eight blocks.
    assert on(plain, "gpu0") - on(moved, "gpu0") == experts + 48 * -(-8 * 34 // 128) * 128
    assert {weight.group for weight in moved if weight.device == HOST} == {"token embedding", "experts"}


def test_experts_of_the_first_layers_on_the_host() -> None:
    """--n-cpu-moe 5 of DeepSeek V2 Lite: its first layer is dense, so four of the 26 layers of experts move."""
    plain = weights("deepseek-v2-lite-16b", "F16", everything("deepseek-v2-lite-16b"))
    moved = weights("deepseek-v2-lite-16b", "F16", everything("deepseek-v2-lite-16b", host_experts=5))
    assert on(moved, HOST) - on(plain, HOST) == on(plain, "gpu0") - on(moved, "gpu0") == 4 * 3 * 64 * 2048 * 1408 * 2


def test_a_multi_token_prediction_layer_is_not_loaded() -> None:
    runtime = opened("glm-4.5-air-106b")
    found = weights("glm-4.5-air-106b", "F16", everything("glm-4.5-air-106b"))
    file = runtime.tensor_bytes(runtime.recipe("F16", None))
    assert 7.2e9 < file - sum(weight.bytes for weight in found) < 7.3e9, "220.99 GB in the file, 213.75 loaded"


@pytest.mark.parametrize("model_id", ["llama-3.1-8b", "gemma-3-27b", "deepseek-v2-lite-16b", "gpt-oss-20b", "llama-3.2-90b-vision"])
@pytest.mark.parametrize("shares", [(1.0, 1.0), (3.0, 1.0), (1.0, 2.0, 3.0, 4.0)])
def test_a_split_moves_weights_and_makes_none(model_id: str, shares: tuple[float, ...]) -> None:
    """Whatever the shares: the cards together hold what one would, but for the rotary tables, one more per card (128-byte units)."""
    one = weights(model_id, "Q4_K_M", everything(model_id))
    several = weights(model_id, "Q4_K_M", everything(model_id, shares))
    more = sum(weight.bytes for weight in several) - sum(weight.bytes for weight in one)
    tables = sum(tensor.elements * 4 for tensor in opened(model_id).tensors if tensor.role.startswith("rope_"))
    assert more == (len(shares) - 1) * -(-tables // 128) * 128
    assert on(several, HOST) == on(one, HOST)
