"""Every piece of advice, asked again as it is printed, is the yes that it promises."""

import argparse
import shlex

import pytest

from runlocal.catalog.models import bundled
from runlocal.commands.check import _speller, run
from runlocal.commands.options import Options, read
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.report import Check
from runlocal.core.units import GIB, MIB
from runlocal.solve.check import check

YES = ("fits", "tight")


def asked_again(command: str) -> Check:
    """The report of the command line as printed: its options, by the names that `check` gives them."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("model")
    parser.add_argument("-g", "--gpu", action="append", default=[])
    for short, name in (("-q", "quant"), ("-c", "ctx"), ("-k", "kv"), ("-r", "runtime")):
        parser.add_argument(short, f"--{name}")
    for name in ("vram", "ram", "reserve"):
        parser.add_argument(f"--{name}")
    parser.add_argument("-n", "--parallel", type=int, default=1)
    parser.add_argument("--images", type=int, default=1)
    for name in ("ubatch", "gpu-layers"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--n-cpu-moe", type=int, default=0)
    parser.add_argument("--tensor-split")
    parser.add_argument("--no-vision", dest="vision", action="store_false")
    parser.add_argument("--no-flash-attn", dest="flash_attention", action="store_const", const=False)
    parser.add_argument("--no-kv-offload", dest="kv_offload", action="store_false")
    parser.add_argument("--imatrix", action=argparse.BooleanOptionalAction)
    for name in ("cpu-moe", "strict", "offload", "idle"):
        parser.add_argument(f"--{name}", action="store_true")
    program, verb, *words = shlex.split(command)
    assert (program, verb) == ("runlocal", "check")
    given = vars(parser.parse_args(words))
    name, gpu = given.pop("model"), tuple(given.pop("gpu"))
    (found,) = run([name], Options(gpu=gpu, **given)).checks
    return found


QUESTIONS = {
    "a context that is too long": ("gemma-3-27b", {"quant": "Q4_K_M", "ctx": "128k", "gpu": ("rtx-4090",)}),
    "a quantization that is too fine": ("llama-3.3-70b", {"quant": "Q6_K", "ctx": "8k", "gpu": ("2x3090",)}),
    "a model beyond one card": ("llama-3.3-70b", {"quant": "Q4_K_M", "ctx": "8k", "gpu": ("rtx-4090",)}),
    "the 90B on two cards of 24 GB": ("llama-3.2-90b-vision", {"gpu": ("2x3090",)}),
    "the 11B in a small card": ("llama-3.2-11b-vision", {"quant": "Q4_K_M", "ctx": "8k", "gpu": ("rtx-3060",)}),
    "a budget": ("qwen3-32b", {"quant": "Q6_K", "ctx": "32k", "vram": "24GB"}),
    "many sequences": ("llama-3.1-8b", {"quant": "Q8_0", "ctx": "32k", "parallel": 4, "gpu": ("rtx-3060",)}),
    "a mac": ("llama-3.3-70b", {"quant": "Q8_0", "ctx": "8k", "gpu": ("m4-max-64",)}),
    "too little host memory": ("gemma-3-27b", {"quant": "Q4_K_M", "ctx": "128k", "gpu": ("rtx-4090",), "ram": "64GB"}),
    "a context that the model was not made for": ("llama-3.1-8b", {"quant": "Q4_K_M", "ctx": "256k", "gpu": ("rtx-4090",)}),
    "without vision": ("gemma-3-27b", {"quant": "Q4_K_M", "ctx": "128k", "gpu": ("rtx-4090",), "vision": False}),
    "longer steps": ("gemma-3-27b", {"quant": "Q4_K_M", "ctx": "64k", "gpu": ("rtx-4090",), "ubatch": 4096}),
    "without flash attention": ("llama-3.1-8b", {"quant": "Q8_0", "ctx": "64k", "gpu": ("rtx-3060",), "flash_attention": False}),
    "a reserve of one's own": ("qwen3-32b", {"quant": "Q4_K_M", "ctx": "16k", "gpu": ("rtx-4090",), "reserve": "4GB", "strict": True}),
    "two types of cache": ("qwen3-32b", {"quant": "Q4_K_M", "ctx": "64k", "gpu": ("rtx-4090",), "kv": "q8_0:f16"}),
    "a cache that the runtime aborts with": ("granite-3.1-1b-a400m", {"quant": "Q4_K_M", "ctx": "8k", "gpu": ("rtx-4090",), "kv": "q8_0"}),
    "sequences that the runtime aborts with": ("phi-4-14b", {"quant": "Q4_K_M", "ctx": "8k", "gpu": ("rtx-4090",), "kv": "q8_0", "parallel": 4}),
    "a split of one's own": ("llama-3.3-70b", {"quant": "Q4_K_M", "ctx": "8k", "gpu": ("2x3090",), "tensor_split": "9,1"}),
    "few layers on the card": ("llama-3.1-8b", {"quant": "Q4_K_M", "ctx": "8k", "gpu": ("rtx-4090",), "gpu_layers": 12, "ram": "32GB"}),
    "a runtime by name": ("llama-3.3-70b", {"quant": "Q4_K_M", "ctx": "8k", "gpu": ("rtx-4090",), "runtime": "ollama"}),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_advice_is_the_yes_that_it_promises(name: str) -> None:
    model, options = QUESTIONS[name]
    (found,) = run([model], Options(**options)).checks  # type: ignore[arg-type]
    assert found.answer not in ("fits", None)
    assert len(found.advice) <= 5
    for one in found.advice:
        again = asked_again(one.command)
        assert again.machines[0].headline.answer == one.answer, one.command
        need = again.machines[0].headline.need_bytes
        before = found.machines[0].headline.need_bytes
        assert need is not None
        if before is not None:
            assert one.saves_bytes == max(0, before - need), one.command


@pytest.mark.parametrize("name", [name for name, (_, options) in QUESTIONS.items() if "strict" not in options and "flash_attention" not in options])
def test_there_is_advice(name: str) -> None:
    model, options = QUESTIONS[name]
    (found,) = run([model], Options(**options)).checks  # type: ignore[arg-type]
    assert found.advice
    assert all(one.answer in YES or (one.answer == "spills" and "--offload" in one.command) for one in found.advice)


def test_a_yes_needs_no_advice() -> None:
    (found,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", ctx="8k", gpu=("rtx-4090",))).checks
    assert found.answer == "fits"
    assert found.advice == ()


def test_where_only_tight_is_left_strict_asks_for_advice() -> None:
    for strict in (False, True):
        (found,) = run(["llama-3.2-11b-vision"], Options(quant="Q4_K_M", ctx="2k", gpu=("rtx-4070-super",), strict=strict)).checks
        assert found.answer == "tight"
        assert bool(found.advice) == strict


def test_the_twin_of_the_90b_is_the_70b() -> None:
    (found,) = run(["llama-3.2-90b-vision"], Options(gpu=("2x3090",))).checks
    assert any("llama-3.1-70b" in one.change for one in found.advice)


def test_host_memory_is_advised_with_what_goes_there() -> None:
    """Of a mixture of experts all layers stay on the GPU: only saying so would read as if nothing moved."""
    (experts,) = run(["gpt-oss-20b"], Options(ctx="128k", gpu=("rtx-4060-ti-8gb",))).checks
    (spilling,) = (one for one in experts.advice if "--offload" in one.change)
    assert spilling.change.startswith("--ram 16GB --offload: all 25 layers on the GPU, the experts of the first 20 in ")
    (dense,) = run(["qwen3-8b"], Options(quant="Q4_K_M", ctx="64k", gpu=("rtx-3060",))).checks
    (spilling,) = (one for one in dense.advice if "--offload" in one.change)
    assert spilling.change.startswith("--ram 16GB --offload: 26 of 37 layers on the GPU, the rest in ")


def test_more_host_memory_is_advised_where_too_little_is_there() -> None:
    (found,) = run(["llama-3.3-70b"], Options(quant="Q4_K_M", ctx="8k", gpu=("3090",), ram="16GB")).checks
    assert found.answer == "does_not_fit"
    more = found.advice[0]
    assert more.change.startswith("--ram 32GB --offload: 42 of 81 layers on the GPU, the rest in ")
    assert more.command == "runlocal check llama-3.3-70b -q Q4_K_M -c 8k --gpu 3090 --ram 32GB --offload"
    # 404.5 GB of tensors are 376.7 GiB: 24 on the card and 256 in the host are too little, so 512 it is.
    (large,) = run(["deepseek-r1"], Options(quant="Q4_K_M", ctx="8k", gpu=("4090",), ram="64GB", offload=True)).checks
    assert large.advice[0].change.startswith("--ram 512GB --offload: all 62 layers on the GPU, the experts of the first ")


def test_as_many_sequences_are_advised_as_fit() -> None:
    asked = Options(quant="Q4_K_M", ctx="16k", gpu=("2x4090",), parallel=8)
    (found,) = run(["qwen3-32b"], asked).checks
    assert "--parallel 6" in [one.change for one in found.advice]
    (seven,) = run(["qwen3-32b"], asked._replace(parallel=7)).checks
    assert seven.answer != "fits"


def test_a_context_beyond_what_the_runtime_takes_becomes_the_longest_that_it_takes() -> None:
    (found,) = run(["qwen2.5-7b-1m"], Options(quant="Q4_K_M", ctx="1m", gpu=("h100",))).checks
    assert found.answer == "cannot_run"
    assert [one.change for one in found.advice] == ["--ctx 1010000"]
    # On 24 GiB that does not fit; 512k take 28 x 4 x 128 x 2 x 2 B x 524,288 = 28 GiB of cache, neither; nor does 4 bits of cache for a million.
    (small,) = run(["qwen2.5-7b-1m"], Options(quant="Q4_K_M", ctx="1m", gpu=("4090",))).checks
    assert small.answer == "cannot_run"
    assert all("--ctx" not in one.change for one in small.advice)


def test_what_somebody_said_of_the_layers_is_left_out() -> None:
    (split,) = run(["llama-3.3-70b"], Options(quant="Q4_K_M", ctx="8k", gpu=("2x3090",), tensor_split="9,1")).checks
    assert split.advice[0].change == "without --tensor-split"
    assert split.advice[0].command == "runlocal check llama-3.3-70b -q Q4_K_M -c 8k --gpu 2x3090"
    (few,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", ctx="8k", gpu=("rtx-4090",), gpu_layers=12, ram="32GB")).checks
    assert few.advice[0].change == "without --gpu-layers"


def test_a_full_card_among_several_is_left_out() -> None:
    """Of each GPU that it computes on a process takes room for its context: a card that others have filled does not even hold that."""
    free = Gpu(index=0, id="rtx-3090", name="RTX 3090", memory_bytes=24 * GIB, in_use_bytes=0, uuid="GPU-a", context_bytes=400 * MIB)
    full = free._replace(index=1, in_use_bytes=24 * GIB - 100 * MIB, uuid="GPU-b")
    spell = _speller("qwen3-14b", Options(quant="Q4_K_M", ctx="8k"))
    asked = read(Options(quant="Q4_K_M", ctx="8k"))
    machine = Machine(origin=Origin.HERE, label="this machine", gpus=(free, full))
    found = check(bundled("qwen3-14b"), asked, [machine], spell)
    assert found.answer == "does_not_fit"
    (first, *_) = found.advice
    assert (first.change, first.answer) == ("leave GPU 1 out", "fits")
    assert first.command == "CUDA_VISIBLE_DEVICES=GPU-a runlocal check qwen3-14b -q Q4_K_M -c 8k"
    (alone,) = check(bundled("qwen3-14b"), asked, [machine._replace(gpus=(free,))], spell).machines
    assert alone.headline.answer == "fits"
    three = machine._replace(gpus=(full._replace(index=0), free._replace(index=1), full._replace(index=2, uuid="GPU-c")))
    assert check(bundled("qwen3-14b"), asked, [three], spell).advice[0].change == "leave GPUs 0 and 2 out"


def test_a_change_that_is_not_computed_is_no_advice() -> None:
    """A context within 4,096 tokens would help, but what TQ1_0 takes on a GPU is not computed: the no is the answer."""
    (found,) = run(["nemotron-mini-4b"], Options(quant="TQ1_0", ctx="8k", gpu=("rtx-4090",))).checks
    assert (found.answer, found.advice) == ("cannot_run", ())


def test_as_few_more_cards_as_will_do() -> None:
    (found,) = run(["llama-3.3-70b"], Options(quant="Q4_K_M", ctx="4k", gpu=("4060-ti-16gb",))).checks
    assert [one.command for one in found.advice if "×" in one.change] == ["runlocal check llama-3.3-70b -q Q4_K_M -c 4k --gpu 3xrtx-4060-ti-16gb"]
