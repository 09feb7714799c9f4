"""Attention to chosen blocks of tokens: a graph that follows the positions in use."""

import pytest

from runlocal.core.machine import Backend
from runlocal.core.part import HOST, Basis, Kind
from runlocal.engines.ggml.buffers import BufferLines
from runlocal.engines.ggml.graph import compute_buffers
from runlocal.engines.ggml.placement import place

from .test_graph import context_of, model
from .test_session import cards, parts

MODEL = "minimax-m3-427b-a23b"


# llama_get_memory_breakdown as in test_graph, at -c 16384 with one row of logits, where llama_kv_cache_msa_context::get_n_pos says so many positions:
# 256 as when memory is reserved, 16384 as when the context is full.
@pytest.mark.parametrize(
    ("positions", "ubatch", "expected"),
    [
        (256, 512, (561618944, 4469682688, 132468864)),
        (256, 1, (1921024, 1907712, 267136)),
        (16384, 512, (4297121792, 8338596352, 265879680)),
        (16384, 1, (31500288, 32256512, 1043200)),
    ],
)
def test_positions_in_use(positions: int, ubatch: int, expected: tuple[int, ...]) -> None:
    shape = model(MODEL)
    found = compute_buffers(shape, context_of(shape, 16384, ubatch=ubatch)._replace(positions=positions), place(shape.stored_layers, None, (1, 1)))
    assert (*found.gpus, found.host) == expected


def test_when_full_by_hand() -> None:
    # Each of the 57 layers that choose reads who sees which position, the cells of positions and the bias of blocks of 128 through views of its own,
    # and every view is copied to the GPU: 4 bytes for each of the 16,128 positions that are not there when memory is reserved. Beside them the scores
    # of one layer's 4 heads at the most.
    shape = model(MODEL)
    lines, context, placement = BufferLines(shape), context_of(shape, 16384), place(shape.stored_layers, None, (1,))
    reserved, full = lines.of(context, placement), lines.when_full(context, placement)
    more = 16384 - 256
    copies = 57 * 4 * (512 * more + more + 512 * more // 128)
    assert copies < full.gpus[0] - reserved.gpus[0] < copies + 4 * 512 * 4 * more
    assert all(after >= before for after, before in zip((*full.gpus, full.host), (*reserved.gpus, reserved.host), strict=True))


def test_when_full_one_token_per_sequence_may_take_more() -> None:
    # 16 tokens of a prompt against what one token gathers: 16 blocks of 128 keys and values of 4 heads, 128 wide, in F32.
    shape = model(MODEL)
    lines, placement = BufferLines(shape), place(shape.stored_layers, None, (1,))
    context = context_of(shape, 2048, ubatch=2)
    gathered = 2 * 16 * 128 * 4 * 128 * 4
    assert lines.of(context._replace(positions=2048), placement).gpus[0] < gathered < lines.when_full(context, placement).gpus[0]


def test_the_parts_say_how_far_they_grow() -> None:
    found = {part.device: part for part in parts(MODEL, cards(1), vision=False) if part.kind is Kind.COMPUTE_BUFFER and part.label != "logits"}
    assert {part.basis for part in found.values()} == {Basis.ESTIMATED}
    shape = model(MODEL)
    lines, context = BufferLines(shape), context_of(shape, 8192)
    placement = place(shape.stored_layers, None, (1,))
    full = lines.when_full(context, placement)
    assert found["gpu0"].bytes + found["gpu0"].margin_bytes == full.gpus[0]
    assert found[HOST].bytes + found[HOST].margin_bytes == full.host
    assert "enlarged as the context fills" in found["gpu0"].because
    # Without flash attention, and for sequences in one cache, it looks at every token: nothing grows.
    for more in ({"flash_attention": False}, {"sequences": 4, "unified_kv": True}):
        assert {part.basis for part in parts(MODEL, cards(1), vision=False, **more) if part.kind is Kind.COMPUTE_BUFFER} == {Basis.EXACT}


def test_another_allocator_comes_on_top_of_what_grows() -> None:
    machine = cards(1)
    card = machine.gpus[0]._replace(backend=Backend.ROCM)
    cuda, rocm = (
        next(part for part in parts(MODEL, on, vision=False) if part.label == "compute buffer")._replace(because="")
        for on in (machine, machine._replace(gpus=(card,)))
    )
    assert cuda.bytes == rocm.bytes
    assert rocm.margin_bytes == cuda.margin_bytes + (cuda.bytes + cuda.margin_bytes) * 25 // 100
