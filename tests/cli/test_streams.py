"""What is behind the streams: a reader that leaves, a full disk, closed streams, terminals of all kinds. Never a traceback, never a false answer."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Runner = Callable[..., Any]
SMALL = ("check", "llama-3.1-8b", "--gpu", "4090")
CHECK = " ".join(SMALL)
ESCAPE = "\x1b["


@pytest.fixture
def long_batch(tmp_path: Path) -> Path:
    """Requests whose answers are more than a pipe holds."""
    path = tmp_path / "requests.ndjson"
    path.write_text('{"model":"llama-3.1-8b","quant":"Q4_K_M","gpu":"4090"}\n' * 100, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "command", [SMALL, (*SMALL, "--json"), (*SMALL, "-f", "svg"), ("models",), ("show", "llama-3.1-8b"), ("--version",), ("--help",)], ids=" ".join
)
def test_a_reader_that_leaves_is_141(run_unread: Runner, command: tuple[str, ...]) -> None:
    assert run_unread(*command) == (141, "", "")


def test_a_reader_that_leaves_a_batch_is_141(run_unread: Runner, long_batch: Path) -> None:
    assert run_unread("check", "--batch", str(long_batch)) == (141, "", "")


@pytest.mark.parametrize(("command", "code"), [(SMALL, 0), (("check", "llama-3.1-405b", "--gpu", "4090"), 1), (("check", "nothing"), 3)])
def test_who_prints_nothing_needs_no_reader(run_unread: Runner, command: tuple[str, ...], code: int) -> None:
    assert run_unread(*command, "--quiet").code == code


@pytest.mark.parametrize("command", [CHECK, f"{CHECK} --json", "models", "show llama-3.1-8b", "--version", "--help"])
def test_a_full_disk_is_3(shell: Runner, command: str) -> None:
    ran = shell(f"runlocal {command} >/dev/full")
    assert ran.code == 3
    assert ran.err.startswith("the answer could not be written: ") and len(ran.err.splitlines()) == 1


def test_a_full_disk_below_a_batch_is_3(shell: Runner, long_batch: Path) -> None:
    ran = shell(f"runlocal check --batch {long_batch} >/dev/full")
    assert ran.code == 3
    assert "could not be written" in ran.err and "cannot be read" not in ran.err


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        (f"runlocal {CHECK} >&-", {0, 3}),
        (f"runlocal {CHECK} --quiet >&-", {0}),
        (f"runlocal {CHECK} 2>&- >/dev/null", {0}),
        ("runlocal check llama-3.1-405b --gpu 4090 --quiet >&- 2>&-", {1}),
        ("runlocal check nothing-at-all --gpu 4090 2>&-", {3}),
        ("runlocal check llama-3.2-3b >/dev/null 2>&-", {0}),
        ("runlocal check --batch - <&-", {3}),
        (f"runlocal {CHECK} --quiet <&-", {0}),
    ],
)
def test_closed_streams(shell: Runner, line: str, codes: set[int]) -> None:
    assert shell(line).code in codes


@pytest.mark.parametrize("path", ["/nonexistent/requests", "/", "/dev/null/x"])
def test_a_batch_that_cannot_be_read_is_3(run: Runner, path: str) -> None:
    ran = run("check", "--batch", path)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: ")


def test_stdout_is_the_answer_and_stderr_the_talk(run: Runner) -> None:
    ran = run(*SMALL, "--json")
    assert ran.err == ""
    assert run(*SMALL, "--json").out == ran.out, "the same question has the same answer"


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv", "tsv", "markdown", "svg"])
@pytest.mark.parametrize(
    "command", [SMALL, ("models", "llama-3"), ("show", "llama-3.1-8b", "-g", "4090"), ("gpus", "4090")], ids=lambda command: str(command[0])
)
def test_every_format_of_every_command(run: Runner, command: tuple[str, ...], form: str) -> None:
    ran = run(*command, "--format", form)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("\n") and len(ran.out) > 100
    assert ESCAPE not in ran.out
    starts = {"table": "", "json": "{", "ndjson": "{", "csv": "", "tsv": "", "markdown": "", "svg": "<svg"}
    assert ran.out.startswith(starts[form])


@pytest.mark.parametrize(
    "command", [SMALL, ("models", "llama-3"), ("show", "llama-3.1-8b", "-g", "4090"), ("gpus", "4090")], ids=lambda command: str(command[0])
)
def test_colour_is_for_those_who_want_it(run: Runner, command: tuple[str, ...]) -> None:
    plain = run(*command).out
    assert ESCAPE not in plain
    assert run(*command, NO_COLOR="1", FORCE_COLOR="1").out == plain
    assert run(*command, TERM="dumb").out == plain
    assert ESCAPE in run(*SMALL, FORCE_COLOR="1").out
    assert ESCAPE not in run(*command, "--json", FORCE_COLOR="1").out


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize(
    "command", [SMALL, ("check", "llama-3.1-70b", "--gpu", "4090"), ("check", "llama-3.2-90b-vision", "--gpu", "2x3090")], ids=lambda command: str(command[1])
)
def test_lines_keep_to_the_width(run: Runner, command: tuple[str, ...], columns: int) -> None:
    """Addresses and commands to copy are never cut or wrapped; everything else is."""
    out = run(*command, COLUMNS=str(columns)).out
    wide = [line for line in out.splitlines() if len(line) > columns and not re.search(r"https://|--|-ngl|ollama run", line)]
    assert not wide


@pytest.mark.parametrize("columns", ["1", "0", "-5", "banana", "", "99999999999999999999"])
def test_a_strange_width_is_no_reason_to_fail(run: Runner, columns: str) -> None:
    ran = run(*SMALL, COLUMNS=columns)
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.out) < 100_000


@pytest.mark.parametrize(
    "variables",
    [{"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "cp437"}],
    ids=str,
)
@pytest.mark.parametrize(
    "command",
    [SMALL, (*SMALL, "-x"), (*SMALL, "--json"), ("show", "llama-3.1-8b"), ("models",), ("check", "--help"), ("check", "nothing-☃")],
    ids=lambda command: " ".join(command),
)
def test_a_narrow_encoding(run: Runner, command: tuple[str, ...], variables: dict[str, str]) -> None:
    ran = run(*command, **variables)
    assert ran.code == (3 if "☃" in command[-1] else 0)
    if variables.get("PYTHONIOENCODING") == "ascii":
        assert ran.out.isascii() and ran.err.isascii()
        assert ran.out.count("?") == run(*command).out.count("?"), "glyphs have twins, they are not lost"
