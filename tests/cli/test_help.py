"""Help as a person reads it: examples that run, a line each, whatever the terminal."""

import shlex
from collections.abc import Callable
from typing import Any

import pytest

Runner = Callable[..., Any]
COMMANDS = ("check", "fit", "buy", "models", "show", "gpus")


def examples(text: str) -> list[str]:
    """The command lines under `Examples:`, each on a line of its own."""
    _, below = text.split("\n  Examples:\n")
    return [line.strip() for line in below.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_stands_on_a_line_of_its_own_and_runs(run: Runner, command: str) -> None:
    shown = examples(run(command, "--help").out)
    assert len(shown) >= 2
    for line in shown:
        program, asked, *words = shlex.split(line)
        assert (program, asked) == ("runlocal", command)
        ran = run(asked, *words)
        if any(word.startswith("./") for word in words):
            assert ran.code == 3 and "./" in ran.err, "a file of the reader's"
        else:
            this_computer = command in ("check", "fit", "gpus") and not {"--gpu", "--vram", "4090", "--all", "--doctor"} & set(words)
            assert ran.code in ((0, 1) if this_computer else (0,)), ran.err


@pytest.mark.parametrize("variables", [{"COLUMNS": "40"}, {"COLUMNS": "80"}, {"COLUMNS": "200"}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_examples_are_the_same_on_every_terminal(run: Runner, variables: dict[str, str]) -> None:
    out = run("check", "--help", **variables).out
    assert examples(out) == examples(run("check", "--help").out)
    assert "\x1b" not in out
