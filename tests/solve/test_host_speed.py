"""Tokens per second where a token reads host memory, against arithmetic done by hand. The measured runs: tests/data/test_speed_file.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled
from runlocal.catalog.speed import Band, bands, host_cache_least
from runlocal.core.machine import Backend, Machine, Origin
from runlocal.core.speed import HOST_CACHE, Speed
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime
from runlocal.solve.opening import open_for
from runlocal.solve.speed import estimate, speed_of

CARD, PROCESSOR = parse_machine("rtx-4090"), Machine(Origin.NAMED, "CPU", (), host_bytes=64 << 30)
DUAL_DDR5_6000 = 2 * 8 * 6_000_000_000  # channels x bytes x transfers a second
GB_S = 10**9
_opened: dict[str, Runtime] = {}


def opened(model: str) -> Runtime:
    if model not in _opened:
        _opened[model] = open_for(bundled(model), "llama.cpp", None)
    return _opened[model]


def reads(model: str, quant: str, machine: Machine, workload: Workload) -> dict[str, int]:
    runtime = opened(model)
    found = runtime.reads(runtime.recipe(quant, None), workload, runtime.placement(workload, machine))
    assert found is not None
    return found


def asked(model: str, quant: str, machine: Machine, workload: Workload) -> Speed | str:
    runtime = opened(model)
    return estimate(runtime, runtime.recipe(quant, None), workload, runtime.placement(workload, machine), machine)


def with_ram(machine: Machine, bandwidth_bytes: int = DUAL_DDR5_6000) -> Machine:
    return machine._replace(host_bandwidth_bytes=bandwidth_bytes)


def known(found: Speed | str | None) -> Speed:
    assert isinstance(found, Speed)
    return found


def test_a_processor_alone_reads_the_weights_and_computes_on_what_is_cached() -> None:
    """Llama 3.1 8B: 8,030,261,248 parameters, of which 128,256 x 4,096 are looked up; 65 norms of 4,096 stay F32; 32 layers of 2 x 1,024 halves a token."""
    weights = 2 * (8_030_261_248 - 128_256 * 4_096 - 65 * 4_096) + 4 * 65 * 4_096
    cache = 32 * 2 * 1_024 * 2 * 8_192
    assert (
        reads("llama-3.1-8b", "F16", PROCESSOR, Workload(8192)) == {"host": weights, HOST_CACHE: cache} == {"host": 15_010_381_824, HOST_CACHE: 1_073_741_824}
    )
    assert (bands(Backend.CPU, "DDR", experts=False), host_cache_least()) == ((Band(53, 0.50, 0.78),), 0.02)
    found = known(asked("llama-3.1-8b", "F16", with_ram(PROCESSOR), Workload(8192)))
    # 16,084,123,648 bytes at 96 GB/s: 167.5 ms, 5.97 times a second. Quick: 167.5 / 0.78 = 214.8 ms.
    assert found.most == pytest.approx(1 / 0.21480, rel=1e-4)
    # Slow: 156.36 ms / 0.50 for the weights and 11.185 ms / 0.02 for the cache: 312.7 + 559.2 = 872.0 ms.
    assert found.least == pytest.approx(1 / 0.87196, rel=1e-4)
    assert found.basis == "estimated"
    assert found.because == (
        "16.08 GB read for a token, which the memory delivers 6.0 times a second; measured runs on such memory reached 19% to 78% of that; "
        "the slow end takes the 1.07 GB that are cached on the host at 2% of its bandwidth"
    )


def test_experts_on_the_host_add_their_time_to_the_card_s() -> None:
    """Qwen3 30B-A3B: 48 layers, 8 experts of 128 for a token, each of three matrices of 2,048 x 768, Q8_0: 34 bytes for 32 values."""
    card = parse_machine("rtx-3090")
    chosen = 48 * 8 * 3 * 2_048 * 768 * 34 // 32
    every = reads("qwen3-30b-a3b", "Q8_0", card, Workload(256))["gpu0"]
    workload = Workload(256, cpu_moe=True)
    assert reads("qwen3-30b-a3b", "Q8_0", card, workload) == {"gpu0": every - chosen, "host": chosen}
    assert bands(Backend.CPU, "DDR", experts=True) == (Band(40, 0.42, 0.85), Band(240, 0.25, 0.40))
    found = known(asked("qwen3-30b-a3b", "Q8_0", with_ram(card), workload))
    # The host alone: 96 / 1.925 = 49.9 a second, in the band to 240: at least 0.25 of that. Quick: 0.85 of 40, which a slower memory reached.
    host_least, host_most = 0.25 * DUAL_DDR5_6000 / chosen, 0.85 * 40
    # The card alone: 936 GB/s over the rest, in the band to 700 a second: 0.30 to 0.57, or 0.64 of 190.
    alone = 936 * GB_S / (every - chosen)
    assert 190 < alone < 700
    card_least, card_most = 0.30 * alone, max(0.57 * alone, 0.64 * 190)
    assert found.least == pytest.approx(1 / (1 / host_least + 1 / card_least))
    assert found.most == pytest.approx(1 / (1 / host_most + 1 / card_most))
    assert "GB of GPU memory and 1.93 GB of host memory read for a token" in found.because
    assert {url.split("/")[2] for url in found.sources} >= {"github.com", "inventivehq.com"}


def test_the_cache_alone_on_the_host() -> None:
    workload = Workload(8192, kv_offload=False)
    assert set(reads("llama-3.1-8b", "Q4_K_M", CARD, workload)) == {"gpu0", HOST_CACHE}
    found, whole = known(asked("llama-3.1-8b", "Q4_K_M", with_ram(CARD), workload)), known(asked("llama-3.1-8b", "Q4_K_M", CARD, Workload(8192)))
    assert found.least < found.most < whole.least


def test_a_recurrent_state_is_read_like_weights() -> None:
    read = reads("falcon-mamba-7b", "Q4_K_M", PROCESSOR, Workload(8192))
    assert set(read) == {"host"}


@pytest.mark.parametrize(
    ("model", "quant", "machine", "workload", "why"),
    [
        ("llama-3.1-8b", "Q4_K_M", PROCESSOR, Workload(8192), "a token reads host memory, whose bandwidth is not known; --ram-bandwidth takes it"),
        ("llama-3.1-8b", "Q4_K_M", CARD, Workload(8192, gpu_layers=20), "a token reads host memory, whose bandwidth is not known; --ram-bandwidth takes it"),
        ("llama-3.1-8b", "Q4_K_M", parse_machine("l2"), Workload(8192), "the bandwidth of GPU 0's memory is not known"),
        ("llama-3.1-8b", "Q4_K_M", parse_machine("mi300x"), Workload(8192), "no measured run was found of models without experts on such a GPU"),
        ("qwen3-30b-a3b", "Q4_K_M", parse_machine("h100-80gb-sxm"), Workload(8192), "no measured run was found of models with experts on such a GPU"),
        ("bge-m3", "F16", CARD, Workload(512), "the model writes no text"),
    ],
    ids=["processor", "layers", "bandwidth", "no run", "no run with experts", "encoder"],
)
def test_why_there_is_none(model: str, quant: str, machine: Machine, workload: Workload, why: str) -> None:
    assert asked(model, quant, machine, workload) == why


def test_a_published_mixture_has_none() -> None:
    mixture = opened("qwen3-30b-a3b").model.files[0].quant
    assert asked("qwen3-30b-a3b", mixture, CARD, Workload(8192)) == f"which tensors of {mixture} have which type is not known"


SIZE = st.integers(10**6, 500 * GB_S)
RATE = st.integers(GB_S, 5000 * GB_S)


def estimated(card: int, host: int, cached: int, card_rate: int, host_rate: int, experts: bool) -> Speed:
    machine = CARD._replace(gpus=(CARD.gpus[0]._replace(bandwidth_bytes=card_rate),), host_bandwidth_bytes=host_rate)
    read = {place: size for place, size in (("gpu0", card), ("host", host), (HOST_CACHE, cached)) if size}
    return known(speed_of(read, machine, has_experts=experts))


@given(st.one_of(st.just(0), SIZE), SIZE, st.one_of(st.just(0), SIZE), RATE, RATE, st.floats(1, 20), st.booleans())
def test_more_bandwidth_is_never_slower(card: int, host: int, cached: int, card_rate: int, host_rate: int, times: float, experts: bool) -> None:
    before = estimated(card, host, cached, card_rate, host_rate, experts)
    assert 0 < before.least <= before.most
    for faster in (
        estimated(card, host, cached, round(card_rate * times), host_rate, experts),
        estimated(card, host, cached, card_rate, round(host_rate * times), experts),
    ):
        assert faster.least >= before.least * (1 - 1e-9)
        assert faster.most >= before.most * (1 - 1e-9)


@given(st.one_of(st.just(0), SIZE), SIZE, st.one_of(st.just(0), SIZE), RATE, RATE, st.integers(0, 500 * GB_S), st.booleans())
def test_more_to_read_is_never_faster(card: int, host: int, cached: int, card_rate: int, host_rate: int, more: int, experts: bool) -> None:
    before = estimated(card, host, cached, card_rate, host_rate, experts)
    for added in ((more, 0, 0), (0, more, 0), (0, 0, more)):
        slower = estimated(card + added[0], host + added[1], cached + added[2], card_rate, host_rate, experts)
        assert slower.least <= before.least * (1 + 1e-9)
        assert slower.most <= before.most * (1 + 1e-9)


@given(st.integers(1, 128), st.integers(1, 128), st.sampled_from(["card", "processor", "layers", "experts"]))
def test_a_longer_context_is_never_faster(first: int, second: int, where: str) -> None:
    short, long = sorted((first * 1024, second * 1024))
    machine = with_ram(PROCESSOR if where == "processor" else CARD)
    changes = {"layers": {"gpu_layers": 20}, "experts": {"n_cpu_moe": 24}}.get(where, {})
    before, after = (known(asked("qwen3-30b-a3b", "Q4_K_M", machine, Workload(tokens, **changes))) for tokens in (short, long))  # type: ignore[arg-type]
    assert after.least <= before.least * (1 + 1e-9)
    assert after.most <= before.most * (1 + 1e-9)
