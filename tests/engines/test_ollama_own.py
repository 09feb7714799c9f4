"""Llama 3.2 Vision in Ollama's own engine (0.4 to 0.24), against its formulas by hand and what its logs print."""

from functools import cache

import pytest

from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.workload import Workload
from runlocal.runtimes import open_runtime
from runlocal.runtimes.ollama import OllamaOwn

MIB, GIB = 1 << 20, 1 << 30


@cache
def opened(model_id: str) -> OllamaOwn:
    found = open_runtime("ollama", "0.24.0", bundled(model_id), facts("ollama", "0.24.0"))
    assert isinstance(found, OllamaOwn)
    return found


def parts(model_id: str, tokens: int = 2048, cards: int = 1, quant: str = "Q4_K_M", **more: object) -> tuple[Part, ...]:
    runtime = opened(model_id)
    machine = Machine(origin=Origin.NAMED, label="made up", gpus=tuple(Gpu(index=index, id=None, name="card", memory_bytes=1 << 40) for index in range(cards)))
    workload = Workload(context_tokens=tokens)._replace(**more)  # type: ignore[arg-type]
    return runtime.parts(runtime.recipe(quant, None), workload, runtime.placement(workload, machine), machine)


def total(found: tuple[Part, ...], kind: Kind, label: str = "") -> int:
    return sum(part.bytes for part in found if part.kind is kind and label in part.label)


@pytest.mark.parametrize(("model_id", "layers", "mib"), [("llama-3.2-11b-vision", 8, 400.25), ("llama-3.2-90b-vision", 20, 1000.625)])
def test_image_cache(model_id: str, layers: int, mib: float) -> None:
    """Per cross-attention layer 4 tiles × 1601 tokens × (1024 + 1024) values × 4 bytes, whatever the context and the cache's type."""
    assert layers * 4 * 1601 * 2048 * 4 == mib * MIB
    for more in ({}, {"tokens": 65536}, {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, {"cards": 2}):
        assert total(parts(model_id, **more), Kind.CACHE, "cross") == mib * MIB  # type: ignore[arg-type]


@pytest.mark.parametrize(("model_id", "tokens", "logged_gib"), [("llama-3.2-11b-vision", 2048, 656.2 / 1024), ("llama-3.2-90b-vision", 2048, 1.6)])
def test_cache_as_the_log_prints_it(model_id: str, tokens: int, logged_gib: float) -> None:
    """656.2 MiB (https://github.com/ollama/ollama/issues/9311) and 1.6 GiB (https://github.com/ollama/ollama/issues/7664), one decimal each."""
    assert total(parts(model_id, tokens), Kind.CACHE) / GIB == pytest.approx(logged_gib, abs=0.05 if logged_gib > 1 else 0.05 / 1024 + 1e-9)


def test_no_vision_leaves_the_image_cache_out_and_keeps_the_cross_attention_weights() -> None:
    with_vision, without = parts("llama-3.2-90b-vision"), parts("llama-3.2-90b-vision", vision=False)
    assert total(without, Kind.CACHE, "cross") == total(without, Kind.VISION) == total(without, Kind.VISION_BUFFER) == 0
    assert total(without, Kind.WEIGHTS) == total(with_vision, Kind.WEIGHTS)


def test_text_graph() -> None:
    """4 × 512 × max(2 + 3 d + 128 × heads + cells × (1 + heads), d + V), on every card that holds layers."""
    for tokens in (2048, 8192):
        scores = 2 + 3 * 8192 + 128 * 64 + tokens * 65
        found = [part for part in parts("llama-3.2-90b-vision", tokens, cards=2) if part.kind is Kind.COMPUTE_BUFFER]
        assert [part.device for part in found] == ["gpu0", "gpu1"]
        assert {part.bytes for part in found} == {4 * 512 * max(scores, 8192 + 128256)}
        assert {part.basis for part in found} == {Basis.ESTIMATED}
    assert 2 + 3 * 8192 + 128 * 64 + 8192 * 65 > 8192 + 128256 > 2 + 3 * 4096 + 128 * 32 + 2048 * 33


def test_weights_as_the_log_prints_them() -> None:
    """The 90B: 49.3 GiB of text and 1.9 of tower and projector; the recipe gives 1.6 % less than Ollama's own file, whose cross-attention is finer."""
    found = parts("llama-3.2-90b-vision")
    assert total(found, Kind.VISION) / GIB == pytest.approx(1.9, abs=0.05)
    assert total(found, Kind.WEIGHTS, "output") / MIB == pytest.approx(822, abs=1), "Q6_K: 128256 × 8192 × 210 / 256"
    assert sum(part.bytes for part in found if part.kind is Kind.WEIGHTS and part.device != HOST) / GIB == pytest.approx(49.3, rel=0.02)
    assert total(parts("llama-3.2-11b-vision"), Kind.VISION) / GIB == pytest.approx(1.8, abs=0.05)


def test_the_image_graph_is_on_the_first_card() -> None:
    found = [part for part in parts("llama-3.2-90b-vision", cards=4) if part.kind in (Kind.VISION, Kind.VISION_BUFFER)]
    assert {part.device for part in found} == {"gpu0"}
    assert total(tuple(found), Kind.VISION_BUFFER) // MIB == 2853


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"images": 2}, "image"),
        ({"sequences": 2}, "one sequence"),
        ({"flash_attention": True}, "without flash attention"),
        ({"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, "which a quantized cache needs"),
        ({"cache_type_v": "bf16"}, "one type"),
    ],
)
def test_refusals(more: dict[str, object], word: str) -> None:
    runtime = opened("llama-3.2-11b-vision")
    machine = Machine(origin=Origin.NAMED, label="made up", gpus=())
    reason = runtime.refuses(runtime.recipe("Q4_K_M", None), Workload(context_tokens=2048)._replace(**more), machine)  # type: ignore[arg-type]
    assert reason is not None
    assert word in reason
