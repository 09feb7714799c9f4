"""Runs the program as a stranger's shell would: a process of its own, none of whose traits come from the caller's terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORGOTTEN = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "PYTHONIOENCODING", "PYTHONUTF8", "LANG", "LC_ALL", "LC_CTYPE", "RUNLOCAL_TRACEBACK")


class Ran(NamedTuple):
    """What a process did."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


Runner = Callable[..., Ran]
COMMAND = [sys.executable, "-m", "runlocal"]


def environment(**changed: str) -> dict[str, str]:
    """The caller's, without what changes the look of the answer, and with no GPU to be seen."""
    kept = {name: value for name, value in os.environ.items() if name not in FORGOTTEN}
    return (
        kept
        | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1", "TERM": "xterm-256color", "CUDA_VISIBLE_DEVICES": "", "ONEAPI_DEVICE_SELECTOR": "level_zero:999"}
        | changed
    )


@pytest.fixture(scope="session")
def run() -> Runner:
    """Runs `runlocal` with these arguments and this standard input; a traceback is a failure, whatever is tested."""

    def running(*arguments: str, text: str | bytes = b"", **variables: str) -> Ran:
        given = text.encode() if isinstance(text, str) else text
        done = subprocess.run([*COMMAND, *arguments], input=given, capture_output=True, env=environment(**variables), check=False, timeout=60)
        ran = Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        assert "Traceback" not in ran.err, ran.err
        assert "This is a bug" not in ran.err, ran.err
        return ran

    return running


@pytest.fixture(scope="session")
def shell() -> Callable[..., Ran]:
    """Runs a line of sh in which `runlocal` is the program; the line says itself what its exit code is. No traceback there either."""

    def running(line: str, **variables: str) -> Ran:
        script = f"runlocal() {{ '{COMMAND[0]}' -m runlocal \"$@\"; }}\n{line}"
        done = subprocess.run(["sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, env=environment(**variables), check=False, timeout=60)
        ran = Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        assert "Traceback" not in ran.err, ran.err
        assert "This is a bug" not in ran.err, ran.err
        return ran

    return running


@pytest.fixture(scope="session")
def run_unread() -> Callable[..., Ran]:
    """Runs `runlocal` with a standard output whose reader has left before anything was written."""

    def running(*arguments: str) -> Ran:
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run(
                [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60
            )
        finally:
            os.close(writer)
        return Ran(done.returncode, "", done.stderr.decode(errors="replace"))

    return running
