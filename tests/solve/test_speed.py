"""Tokens per second, against arithmetic done by hand. The measured rows themselves: tests/data/test_speed_file.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.catalog.machines import parse_budget, parse_machine
from runlocal.catalog.models import bundled
from runlocal.catalog.speed import Band, bands
from runlocal.core.machine import Backend, Gpu, Machine, Origin
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime
from runlocal.solve.opening import open_for
from runlocal.solve.speed import Speed, _reached, speed

DDR = bands(Backend.CUDA, "GDDR6X", experts=False)


def opened(model: str) -> Runtime:
    return open_for(bundled(model), "llama.cpp", None)


def asked(runtime: Runtime, quant: str, machine: Machine, workload: Workload) -> Speed | None:
    return speed(runtime, runtime.recipe(quant, None), workload, runtime.placement(workload, machine), machine)


def reads(runtime: Runtime, quant: str, machine: Machine, workload: Workload) -> dict[str, int]:
    found = runtime.reads(runtime.recipe(quant, None), workload, runtime.placement(workload, machine))
    assert found is not None
    return found


def test_a_dense_model_reads_its_layers_and_output_once_and_the_whole_cache() -> None:
    """Llama 3.1 8B: 8,030,261,248 parameters, of which 128,256 x 4,096 are looked up; 65 norms of 4,096 stay F32."""
    matrices = 8_030_261_248 - 128_256 * 4_096 - 65 * 4_096
    cache = 32 * 2 * 8 * 128 * 2 * 8_192  # layers x (K, V) x heads x values x two bytes x cells
    runtime, machine = opened("llama-3.1-8b"), parse_machine("rtx-4090")
    read = reads(runtime, "F16", machine, Workload(context_tokens=8192))
    assert read == {"gpu0": 2 * matrices + 4 * 65 * 4_096 + cache} == {"gpu0": 16_084_123_648}
    # 1,008 GB/s over that: 62.67 a second, in the band from 30 to 100, where runs reached 61 to 86 %.
    found = asked(runtime, "F16", machine, Workload(context_tokens=8192))
    assert found is not None
    assert DDR[1] == Band(100, 0.61, 0.86)
    assert (round(found.least, 2), round(found.most, 2)) == (38.23, 53.90)
    assert (found.basis, found.because) == (
        "estimated",
        "16.08 GB read for a token, which the memory delivers 62.7 times a second; measured runs on such memory reached 61% to 86% of that",
    )


def test_cards_work_one_after_another_each_on_its_own_layers() -> None:
    """16 of 32 layers on each of two equal cards take as long as all on one; a slower card beside takes longer."""
    runtime, workload = opened("llama-3.1-8b"), Workload(context_tokens=8192)
    one = asked(runtime, "F16", parse_machine("rtx-3090"), workload)
    assert one == asked(runtime, "F16", parse_machine("2xrtx-3090"), workload)
    mixed = parse_machine("rtx-3090+rtx-3060-12gb")
    read = reads(runtime, "F16", mixed, workload)
    assert sum(read.values()) == 16_084_123_648
    seconds = read["gpu0"] / 936e9 + read["gpu1"] / 360e9
    found = asked(runtime, "F16", mixed, workload)
    assert found is not None
    # Between 30 and 100 a second on both.
    assert found.least == pytest.approx(0.61 / seconds)
    assert found.most == pytest.approx(0.86 / seconds)


def test_of_experts_those_that_are_chosen_are_read() -> None:
    """Qwen3 30B-A3B: 48 layers of 128 experts, 8 of them for a token; 2,048 wide and 768 inside: three matrices each."""
    runtime, machine, workload = opened("qwen3-30b-a3b"), parse_machine("rtx-4090"), Workload(context_tokens=256)
    chosen = 48 * 8 * 3 * 2_048 * 768 * 34 // 32  # Q8_0: 34 bytes for 32 values
    every = reads(runtime, "Q8_0", machine, workload)["gpu0"]
    kept = reads(runtime, "Q8_0", machine, workload._replace(cpu_moe=True))
    assert kept == {"gpu0": every - chosen, "host": chosen}
    # Those of the first 12 of 48 layers: a quarter.
    assert reads(runtime, "Q8_0", machine, workload._replace(n_cpu_moe=12)) == {"gpu0": every - chosen // 4, "host": chosen // 4}


def test_cross_attention_is_idle_for_text() -> None:
    """Llama 3.2 11B Vision has 8 such layers beside the 32 of Llama 3.1 8B, and reads what that reads."""
    workload, machine = Workload(context_tokens=8192), parse_machine("rtx-4090")
    assert reads(opened("llama-3.2-11b-vision"), "F16", machine, workload) == reads(opened("llama-3.1-8b"), "F16", machine, workload)


def test_more_sequences_do_not_change_what_one_gets() -> None:
    runtime, machine = opened("llama-3.1-8b"), parse_machine("rtx-4090")
    assert reads(runtime, "Q4_K_M", machine, Workload(8192, sequences=4)) == reads(runtime, "Q4_K_M", machine, Workload(8192))


@pytest.mark.parametrize(
    ("machine", "workload"),
    [
        (parse_machine("rtx-4090"), Workload(8192, gpu_layers=20)),
        (parse_machine("rtx-4090"), Workload(8192, kv_offload=False)),
        (parse_machine("mi300x"), Workload(8192)),
        (parse_machine("gaudi2"), Workload(8192)),
        (parse_machine("l2"), Workload(8192)),
        (parse_machine("a100-80:3g.40gb"), Workload(8192)),
        (parse_budget("24GB"), Workload(8192)),
        (Machine(Origin.NAMED, "CPU", (), host_bytes=64 << 30), Workload(8192)),
    ],
    ids=["layers on the host", "cache on the host", "no measured run", "nor there", "bandwidth not known", "slice", "budget", "no card"],
)
def test_what_is_not_known_is_not_guessed(machine: Machine, workload: Workload) -> None:
    assert asked(opened("llama-3.1-8b"), "Q4_K_M", machine, workload) is None


def test_a_mixture_whose_types_are_not_known_and_a_model_that_writes_no_text_have_no_speed() -> None:
    assert asked(opened("bge-m3"), "F16", parse_machine("rtx-4090"), Workload(512)) is None
    runtime = opened("qwen3-30b-a3b")
    mixture = next(file.quant for file in runtime.model.files)
    assert asked(runtime, mixture, parse_machine("rtx-4090"), Workload(8192)) is None


@given(st.floats(0.1, 10_000), st.floats(1, 10))
def test_a_faster_memory_is_never_slower(ceiling: float, times: float) -> None:
    for backend, kind, experts in ((Backend.CUDA, "GDDR6", False), (Backend.METAL, "LPDDR5", True), (Backend.ROCM, "GDDR6", False)):
        measured = bands(backend, kind, experts)
        (least, most), (more_least, more_most) = _reached(measured, ceiling), _reached(measured, ceiling * times)
        assert 0 < least <= most < ceiling
        assert least <= more_least
        assert most <= more_most


def test_beyond_the_fastest_run_only_what_it_reached_is_sure() -> None:
    *_, last = DDR
    assert _reached(DDR, 10 * last.up_to) == pytest.approx((last.least * last.up_to, last.most * 10 * last.up_to))


def test_memory_of_no_known_kind_has_no_bands() -> None:
    assert bands(Backend.CUDA, None, experts=False) == ()
    card = Gpu(0, None, "some card", 24 << 30, bandwidth_bytes=10**12)
    assert asked(opened("llama-3.1-8b"), "Q4_K_M", Machine(Origin.HERE, "here", (card,)), Workload(8192)) is None
