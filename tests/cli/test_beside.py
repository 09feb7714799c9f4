"""`--with`, `--ignore-pid` and vLLM's ranks as a shell asks for them: exit codes, the command that advice prints, errors as JSON."""

import shlex
from collections.abc import Callable
from typing import Any

import pytest

Runner = Callable[..., Any]
PAIR = ("check", "qwen3-32b", "--with", "qwen3-8b", "-q", "Q4_K_M", "-c", "8k")


def test_both_together_are_the_answer(run: Runner) -> None:
    assert run(*PAIR[:2], *PAIR[4:], "--gpu", "4090", "--quiet").code == 0
    assert run(*PAIR, "--gpu", "4090", "--quiet").code == 1
    assert run(*PAIR, "--gpu", "pro6000", "--quiet").code == 0


def test_the_advice_is_a_command_that_answers_so(run: Runner) -> None:
    (check,) = [run(*PAIR, "--gpu", "4090", "--json").answer]
    for advice in check["advice"]:
        again = run(*shlex.split(advice["command"])[1:], "--json")
        assert (again.answer["answer"], again.code) == (advice["answer"], 0), advice


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("--with", "llama-9"), "unknown_model", 3),
        (("--with", "qwen3-8b@Q4_K_X"), "unknown_quant", 3),
        (("--with", "qwen3-8b@4kk"), "bad_value", 2),
        (("--ignore-pid", "x"), "bad_value", 2),
        (("-r", "vllm"), "not_computed", 3),
    ],
)
def test_errors(run: Runner, arguments: tuple[str, ...], code: str, exit_code: int) -> None:
    ran = run("check", "llama-3.1-8b", "--gpu", "4090", *arguments, "--json")
    assert (ran.answer["error"]["code"], ran.code) == (code, exit_code)


def test_a_size_that_vllm_does_not_cut_for_is_a_no(run: Runner) -> None:
    ran = run("check", "llama-3.1-8b", "--gpu", "4x3090", "-r", "vllm", "--tp", "3", "--json")
    assert (ran.answer["answer"], ran.code) == ("cannot_run", 1)


def test_a_process_that_holds_nothing_is_said_on_stderr(run: Runner) -> None:
    ran = run("check", "llama-3.2-1b", "-q", "Q4_K_M", "-c", "4k", "--ignore-pid", "4711", "--json")
    assert "--ignore-pid 4711: no process of that number" in ran.err
    assert ran.answer["schema"] == "runlocal.check/1"
