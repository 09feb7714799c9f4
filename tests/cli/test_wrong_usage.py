"""What a slip of the fingers is told: what is wrong, what was probably meant, and where the right help is."""

from collections.abc import Callable
from typing import Any

import pytest

Runner = Callable[..., Any]


@pytest.mark.parametrize(
    ("typed", "message", "near", "hint"),
    [
        (("check", "--quantt"), "`runlocal check` has no option --quantt", ["--quant"], "runlocal check --help"),
        (("check", "x", "--quantization=Q4_K_M"), "`runlocal check` has no option --quantization", ["--quant"], "runlocal check --help"),
        (("check", "x", "--context", "8k"), "`runlocal check` has no option --context", ["--ctx"], "runlocal check --help"),
        (("check", "x", "--offlaod"), "`runlocal check` has no option --offlaod", ["--offload", "--no-kv-offload"], "runlocal check --help"),
        (("check", "x", "-z"), "`runlocal check` has no option -z", [], "runlocal check --help"),
        (("fit", "--tp", "2"), "`runlocal fit` has no option --tp", [], "runlocal fit --help"),
        (("buy", "x", "--maxprice", "3"), "`runlocal buy` has no option --maxprice", ["--max-price"], "runlocal buy --help"),
        (("chek",), "runlocal has no command 'chek'", ["check"], "runlocal --help"),
        (("help",), "runlocal has no command 'help'", [], "runlocal --help"),
        (("",), "runlocal has no command ''", [], "runlocal --help"),
        (("-V",), "`runlocal` has no option -V", ["--version"], "runlocal --help"),
        (("model",), "runlocal has no command 'model'", ["models"], "runlocal --help"),
        (("--gpu", "4090", "x"), "`runlocal` has no option --gpu", [], "options stand behind the command: runlocal check MODEL --gpu 4090"),
        (("check", "--gpu"), "Option '--gpu' requires an argument.", [], "runlocal check --help"),
        (("check", "x", "--images", "1.5"), "Invalid value for '--images': '1.5' is not a whole number.", [], "runlocal check --help"),
        (("buy", "x", "--min-speed", "fast"), "Invalid value for '--min-speed': 'fast' is not a number.", [], "runlocal buy --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_slip_names_what_is_near_and_the_command_s_own_help(run: Runner, typed: tuple[str, ...], message: str, near: list[str], hint: str) -> None:
    ran = run(*typed)
    did = ["did you mean:", *(f"  {one}" for one in near)] if near else []
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [f"error: {message}", *did, f"hint: {hint}"]
    told = run(*typed, "--json").answer["error"]
    assert (told["code"], told["candidates"]) == ("bad_value", near)


def test_a_model_without_a_command_is_asked_about_with_check(run: Runner) -> None:
    ran = run("llama-3.1-8b", "--gpu", "4090")
    assert (ran.code, ran.out) == (2, "")
    assert "hint: `runlocal check llama-3.1-8b` asks about a model of that name" in ran.err


def test_several_gpus_behind_a_comma_are_two_questions(run: Runner) -> None:
    ran = run("check", "llama-3.1-8b", "--gpu", "3090, 4090")
    assert (ran.code, ran.out) == (2, "")
    assert "several machines side by side: --gpu 3090 --gpu 4090; one machine with all of them: 3090+4090" in ran.err
    assert run("check", "llama-3.1-8b", "--gpu", "3090", "--gpu", "4090", "--quiet").code == 0
    assert run("check", "llama-3.1-8b", "--gpu", "3090+4090", "--quiet").code == 0


@pytest.mark.parametrize("typed", ["24XB", "24 gigs", "x24GB", "2x", "24GB+", "24,5GB"])
def test_a_wrong_budget_is_named_whole(run: Runner, typed: str) -> None:
    ran = run("check", "llama-3.1-8b", "--vram", typed)
    assert (ran.code, ran.out) == (2, "")
    assert repr(typed.rpartition("+")[2]) in ran.err and "--vram" in ran.err and "2x24GB" in ran.err


def test_a_price_may_be_written_as_people_write_it(run: Runner) -> None:
    asked = ("buy", "llama-3.1-8b", "--json", "--max-price")
    found = run(*asked, "2500")
    assert found.code == 0 and found.answer["machines"]
    assert all(run(*asked, typed).out == found.out for typed in ("2,500", "$2500", "2500usd", "2.5k"))
    refused = run("buy", "llama-3.1-8b", "--max-price", "2,5")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "error: --max-price: '2,5' is not a price in US dollars: write 2500, 2,500, $2500 or 2.5k\n"


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (("check", "x", "--gpu", "4090", "-k", "q4"), 2, ["did you mean:", "  q4_1", "  q4_0", "known: f16"]),
        (("check", "llama-3.1-8b", "4090", "--gpu", "RTX"), 3, ['a name of several words stands in quotes: "RTX 4090"']),
        (("check", "x", "-r", "ollama@"), 2, ["--runtime ollama@ names no version"]),
        (("buy", "llama-3.1-8b", "--vendor", "nvdia"), 2, ["did you mean:", "  nvidia"]),
        (("buy", "llama-3.1-8b", "--compare", "4090,,3090"), 2, ["--compare has nothing between its commas"]),
        (("buy", "llama-3.1-8b", "--compare", "4090", "--limit", "3"), 2, ["leave --max-price, --vendor, --cards, --min-speed and --limit out"]),
        (("gpus", "--doctor", "4090"), 2, ["--doctor reads this computer"]),
        (("check", "llama-3.1-8b", "--nodes", "x", "--draft", "y"), 2, ["leave --with, --draft and --ignore-pid out"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_value_is_told_with_what_would_do(run: Runner, typed: tuple[str, ...], code: int, said: list[str]) -> None:
    ran = run(*typed)
    assert (ran.code, ran.out) == (code, "")
    assert all(sentence in ran.err for sentence in said), ran.err


def test_a_card_that_is_not_listed_names_the_nearest(run: Runner) -> None:
    ran = run("gpus", "4900")
    assert ran.code == 1
    assert "Called nearly so: rtx-4090," in " ".join(ran.out.split())


def test_an_option_that_acts_on_nothing_is_told_on_stderr_and_in_json(run: Runner) -> None:
    asked = ("check", "llama-3.1-8b", "--gpu", "4090", "-q", "Q4_K_M", "-c", "8k", "--n-cpu-moe", "4")
    told = "--n-cpu-moe: llama-3.1-8b has no experts, so it changes nothing."
    shown, read, quiet = run(*asked), run(*asked, "--json"), run(*asked, "--quiet")
    assert shown.err == read.err == f"{told}\n"
    assert told not in " ".join(shown.out.split())
    assert read.answer["machines"][0]["cells"][0]["warnings"] == [told]
    assert quiet == (0, "", "")


@pytest.mark.parametrize(("more", "said"), [((), False), (("qwen3-8b",), True), (("--json",), True), (("-f", "csv"), True), (("-f", "svg"), False)], ids=str)
def test_explaining_where_nothing_is_explained_is_told(run: Runner, more: tuple[str, ...], said: bool) -> None:
    assert ("--explain: " in run("check", "llama-3.1-8b", *more, "--gpu", "4090", "-q", "Q4_K_M", "-c", "8k", "-x").err) is said
