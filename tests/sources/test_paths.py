"""What counts as a path, and what is said of paths that lead nowhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runlocal.core.errors import Code, Exit, Problem
from runlocal.sources import is_path, read
from runlocal.sources.files import clean, identifier, unreadable


@pytest.mark.parametrize("text", ["./model", "../x", "/models/x", "~/x", "x.gguf", "X.GGUF", "config.json", "a/b/c", ".", "model.safetensors"])
def test_paths(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize("text", ["", "llama-3.1-8b", "meta-llama/Llama-3.1-8B", "llama3.2-vision:90b", "qwen3 30b", "a\0b", "x" * 10_000])
def test_names(text: str) -> None:
    assert not is_path(text)


def test_what_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "llama").mkdir()
    assert is_path("meta/llama")
    assert is_path("meta")


@pytest.mark.parametrize("name", ["nothing.gguf", "nothing/config.json", "nothing", "x\0.gguf", "y" * 5000 + ".gguf"])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        read(str(tmp_path / name))
    assert (caught.value.code, caught.value.exit) == (Code.BAD_FILE, Exit.CANNOT_ANSWER)
    assert caught.value.message.isprintable()


def test_an_empty_file(tmp_path: Path) -> None:
    for name in ("a.gguf", "config.json"):
        (tmp_path / name).touch()
        with pytest.raises(Problem, match=f"{name}: the file is empty"):
            read(str(tmp_path / name))


def test_a_file_that_may_not_be_read() -> None:
    problem = unreadable("/secret/a.gguf", PermissionError(13, "Permission denied"))
    assert (problem.code, problem.message) == (Code.BAD_FILE, "a.gguf: may not be read by this user")


def test_tensors_alone(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(Problem, match="holds tensors, but not what they are") as caught:
        read(str(tmp_path / "model.safetensors"))
    assert "folder" in caught.value.hint


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a.gguf").touch()
    with pytest.raises(Problem, match="the file is empty"):
        read("~/a.gguf")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Llama-3.1-8B.Q4_K_M", "Llama-3.1-8B.Q4_K_M"),
        ("../../etc/passwd", "etc-passwd"),
        ("[red]x", "red-x"),
        ("日本", "model"),
        ("", "model"),
        ("x" * 200, "x" * 80),
    ],
)
def test_identifiers(name: str, expected: str) -> None:
    assert identifier(name) == expected


def test_clean() -> None:
    assert clean(" a\x1b[2J\u202eb\u200bc\n") == "a[2Jbc"
    assert len(clean("x" * 1000)) == 120


def test_imports_are_light() -> None:
    """Asking whether a word is a path costs none of the readers."""
    code = "import sys, runlocal.sources as s; s.is_path('x'); print(*(m for m in sys.modules if m in ('json', 'pydantic', 'rich', 'runlocal.sources.config')))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
