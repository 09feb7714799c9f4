"""What llama.cpp makes of a workload: cells, streams, batches, windows."""

from functools import cache

import pytest

from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled
from runlocal.core.cache import Cache, CacheKind
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import place
from runlocal.engines.ggml.refusals import most_gpus, refuses_cache, refuses_device
from runlocal.engines.ggml.settings import Settings
from runlocal.runtimes.llama_cpp import LlamaCpp

ALONE = Machine(origin=Origin.NAMED, label="", gpus=(Gpu(index=0, id=None, name="", memory_bytes=1 << 41),))


@cache
def opened(model_id: str) -> LlamaCpp:
    return LlamaCpp(bundled(model_id), "0c1e57098", facts("llama.cpp", None))


def settled(model_id: str = "llama-3.1-8b", context_tokens: int = 8192, **more: object) -> Settings:
    return opened(model_id).settings(Workload(context_tokens=context_tokens)._replace(**more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "cells", "streams"),
    [
        ({"context_tokens": 8192}, 8192, 1),
        ({"context_tokens": 5000}, 5120, 1),  # 20 × 256
        ({"context_tokens": 1}, 256, 1),
        ({"context_tokens": 4096, "sequences": 4}, 4096, 4),  # -c 16384 -np 4
        ({"pool_tokens": 16384, "sequences": 4}, 4096, 4),
        ({"pool_tokens": 10000, "sequences": 4}, 2560, 4),  # 10000 → 10240, a quarter is 2560
        ({"pool_tokens": 10000, "sequences": 3}, 3584, 3),  # 10240 / 3 = 3413 → 3584
        ({"pool_tokens": 16384, "sequences": 4, "unified_kv": True}, 16384, 1),
        ({"context_tokens": 4096, "sequences": 4, "unified_kv": True}, 16384, 1),
    ],
)
def test_cells_and_streams(asked: dict[str, object], cells: int, streams: int) -> None:
    found = settled(**asked)  # type: ignore[arg-type]
    assert (found.cells, found.streams) == (cells, streams)


@pytest.mark.parametrize(
    ("asked", "ubatch"),
    [
        ({}, 512),
        ({"batch_tokens": 2048}, 2048),
        ({"batch_tokens": 4096}, 4096),
        ({"batch_tokens": 4096, "context_tokens": 1024}, 1024),
        ({"context_tokens": 300}, 300),
    ],
)
def test_tokens_of_a_step(asked: dict[str, object], ubatch: int) -> None:
    """512, never more than the context; -b is raised to -ub."""
    assert settled(**asked).ubatch_tokens == ubatch  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "rows"),
    [({}, 1), ({"sequences": 4}, 4), ({"output_tokens": 512}, 512), ({"output_tokens": 100_000}, 512), ({"output_tokens": 7, "sequences": 4}, 7)],
)
def test_rows_of_logits(asked: dict[str, object], rows: int) -> None:
    """One per sequence in llama-server; never more than a step has tokens."""
    assert settled(**asked).output_rows == rows  # type: ignore[arg-type]


WINDOW = Cache(kind=CacheKind.SLIDING, layers=(0,), k_values=1024, v_values=1024, window_tokens=1024, heads=8)


@pytest.mark.parametrize(
    ("asked", "cells"),
    [
        ({}, 1536),  # 1024 + 512
        ({"batch_tokens": 2048}, 3072),  # 1024 + 2048
        ({"batch_tokens": 100}, 1280),  # 1124 → 1280
        ({"sequences": 4}, 1536),  # each sequence has its own stream of that
        ({"sequences": 4, "unified_kv": True}, 4608),  # 4 × 1024 + 512, in one stream
        ({"context_tokens": 1024}, 1024),  # never more than the context
        ({"swa_full": True}, 8192),
    ],
)
def test_cells_of_a_window_of_1024(asked: dict[str, object], cells: int) -> None:
    assert settled("gemma-3-27b", **asked).cells_of(WINDOW) == cells  # type: ignore[arg-type]


def test_a_loader_that_knows_no_window_caches_everything() -> None:
    """Mistral 7B v0.1 has a window of 4096 in config.json; llama.cpp's `llama` loader does not read it."""
    assert settled("llama-3.1-8b", 32768).cells_of(WINDOW) == 32768


@pytest.mark.parametrize(
    ("model_id", "available"), [("llama-3.1-8b", True), ("phi-2", True), ("deepseek-r1-671b", True), ("gemma-2-9b", True), ("llama-3.2-1b", True)]
)
def test_flash_attention_by_head(model_id: str, available: bool) -> None:
    """Heads of 128, 80, 576 beside 512 (latent), 256 and 64 are widths that the kernels take."""
    assert settled(model_id).flash_attention is available


def test_flash_attention_as_asked() -> None:
    assert settled(flash_attention=False).flash_attention is False
    assert settled(flash_attention=True).flash_attention is True


def test_flash_attention_that_the_gpu_has_no_kernel_for() -> None:
    """MiniCPM3's heads of 96 and 64: found out when the cache stands already, unless a quantized V needs it all the same."""
    by_itself, quantized, off = settled("minicpm3-4b"), settled("minicpm3-4b", cache_type_v="q8_0"), settled("minicpm3-4b", flash_attention=False)
    assert (by_itself.flash_attention, by_itself.v_transposed) == (False, False)
    assert (quantized.flash_attention, quantized.flash_on_host) == (True, True)
    assert (off.flash_attention, off.v_transposed) == (False, True)
    assert not settled().flash_on_host


@pytest.mark.parametrize("asked", [{}, {"flash_attention": True}, {"cache_type_v": "q8_0"}])
def test_grok_never_has_flash_attention(asked: dict[str, object]) -> None:
    found = settled("grok-1-314b", **asked)
    assert (found.flash_attention, found.v_transposed) == (False, True)


def test_cache_types() -> None:
    found = settled(cache_type_k="q8_0", cache_type_v="f16")
    assert (found.type_k.name, found.type_v.name, found.kv_is_quantized) == ("Q8_0", "F16", True)
    assert settled(cache_type_k="bf16", cache_type_v="f32").kv_is_quantized is False


@pytest.mark.parametrize(
    ("model_id", "asked", "layers", "flash"),
    [
        ("lfm2-1.2b", {}, None, True),
        ("lfm2-1.2b", {}, 8, False),  # attention in the last layer on the host, a convolution's state on the GPU right behind it
        ("lfm2-1.2b", {}, 7, True),
        ("lfm2-1.2b", {"flash_attention": True}, 8, True),
        ("lfm2-1.2b", {"cache_type_v": "q8_0"}, 8, True),  # a quantized V cannot do without
        ("lfm2-1.2b", {"kv_offload": False}, None, False),
        ("lfm2-8b-a1b", {}, 14, True),  # the router is computed before the state is loaded
        ("deepseek-v4-flash-284b", {}, 21, True),
        ("qwen3-next-80b-a3b", {}, 24, True),
        ("llama-3.1-8b", {}, 8, True),
    ],
)
def test_flash_attention_that_the_scheduler_moves_away_from_its_layer_is_off(model_id: str, asked: dict[str, object], layers: int | None, flash: bool) -> None:
    runtime, workload = opened(model_id), Workload(context_tokens=8192)._replace(**asked)  # type: ignore[arg-type]
    placement = place(runtime.layout.stored_layers, layers, (1.0,), cache_on_host=not workload.kv_offload)
    assert runtime.step(workload, placement) == (512, flash)


@pytest.mark.parametrize(
    ("model_id", "asked", "why"),
    [
        ("deepseek-r1-671b", {"cache_type_k": "q8_0"}, "kept as one"),
        ("deepseek-r1-671b", {"cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attention": False}, "needs flash attention"),
        ("deepseek-r1-671b", {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, None),
        ("deepseek-v4-flash-284b", {"cache_type_v": "q8_0"}, "kept as one"),
        ("llama-3.1-8b", {"cache_type_k": "q8_0"}, None),
    ],
)
def test_cache_types_that_are_refused(model_id: str, asked: dict[str, object], why: str | None) -> None:
    runtime, workload = opened(model_id), Workload(context_tokens=8192)._replace(**asked)  # type: ignore[arg-type]
    reason = refuses_cache(runtime.caches, workload, runtime.settings(workload).flash_attention, runtime.facts.types)
    assert reason is None if why is None else reason and why in reason


@pytest.mark.parametrize("model", ["kimi-linear-48b-a3b", "minimax-text-01-456b"])
@pytest.mark.parametrize(
    ("asked", "aborts"),
    [
        ({"sequences": 3}, True),  # 512 = 3 × 170 + 2
        ({"sequences": 3, "batch_tokens": 510}, False),
        ({"sequences": 4, "batch_tokens": 510}, True),
        ({"sequences": 5}, True),
        ({"sequences": 2}, False),
        ({"sequences": 3, "unified_kv": True}, False),
        ({}, False),
    ],
)
def test_llama_cpp_aborts_over_uneven_steps_of_two_architectures(model: str, asked: dict[str, object], aborts: bool) -> None:
    """As its own reservation of these settings did, 2026-11-22."""
    reason = opened(model).refuses_graph(Workload(2048)._replace(**asked), ALONE)  # type: ignore[arg-type]
    assert (reason is not None) is aborts
    assert reason is None or "cannot be cut evenly" in reason


def test_uneven_steps_are_no_matter_elsewhere() -> None:
    assert opened("jamba-reasoning-3b").refuses_graph(Workload(2048, sequences=3), ALONE) is None


@pytest.mark.parametrize(("gpus", "refused"), [(15, False), (16, True)])
def test_ggml_computes_on_fifteen_gpus_at_most(gpus: int, refused: bool) -> None:
    machine = ALONE._replace(gpus=ALONE.gpus * gpus)
    assert (refuses_device(machine, most_gpus(facts("llama.cpp", None).ggml)) is not None) is refused
