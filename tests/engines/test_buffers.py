"""Buffers of many contexts from a few layouts: the same, to the byte, as laying out each."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.architectures import layout
from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled
from runlocal.core.layout import Layout
from runlocal.core.workload import Workload
from runlocal.engines.ggml import buffers
from runlocal.engines.ggml.buffers import BufferLines
from runlocal.engines.ggml.graph import compute_buffers, copies_weights, copy_bytes
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.settings import Settings, settle
from runlocal.quants.gguf import Recipe, store

FACTS = facts("llama.cpp", None)
# Of each kind of cache and state, and what all layers share.
MODELS = [
    "llama-3.2-1b",
    "gemma-3-4b",
    "gemma-3n-e2b",
    "gpt-oss-20b",
    "llama-4-scout-17b-16e",
    "deepseek-v2-lite-16b",
    "glm-5.2-744b",
    "jamba-reasoning-3b",
    "qwen3.5-35b-a3b",
    "nemotron-3-nano-30b-a3b",
    "minimax-m1-456b",
    "mistral-small-4-119b",
    "minicpm3-4b",
    "lfm2-8b-a1b",
]


@cache
def laid_out(model_id: str) -> Layout:
    return layout(bundled(model_id))


def settled(laid: Layout, tokens: int, **more: Any) -> Settings:
    workload = Workload(context_tokens=tokens)._replace(**more)
    return settle(laid, workload, FACTS.types, FACTS.ggml, batch_tokens=2048, ubatch_tokens=workload.batch_tokens or 512)


def copied(laid: Layout, placement: Placement) -> dict[tuple[str, int | None], int] | None:
    if not copies_weights(laid.architecture, placement):
        return None
    return copy_bytes(store(laid, laid.tensors(), Recipe("Q8_0", "Q8_0", False), FACTS.types), tied=laid.tied, architecture=laid.architecture)


@settings(deadline=None, max_examples=60)
@given(
    model=st.sampled_from(MODELS),
    contexts=st.lists(st.integers(1, 160).map(lambda steps: 1024 * steps), min_size=3, max_size=5, unique=True),
    kind=st.sampled_from([("f16", "f16"), ("q8_0", "q8_0"), ("q4_0", "f16")]),
    flash=st.sampled_from([None, None, False]),
    sequences=st.sampled_from([1, 1, 4]),
    ubatch=st.sampled_from([512, 2048]),
    rows=st.sampled_from([None, 512]),
    gpus=st.sampled_from([1, 1, 2]),
    on_gpus=st.sampled_from([None, None, 7]),
)
def test_as_if_each_were_laid_out(
    model: str,
    contexts: list[int],
    kind: tuple[str, str],
    flash: bool | None,
    sequences: int,
    ubatch: int,
    rows: int | None,
    gpus: int,
    on_gpus: int | None,
) -> None:
    laid = laid_out(model)
    if flash is False:
        kind = ("f16", "f16")
    if kind[0] != kind[1] and laid.architecture in ("deepseek2", "glm-dsa", "mistral4", "minicpm3"):
        kind = (kind[0], kind[0])
    placement = place(laid.stored_layers, on_gpus, (1.0,) * gpus)
    lines, weights = BufferLines(laid), copied(laid, placement)
    for tokens in contexts:
        one = settled(
            laid,
            tokens,
            cache_type_k=kind[0],
            cache_type_v=kind[1],
            flash_attention=flash,
            sequences=sequences,
            batch_tokens=ubatch,
            output_tokens=rows,
        )
        assert lines.of(one, placement, weights) == compute_buffers(laid, one, placement, weights)


@pytest.mark.parametrize(("model", "kind", "most"), [("qwen3.5-35b-a3b", "f16", 2), ("llama-3.2-1b", "q8_0", 2), ("deepseek-v3.2-685b", "f16", 2)])
def test_two_graphs_do_for_the_usual_contexts(monkeypatch: pytest.MonkeyPatch, model: str, kind: str, most: int) -> None:
    built: list[int] = []

    def counted(laid: Layout, one: Settings, *rest: Any, **more: Any) -> Any:
        built.append(one.cells)
        return compute_buffers(laid, one, *rest, **more)

    monkeypatch.setattr(buffers, "compute_buffers", counted)
    laid = laid_out(model)
    lines, placement = BufferLines(laid), place(laid.stored_layers, None, (1.0,))
    for steps in range(4, 129, 4):
        lines.of(settled(laid, 1024 * steps, cache_type_k=kind, cache_type_v=kind), placement)
    assert len(built) <= most


def test_a_context_beyond_the_usual_ones_is_a_new_end() -> None:
    laid = laid_out("qwen3.5-35b-a3b")
    lines, placement = BufferLines(laid), place(laid.stored_layers, None, (1.0,))
    for tokens in (8192, 16384, 262144, 200704):
        one = settled(laid, tokens)
        assert lines.of(one, placement) == compute_buffers(laid, one, placement)


@pytest.mark.parametrize(("sequences", "gpus", "on_gpus", "kind"), [(1, 4, None, "f16"), (4, 1, None, "q8_0"), (1, 1, 30, "f16")])
def test_two_graphs_do_for_positions_that_are_all_in_use(monkeypatch: pytest.MonkeyPatch, sequences: int, gpus: int, on_gpus: int | None, kind: str) -> None:
    """MiniMax M3's graph follows the positions in use, which grow with the cells where all are."""
    built: list[int] = []

    def counted(laid: Layout, one: Settings, *rest: Any, **more: Any) -> Any:
        built.append(one.cells)
        return compute_buffers(laid, one, *rest, **more)

    monkeypatch.setattr(buffers, "compute_buffers", counted)
    laid = laid_out("minimax-m3-427b-a23b")
    placement = place(laid.stored_layers, on_gpus, (1.0,) * gpus)
    lines, weights = BufferLines(laid), copied(laid, placement)
    for steps in (17, 64, 33, 101):
        one = settled(laid, 256 * steps, sequences=sequences, cache_type_k=kind, cache_type_v=kind)
        full = one._replace(positions=one.cells)
        assert lines.of(full, placement, weights) == compute_buffers(laid, full, placement, weights)
    assert len(built) == 2
