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


def test_every_command_is_one_whole_line(run: Runner) -> None:
    lines = run("--help").out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert not any("..." in line for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_once_in_a_group(run: Runner, command: str) -> None:
    out = run(command, "--help").out.partition("\n  Examples:")[0]
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert len(set(headings)) == len(headings)
    named = [line.split()[0].rstrip(",") for line in out.splitlines() if line.startswith("  -")]
    assert len(set(named)) == len(named)
    kept = [line.split()[0].rstrip(",") for line in out.partition("\nOptions:\n")[2].splitlines() if line.startswith("  -")]
    assert set(kept) == {"-h"}


def test_the_groups_of_check(run: Runner) -> None:
    out = run("check", "--help").out
    groups = ("What is asked", "The machine", "The runtime's own settings", "What counts as a yes", "The answer", "Many at once", "Options", "  Examples")
    places = [out.index(f"\n{group}:\n") for group in groups]
    assert places == sorted(places)
