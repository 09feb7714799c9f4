"""Layers over several GPUs: no other share-out leaves the fullest more, and what the devices hold is what there is, plus what is known to be held twice."""

from functools import cache
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.catalog.models import bundled
from runlocal.core.load import load_of
from runlocal.core.machine import Machine
from runlocal.core.part import HOST, Kind
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.session import Session
from runlocal.engines.ggml.weights import cuda_bytes, host_bytes
from runlocal.runtimes import Runtime
from runlocal.solve.opening import open_for
from runlocal.solve.split import fill_up, go_in, lay_best, rooms_of, share_out

from .asking import GIB, ask
from .test_load import machine

FEW = settings(deadline=None, max_examples=60)
SIZES = st.lists(st.integers(0, 50), min_size=1, max_size=7)
ROOMS = st.lists(st.integers(-20, 150), min_size=1, max_size=4)
MODELS = ["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v2-lite-16b", "gemma-4-12b", "gemma-3n-e2b", "jamba-reasoning-3b", "phi-3-mini-128k", "lfm2-1.2b"]


def splits(layers: int, gpus: int) -> list[tuple[int, ...]]:
    """All ways to deal layers out in order."""
    cuts = combinations(range(layers + gpus - 1), gpus - 1)
    return [tuple(b - a - 1 for a, b in zip((-1, *cut), (*cut, layers + gpus - 1), strict=True)) for cut in cuts]


def lefts(sizes: list[int], rooms: list[int], counts: tuple[int, ...]) -> list[int]:
    ends = [sum(counts[: index + 1]) for index in range(len(counts))]
    return [room - sum(sizes[end - count : end]) for room, count, end in zip(rooms, counts, ends, strict=True)]


@given(sizes=SIZES, rooms=ROOMS)
def test_no_other_share_out_leaves_the_fullest_more(sizes: list[int], rooms: list[int]) -> None:
    found = share_out(sizes, rooms)
    assert sum(found) == len(sizes)
    assert min(lefts(sizes, rooms, found)) == max(min(lefts(sizes, rooms, counts)) for counts in splits(len(sizes), len(rooms)))


@given(sizes=SIZES, rooms=ROOMS)
def test_layers_go_in_where_some_share_out_has_room_for_them(sizes: list[int], rooms: list[int]) -> None:
    """A card without layers needs none."""
    ways = [zip(lefts(sizes, rooms, counts), counts, strict=True) for counts in splits(len(sizes), len(rooms))]
    assert go_in(sizes, rooms) == any(all(left >= 0 or not count for left, count in way) for way in ways)


@given(sizes=SIZES, rooms=st.lists(st.integers(0, 150), min_size=1, max_size=4))
def test_filled_up_from_behind_one_more_would_not_go_in(sizes: list[int], rooms: list[int]) -> None:
    count = fill_up(sizes, rooms)
    assert go_in(sizes[len(sizes) - count :], rooms)
    assert count == len(sizes) or not go_in(sizes[len(sizes) - count - 1 :], rooms)


def test_three_layers_and_two_cards() -> None:
    """30 + 30 and 40 leave 0 and 10; 30 and 30 + 40 would lack 20; all on the first lacks 40."""
    assert share_out([30, 30, 40], [60, 50]) == (2, 1)
    assert share_out([30, 30, 40], [40, 80]) == (1, 2)
    assert fill_up([30, 30, 40], [29, 80]) == 2


@cache
def opened(model: str) -> Session:
    found = open_for(bundled(model), "llama.cpp", None)
    assert isinstance(found, Session)
    return found


PLACES = st.fixed_dictionaries(
    {
        "gpu_layers": st.none() | st.integers(0, 40),
        "n_cpu_moe": st.integers(0, 60),
        "kv_offload": st.booleans(),
        "tensor_split": st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(any).map(lambda counts: tuple(map(float, counts))),
    }
)


@FEW
@given(model=st.sampled_from(MODELS), quant=st.sampled_from(["Q8_0", "Q4_K_M", "IQ2_M"]), asked=PLACES)
def test_the_devices_hold_every_tensor_once_and_twice_what_is_known_to_be(model: str, quant: str, asked: dict[str, object]) -> None:
    """Tensor by tensor and layer by layer: the embedding on the host, a tied one again on the output's GPU, a rotary table on every device that reads it."""
    runtime, on = opened(model), machine("4x3060", "64GB")
    recipe, workload = runtime.recipe(quant, None), Workload(4096, **asked)  # type: ignore[arg-type]
    placement = runtime.placement(workload, on)
    expected: dict[str, int] = {}

    def hold(device: str, size: int) -> None:
        expected[device] = expected.get(device, 0) + size

    for stored in runtime.stored(recipe):
        tensor = stored.tensor
        sizes = {device: host_bytes(stored) if device == HOST else cuda_bytes(stored) for device in (HOST, *placement.devices())}
        if tensor.skipped:
            continue
        for layer in tensor.layers:
            kept = "_exps" in tensor.role and layer < placement.host_experts
            device = HOST if kept else placement.layers[layer]
            hold(device, sizes[device])
        if tensor.layers:
            continue
        if tensor.role in ("token_embd", "per_layer_token_embd"):
            hold(HOST, sizes[HOST])
            if tensor.role == "token_embd" and runtime.layout.tied and (placement.output != HOST or runtime.layout.two_embeddings):
                hold(placement.output, sizes[placement.output])
        elif tensor.role.startswith("rope_"):
            for device in {placement.layers[layer] for layer in tensor.read_by or range(len(placement.layers))}:
                hold(device, sizes[device])
        elif tensor.role in ("per_layer_model_proj", "per_layer_proj_norm", "token_embd_norm"):
            hold(placement.layers[0], sizes[placement.layers[0]])
        else:
            hold(placement.output, sizes[placement.output])
    parts = [part for part in runtime.parts(recipe, workload, placement, on) if part.kind is Kind.WEIGHTS]
    held = load_of(parts, len(on.gpus))
    assert {HOST: held.host, **{f"gpu{index}": size for index, size in enumerate(held.gpus)}} == {
        device: expected.get(device, 0) for device in (HOST, *placement.devices())
    }


@FEW
@given(model=st.sampled_from(MODELS), asked=PLACES)
def test_caches_are_the_same_however_they_are_split(model: str, asked: dict[str, object]) -> None:
    """In f16 a cache is as large on the host as on a GPU."""
    runtime = opened(model)

    def caches(workload: Workload, on: Machine) -> int:
        placement = runtime.placement(workload, on)
        kinds = (Kind.CACHE, Kind.STATE)
        return sum(part.bytes for part in runtime.parts(runtime.recipe("Q4_K_M", None), workload, placement, on) if part.kind in kinds)

    several = Workload(4096, flash_attention=True, **asked)  # type: ignore[arg-type]
    assert caches(several, machine("4x3060", "64GB")) == caches(Workload(4096, flash_attention=True), machine("rtx-3060", None))


@FEW
@given(model=st.sampled_from(MODELS), quant=st.sampled_from(["Q8_0", "Q4_K_M"]), context=st.sampled_from([4096, 16384]), asked=PLACES)
def test_layers_weigh_what_they_add(model: str, quant: str, context: int, asked: dict[str, object]) -> None:
    """Taken off the GPUs, the layers leave the same fixed parts behind, whatever their number: one more layer is its own bytes more."""
    runtime, on = opened(model), machine("rtx-3060", "64GB")
    recipe = runtime.recipe(quant, None)
    whole = Workload(context, n_cpu_moe=asked["n_cpu_moe"])  # type: ignore[arg-type]
    kinds = (Kind.WEIGHTS, Kind.CACHE, Kind.STATE)

    def held(layers: int) -> tuple[Placement, int]:
        placement = place(runtime.layout.stored_layers, layers, (1.0,), host_experts=runtime.placement(whole, on).host_experts)
        parts = runtime.parts(recipe, whole, placement, on)
        return placement, sum(part.bytes for part in parts if part.kind in kinds and part.device != HOST)

    (placement, few), (_, more) = held(5), held(9)
    sizes = runtime.layer_bytes(recipe, whole, placement)
    assert more - few == sum(sizes[-9:-5])


def test_a_split_is_bettered_where_the_runtimes_own_overfills_a_card() -> None:
    """Room by free memory alone forgets what buffers and the output layer take."""
    runtime: Runtime = opened("llama-3.1-70b")
    on, recipe = machine("4090+3060", None), runtime.recipe("Q2_K", None)
    workload = Workload(16384)
    own = runtime.placement(workload, on)
    best = lay_best(runtime, recipe, workload, on, (GIB, GIB))
    sizes = runtime.layer_bytes(recipe, workload, own)

    def least(placement: Placement) -> int:
        load = runtime.load(recipe, workload, placement, on)
        return min(gpu.usable_bytes - size for gpu, size in zip(on.gpus, load.gpus, strict=True))

    assert least(best.placement) > least(own)
    assert sum(rooms_of(best, on, sizes)) >= sum(sizes)


def test_a_named_split_is_obeyed_though_another_would_fit() -> None:
    question = {"quant": "Q4_K_M", "context_tokens": 8192, "gpus": 2, "vram_bytes": 12 * GIB}
    assert ask("qwen3-30b-a3b", **question)["answer"] == "fits"
    named = ask("qwen3-30b-a3b", **question, tensor_split=[1, 20])
    assert named["answer"] == "does_not_fit"
    assert named["spread"]["layers"] == [{"device": "gpu0", "first": 0, "last": 2}, {"device": "gpu1", "first": 3, "last": 47}]
