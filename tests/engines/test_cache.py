"""Caches in bytes, by hand."""

from functools import cache

import pytest

from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled
from runlocal.core.cache import CacheKind
from runlocal.core.part import HOST
from runlocal.core.workload import Workload
from runlocal.engines.ggml.cache import device_bytes, formula, layer_bytes
from runlocal.engines.ggml.placement import place
from runlocal.runtimes.llama_cpp import LlamaCpp

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@cache
def opened(model_id: str) -> LlamaCpp:
    return LlamaCpp(bundled(model_id), "0c1e57098", facts("llama.cpp", None))


def total(model_id: str, tokens: int, **more: object) -> int:
    runtime = opened(model_id)
    settings = runtime.settings(Workload(context_tokens=tokens)._replace(**more))  # type: ignore[arg-type]
    placement = place(runtime.layout.stored_layers, None, (1.0,))
    return sum(sum(device_bytes(found, settings, placement).values()) for found in runtime.caches if found.kind is not CacheKind.CROSS)


@pytest.mark.parametrize(
    ("model_id", "tokens", "size"),
    [
        ("llama-3.1-8b", 8192, 32 * 8192 * 2 * 1024 * 2),  # 1 GiB: 128 KiB per token
        ("llama-3.1-70b", 131072, 80 * 131072 * 2 * 1024 * 2),  # 40 GiB
        ("llama-3.2-90b-vision", 8192, 80 * 8192 * 2 * 1024 * 2),  # 2.5 GiB: 80 of 100 layers
        ("llama-3.2-11b-vision", 8192, 32 * 8192 * 2 * 1024 * 2),
        ("qwen3-30b-a3b", 65536, 48 * 65536 * 2 * 512 * 2),  # 6144 MiB, as llama.cpp printed
        ("deepseek-r1-671b", 131072, 61 * 131072 * 576 * 2),  # 1152 B per layer and token: 8.6 GiB, no V
        ("deepseek-v2-lite-16b", 4096, 27 * 4096 * 576 * 2),
        ("gemma-3-27b", 131072, 10 * 131072 * 2 * 2048 * 2 + 52 * 1536 * 2 * 2048 * 2),  # windows: 1024 + 512 cells
        ("gemma-3-27b", 1024, 62 * 1024 * 2 * 2048 * 2),  # a context no longer than the window
        ("gpt-oss-20b", 131072, 12 * 131072 * 2 * 512 * 2 + 12 * 768 * 2 * 512 * 2),  # 128 + 512 → 768 cells
        ("mistral-7b-v0.3", 32768, 32 * 32768 * 2 * 1024 * 2),  # 4 GiB
        ("llama-4-scout-17b-16e", 32768, 12 * 32768 * 2 * 1024 * 2 + 36 * (8192 + 512) * 2 * 1024 * 2),
    ],
)
def test_f16_caches(model_id: str, tokens: int, size: int) -> None:
    assert total(model_id, tokens) == size


def test_layers_without_attention_take_the_width_that_every_v_has_without_flash_attention() -> None:
    """Nemotron Super: 49 of 80 layers attend. Where V lies transposed and layers differ in its width, llama_kv_cache makes it as wide in all of them."""
    assert total("llama-3.3-nemotron-super-49b", 4096) == 49 * 4096 * 2 * 1024 * 2
    assert total("llama-3.3-nemotron-super-49b", 4096, flash_attention=False) == (49 + 80) * 4096 * 1024 * 2


def test_the_90b_at_8k_takes_2_and_a_half_gib() -> None:
    assert total("llama-3.2-90b-vision", 8192) == 5 * GIB // 2
    assert total("llama-3.2-90b-vision", 1 << 17) == 40 * GIB
    assert total("llama-3.2-11b-vision", 1 << 17) == 16 * GIB


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("f32", 4096),
        ("f16", 2048),
        ("bf16", 2048),
        ("q8_0", 32 * 34),
        ("q5_1", 32 * 24),
        ("q5_0", 32 * 22),
        ("q4_1", 32 * 20),
        ("q4_0", 32 * 18),
        ("iq4_nl", 32 * 18),
    ],
)
def test_types_of_a_row_of_1024_values(kind: str, row: int) -> None:
    """Llama 3.1 8B: 32 layers × 8192 cells × (K + V); 1024 is a multiple of 512, so nothing is padded."""
    assert total("llama-3.1-8b", 8192, cache_type_k=kind, cache_type_v=kind) == 32 * 8192 * 2 * row


def test_k_and_v_may_differ() -> None:
    assert total("llama-3.1-8b", 8192, cache_type_k="q8_0", cache_type_v="f16") == 32 * 8192 * (32 * 34 + 2048)


def test_quantized_rows_that_are_no_multiple_of_512_are_padded_once() -> None:
    """Qwen2.5 0.5B: 2 heads of 64, 128 values: 384 more, 12 blocks of 34 bytes, once per tensor, then up to 128 bytes."""
    one = 4096 * 4 * 34 + 12 * 34
    assert total("qwen2.5-0.5b", 4096, cache_type_k="q8_0", cache_type_v="q8_0") == 24 * 2 * (-(-one // 128) * 128)
    assert total("qwen2.5-0.5b", 4096) == 24 * 2 * 4096 * 256, "f16 has no blocks"


def test_sequences() -> None:
    """Four sequences of 8192 cells are four times one; shared windows are not."""
    assert total("llama-3.1-8b", 8192, sequences=4) == 4 * total("llama-3.1-8b", 8192)
    assert total("llama-3.1-8b", 8192, sequences=4, unified_kv=True) == 4 * total("llama-3.1-8b", 8192)
    windows = 52 * 2 * 2048 * 2
    assert total("gemma-3-27b", 8192, sequences=4) == 10 * 4 * 8192 * 2 * 2048 * 2 + windows * 4 * 1536
    assert total("gemma-3-27b", 8192, sequences=4, unified_kv=True) == 10 * 4 * 8192 * 2 * 2048 * 2 + windows * (4 * 1024 + 512)


def test_a_layers_cache_lives_with_the_layer() -> None:
    runtime = opened("llama-3.1-8b")
    settings = runtime.settings(Workload(context_tokens=8192))
    (full,) = runtime.caches
    one = layer_bytes(full, settings, "gpu0")
    assert one == 32 * MIB
    assert device_bytes(full, settings, place(32, None, (1.0, 1.0))) == {"gpu0": 17 * one, "gpu1": 15 * one}
    assert device_bytes(full, settings, place(32, 11, (1.0,))) == {HOST: 22 * one, "gpu0": 10 * one}
    assert device_bytes(full, settings, place(32, None, (1.0,), cache_on_host=True)) == {HOST: 32 * one}


def test_the_formula_says_the_arithmetic() -> None:
    runtime = opened("llama-3.1-8b")
    (full,) = runtime.caches
    assert formula(full, runtime.settings(Workload(context_tokens=8192)), 32) == "32 layers × 8192 cells × (K f16 2048 B + V f16 2048 B)"
    assert (
        formula(full, runtime.settings(Workload(context_tokens=4096, sequences=4)), 32)
        == "32 layers × 4096 cells × 4 sequences × (K f16 2048 B + V f16 2048 B)"
    )
    (latent,) = opened("deepseek-r1-671b").caches
    assert formula(latent, opened("deepseek-r1-671b").settings(Workload(context_tokens=4096)), 61) == "61 layers × 4096 cells × f16 1152 B"
