"""What goes to host memory: the fewest experts, else the most layers on the GPUs, else the cache; one step further would not fit."""

import pytest

from .asking import GIB, Answered, ask

HOST_MEMORY = {"ram_bytes": 512 * GIB}
MIXTURES = [
    ("qwen3-30b-a3b", "Q4_K_M", {"gpu": "rtx-3060"}),
    ("qwen3-30b-a3b", "Q8_0", {"gpu": "rtx-3060"}),
    ("gpt-oss-120b", "MXFP4_MOE", {"gpu": "rtx-4090"}),
    ("qwen3-235b-a22b", "Q4_K_M", {"gpu": "4x3060"}),
    ("deepseek-v2-lite-16b", "Q8_0", {"gpu": "4060+4060"}),
    ("deepseek-r1-671b", "Q4_K_M", {"gpu": "2x3090"}),
]
DENSE = [
    ("llama-3.1-70b", "Q4_K_M", {"gpu": "rtx-4090"}),
    ("llama-3.1-70b", "Q4_K_M", {"gpu": "4090+3060"}),
    ("gemma-3-27b", "Q4_K_M", {"gpu": "rtx-3060"}),
    ("llama-3.1-70b", "Q8_0", {"gpu": "4x3060"}),
]


def left(found: Answered) -> int:
    """Bytes beyond the reserve on the fullest GPU, what is estimated at the unsafe end of its range."""
    more = [
        sum(part["most_bytes"] - part["bytes"] for part in found["parts"] if part["device"] == f"gpu{index}") for index in range(len(found["headroom_bytes"]))
    ]
    return min(free - margin for free, margin in zip(found["headroom_bytes"], more, strict=True)) - found["reserve_bytes"]


def asked(model: str, quant: str, **question: object) -> Answered:
    return ask(model, quant=quant, **{"context_tokens": 8192, **HOST_MEMORY, **question})


@pytest.mark.parametrize(("model", "quant", "machine"), MIXTURES)
def test_the_fewest_experts_that_will_do(model: str, quant: str, machine: dict[str, object]) -> None:
    found = asked(model, quant, **machine)
    experts = found["spread"]["host_experts"]
    assert (found["answer"], found["gpu_layers"]) == ("spills", found["layers"])
    assert 0 < experts < found["layers"] - 1
    assert f"the experts of the first {experts} in " in found["reason"]
    assert found["command"].endswith(f"--n-cpu-moe {experts}")
    assert left(found) >= 0
    again = asked(model, quant, n_cpu_moe=experts, **machine)
    assert again["answer"] == "spills"
    assert again["parts"] == found["parts"]
    fewer = asked(model, quant, n_cpu_moe=experts - 1, **machine)
    assert left(fewer) < 0 or fewer["gpu_layers"] < fewer["layers"], "one layer's experts more on the GPUs, and the reserve does not stay free"


@pytest.mark.parametrize(("model", "quant", "machine"), DENSE)
def test_the_most_layers_that_go_on_the_gpus(model: str, quant: str, machine: dict[str, object]) -> None:
    found = asked(model, quant, **machine)
    layers = found["gpu_layers"]
    assert found["answer"] == "spills"
    assert f" -ngl {layers}" in found["command"]
    assert left(found) >= 0
    assert found["spread"]["layers"][0] == {"device": "host", "first": 0, "last": found["layers"] - layers - 1}
    assert left(asked(model, quant, gpu_layers=layers + 1, **machine)) < 0


def test_the_cache_alone_where_that_moves_less() -> None:
    """Llama 3.1 8B at 16k: 2.0 GiB of cache; as many layers as would have to go, caches and all, are more than that."""
    found = asked("llama-3.1-8b", "Q4_K_M", context_tokens=16384, vram_bytes=6 * GIB)
    assert (found["answer"], found["gpu_layers"], found["spread"]["cache_on_host"]) == ("spills", 33, True)
    assert found["command"].endswith("--no-kv-offload")
    most, one_more = (asked("llama-3.1-8b", "Q4_K_M", context_tokens=16384, vram_bytes=6 * GIB, gpu_layers=layers) for layers in (22, 23))
    assert left(most) >= 0 > left(one_more)
    moved = sum(part["bytes"] for part in most["parts"] if part["device"] == "host" and part["label"] in ("repeating layers", "KV cache"))
    assert moved > 16384 * 32 * 2 * 8 * 128 * 2


def test_all_experts_and_layers_too_where_experts_are_not_enough() -> None:
    found = asked("qwen3-235b-a22b", "Q4_K_M", vram_bytes=9 * GIB, context_tokens=32768)
    assert found["answer"] == "spills"
    assert found["spread"]["host_experts"] == 94
    assert found["reason"].startswith("61 of 95 layers on the GPU, the rest and the experts in ")
    assert found["command"].endswith("-ngl 61 --cpu-moe")
    assert left(asked("qwen3-235b-a22b", "Q4_K_M", vram_bytes=9 * GIB, context_tokens=32768, gpu_layers=62, cpu_moe=True)) < 0


def test_a_named_number_of_layers_or_experts_is_obeyed() -> None:
    assert asked("qwen3-30b-a3b", "Q4_K_M", gpu="rtx-3060", gpu_layers=40)["answer"] == "does_not_fit"
    assert asked("qwen3-30b-a3b", "Q4_K_M", gpu="rtx-3060", n_cpu_moe=40)["spread"]["host_experts"] == 40


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "llama-3.1-70b"])
def test_too_little_host_memory_is_a_no(model: str) -> None:
    found = asked(model, "Q8_0", gpu="rtx-3060", ram_bytes=4 * GIB)
    assert found["answer"] == "does_not_fit"
    assert 0 < found["gpu_layers"] < found["layers"]


def test_ollama_moves_whole_layers() -> None:
    found = asked("qwen3-30b-a3b", "Q4_K_M", gpu="rtx-3060", runtime="ollama")
    assert found["answer"] == "spills"
    assert found["spread"]["host_experts"] == 0
    assert found["gpu_layers"] < found["layers"]


def test_where_the_reserve_cannot_stay_free_it_is_used_up() -> None:
    """A card of 1.5 GiB: with a reserve of 1 GiB not even a context goes beside it."""
    found = asked("llama-3.1-8b", "Q4_K_M", vram_bytes=3 * GIB // 2)
    assert found["answer"] == "spills"
    assert 0 <= min(found["headroom_bytes"]) < found["reserve_bytes"]


def test_a_full_card_without_layers_is_found_out_at_once() -> None:
    """A card that not even a context fits on: no number of layers or experts on the others helps."""
    found = asked("qwen3-30b-a3b", "Q4_K_M", vram_bytes=2 * GIB // 5, gpus=2)
    assert found["answer"] == "does_not_fit"
