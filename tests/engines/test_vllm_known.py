"""What vLLM refuses before it allocates anything, and what is said of its weights."""

from typing import Any

import pytest

from runlocal.catalog.facts import facts
from runlocal.catalog.models import find_model
from runlocal.core.workload import Workload
from runlocal.engines.vllm.known import refuses, weights

VLLM = facts("vllm", None)


def refused(model: str = "llama-3.1-8b", gpus: int = 8, **asked: Any) -> str | None:
    return refuses(find_model(model), Workload(**{"context_tokens": 8192, **asked}), gpus, VLLM)


@pytest.mark.parametrize(
    "asked", [{}, {"tensor_parallel": 8}, {"tensor_parallel": 4, "pipeline_parallel": 2}, {"cache_type_k": "bf16", "cache_type_v": "bf16"}]
)
def test_nothing_is_known_against_it(asked: dict[str, Any]) -> None:
    assert refused(**asked) is None


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"cpu_moe": True}, "vLLM has no --cpu-moe: leave what is llama.cpp's out"),
        ({"gpu_layers": 0, "flash_attention": False}, "vLLM has no --no-flash-attn and no --gpu-layers: leave what is llama.cpp's out"),
        ({"kv_offload": False}, "vLLM has no --no-kv-offload: leave what is llama.cpp's out"),
        ({"tensor_split": (3.0, 1.0)}, "vLLM has no --tensor-split: leave what is llama.cpp's out"),
        ({"n_cpu_moe": 3}, "vLLM has no --n-cpu-moe: leave what is llama.cpp's out"),
        ({"batch_tokens": 512}, "vLLM has no --ubatch: leave what is llama.cpp's out"),
        ({"pool_tokens": 8192}, "vLLM has no pool_tokens: leave what is llama.cpp's out"),
        ({"unified_kv": True}, "vLLM has no unified_kv: leave what is llama.cpp's out"),
        ({"output_tokens": 512}, "vLLM has no output_tokens: leave what is llama.cpp's out"),
        ({"swa_full": True}, "vLLM has no swa_full: leave what is llama.cpp's out"),
        ({"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, "vLLM has no cache of type q8_0; it has f16, bf16, auto, fp8, fp8_e4m3, fp8_e5m2 and nvfp4"),
        ({"cache_type_v": "q4_0"}, "vLLM has no cache of type q4_0; it has f16, bf16, auto, fp8, fp8_e4m3, fp8_e5m2 and nvfp4"),
        ({"cache_type_v": "bf16"}, "vLLM sets one type for the whole cache (--kv-cache-dtype)"),
        ({"context_tokens": 131073}, "vLLM refuses a context beyond the 131,072 tokens of the model (--max-model-len)"),
        (
            {"tensor_parallel": 6},
            "vLLM cuts every layer into equal parts: 32 attention heads are not divisible by 6; --tp 1, 2, 4, 8, 16 or 32",
        ),
    ],
)
def test_what_it_refuses(asked: dict[str, Any], reason: str) -> None:
    assert refused(**asked) == reason


def test_a_context_that_scaling_reaches_is_not_refused() -> None:
    """Qwen3 8B: 40,960 tokens, and 131,072 with YaRN, which `--hf-overrides` sets."""
    assert refused("qwen3-8b", context_tokens=131072) is None
    assert refused("qwen3-8b", context_tokens=131073) == "vLLM refuses a context beyond the 131,072 tokens of the model (--max-model-len)"


@pytest.mark.parametrize(
    ("gpus", "asked", "reason"),
    [
        (1, {"tensor_parallel": 2}, "vLLM runs 2 ranks (--tp 2) on as many GPUs, and here is 1"),
        (3, {"pipeline_parallel": 4}, "vLLM runs 4 ranks (--pp 4) on as many GPUs, and here are 3"),
        (4, {"tensor_parallel": 4, "pipeline_parallel": 2}, "vLLM runs 8 ranks (--tp 4 × --pp 2) on as many GPUs, and here are 4"),
        (4, {"tensor_parallel": 2, "pipeline_parallel": 2}, None),
        (0, {"tensor_parallel": 2}, None),  # processes on a CPU
    ],
)
def test_a_rank_is_a_gpu(gpus: int, asked: dict[str, Any], reason: str | None) -> None:
    assert refused(gpus=gpus, **asked) == reason


def test_some_classes_have_no_pipeline() -> None:
    assert refused("gemma-3n-e4b", pipeline_parallel=2) == "vLLM deals no layers of Gemma3nForConditionalGeneration out over pipeline stages; leave --pp out"
    assert refused("gemma-3n-e4b") is None
    assert "unpipelined_classes" not in facts("vllm", "0.20.0").runtime, "which classes had none then was not looked up"


def test_where_no_list_of_sizes_is_known_the_reason_names_none() -> None:
    """Gemma 3n E4B: 8 heads, in layers that nothing else is known of."""
    assert refused("gemma-3n-e4b", tensor_parallel=3) == "vLLM cuts every layer into equal parts: 8 attention heads are not divisible by 3"


@pytest.mark.parametrize(
    ("model", "asked", "said"),
    [
        # 8,030,261,248 values are 14.96 GiB; see test_vllm_parallel.py for the others.
        ("llama-3.1-8b", {}, "the weights alone are 15.0 GiB"),
        ("llama-3.1-8b", {"tensor_parallel": 2}, "of the weights alone, each of 2 ranks holds 7.5 GiB"),
        ("llama-3.1-8b", {"tensor_parallel": 2, "pipeline_parallel": 2}, "of the weights alone, the fullest of 4 ranks holds 3.7 GiB"),
        ("qwen3-30b-a3b", {"pipeline_parallel": 2}, None),
        ("qwen3-next-80b-a3b", {}, None),
        ("gpt-oss-20b", {}, None),
        ("llama-3.1-8b", {"pipeline_parallel": 33}, None),  # a stage without layers
        ("llama-3.1-8b", {"pipeline_parallel": 1 << 60}, None),
    ],
)
def test_what_is_said_of_the_weights(model: str, asked: dict[str, Any], said: str | None) -> None:
    assert weights(find_model(model), Workload(context_tokens=8192, **asked), VLLM) == said


def test_of_a_tower_left_out_nothing_is_said() -> None:
    """Llama 3.2 11B Vision, with it: 19.875 GiB in 0.10.2."""
    model, constants = find_model("llama-3.2-11b-vision"), facts("vllm", "0.10.2")
    assert weights(model, Workload(context_tokens=8192), constants) == "the weights alone are 19.9 GiB"
    assert weights(model, Workload(context_tokens=8192, vision=False), constants) is None
