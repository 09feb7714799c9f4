"""A machine without a GPU: the verdict is that of its CPU and memory, and a buyer is told what would do."""

from collections.abc import Callable
from typing import Any

import pytest

Runner = Callable[..., Any]
SMALLEST, LARGEST = "smollm2-135m", "kimi-k2-1t"


def test_the_verdict_is_the_cpu_s(run: Runner) -> None:
    ran = run("check", SMALLEST, "--ram", "16GB", "--json")
    (machine,) = ran.answer["machines"]
    assert (ran.code, ran.answer["answer"], machine["gpus"]) == (0, "fits", [])
    assert machine["host_memory_bytes"] == 16 << 30
    assert {part["device"] for one in machine["cells"] for part in one["parts"]} == {"host"}
    assert run("check", LARGEST, "--ram", "16GB", "--quiet").code == 1


def test_one_line_on_stderr_says_why(run: Runner) -> None:
    ran = run("check", SMALLEST)
    (line,) = ran.err.splitlines()
    assert line.startswith("No GPU was found") and line.endswith(".")
    assert ran.code == 0
    why = line.removeprefix("No GPU was found. ")
    assert why and why not in " ".join(ran.out.split()), "said once"
    listed = run("gpus")
    assert listed.err == "No GPU was found.\n" and why in " ".join(listed.out.split())


def test_quiet_prints_nothing_even_then(run: Runner) -> None:
    assert run("check", SMALLEST, "--quiet") == (0, "", "")
    assert run("check", LARGEST, "--ram", "16GB", "--quiet") == (1, "", "")


def test_the_shelf_stands_below(run: Runner) -> None:
    out = run("check", "llama-3.1-8b", "-q", "Q4_K_M", "-c", "8k").out
    sizes = next(line.split() for line in out.splitlines() if line.startswith("card "))
    assert sizes[1:] == "8 12 16 24 32 48 64 80 96 128 141 192".split()
    (need,) = [line for line in out.splitlines() if line.startswith("On a GPU ")]
    on_card = run("check", "llama-3.1-8b", "-q", "Q4_K_M", "-c", "8k", "--gpu", "mi300x", "--json").answer["machines"][0]["cells"][0]["need_bytes"]
    assert need.startswith("On a GPU Q4_K_M at 8k context needs ") and f" {on_card / 2**30:.1f} GiB. Common cards" in need
    assert "Smallest single card: " in out and "Cheapest pair of cards: " in out
    assert "Smallest single card: " not in run("check", "llama-3.1-8b", "--gpu", "4090").out


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_gpu_can_be_required(run: Runner, form: tuple[str, ...]) -> None:
    ran = run("check", SMALLEST, "--require-gpu", *form)
    assert ran.code == 3
    if form:
        assert ran.answer["error"]["code"] == "no_gpu" and ran.answer["error"]["hint"]
    else:
        assert ran.out == "" and ran.err.startswith("error: ")


def test_the_list_of_devices_is_empty_and_says_so(run: Runner) -> None:
    ran = run("gpus", "--json")
    assert (ran.code, ran.answer["gpus"]) == (1, [])
    assert ran.err.startswith("No GPU was found")
