"""What is read of a stranger's command line: the program and its model, and nothing beside them."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.probes import commandline, ollama

DIGEST = "0123456789abcdef" * 4


def read(tmp_path: Path, *words: str) -> commandline.Command:
    (tmp_path / "7").mkdir(exist_ok=True)
    (tmp_path / "7/cmdline").write_bytes("\0".join((*words, "")).encode())
    return commandline.read(tmp_path, 7)


@pytest.mark.parametrize(
    ("words", "models"),
    [
        (("/usr/bin/llama-server", "-m", "/m/a.gguf", "--api-key", "secret"), ("/m/a.gguf",)),
        (("llama-cli", "-hf", "ggml-org/gpt-oss-20b-GGUF:MXFP4", "-p", "-m"), ("ggml-org/gpt-oss-20b-GGUF:MXFP4",)),
        (("llama-server", "--hf-repo", "a/b", "--hf-file", "c.gguf"), ("a/b", "c.gguf")),
        (("/usr/bin/python3", "-m", "llama_cpp.server", "--model", "/m/b.gguf"), ("/m/b.gguf",)),
        (("/usr/bin/python3", "-m", "llama_cpp.server", "--model=/m/b.gguf"), ("/m/b.gguf",)),
        (("llama-server", "-m"), ()),
        (("llama-server", "-md", "draft.gguf", "-mm", "mmproj.gguf"), ()),
        (("/usr/bin/python3", "-m", "http.server", "--model", "secret"), ()),
        (("vim", "-m", "secret"), ()),
    ],
)
def test_the_model_is_read_and_no_other_argument(tmp_path: Path, words: tuple[str, ...], models: tuple[str, ...]) -> None:
    assert read(tmp_path, *words).models == models


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert commandline.read(tmp_path, 8) == commandline.Command("", ())
    assert read(tmp_path, "") == commandline.Command("", ())


def test_a_command_line_is_read_within_bounds(tmp_path: Path) -> None:
    """64 KiB of it, four models, names no longer than a path may be and without control characters."""
    assert read(tmp_path, "llama-server", "x" * (1 << 17), "-m", "late.gguf").models == ()
    assert read(tmp_path, "llama-server", "-m", "a" * 4097, "-m", "\x1b[2J.gguf", "-m", "fine.gguf").models == ("fine.gguf",)
    many = [word for number in range(99) for word in ("-m", f"{number}.gguf")]
    assert read(tmp_path, "llama-server", *many).models == ("0.gguf", "1.gguf", "2.gguf", "3.gguf")
    assert read(tmp_path, "\x1b[31mllama-server\x07", "-m", "a.gguf").program == "[31mllama-server"


@given(text=st.binary(max_size=200))
def test_no_command_line_is_a_fault(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    proc = tmp_path_factory.mktemp("proc")
    (proc / "7").mkdir()
    (proc / "7/cmdline").write_bytes(b"llama-server\0-m\0" + text)
    found = commandline.read(proc, 7)
    assert found.program == "llama-server"
    assert all(model.isprintable() for model in found.models)


def store(root: Path, tags: dict[str, str]) -> Path:
    """Ollama's store in `root`, manifests by tag's path; the blob of DIGEST."""
    for name, digest in tags.items():
        path = root / "manifests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"config": {"digest": "sha256:0"}, "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}]})
        )
    return root / f"blobs/sha256-{DIGEST}"


def test_ollama_s_file_has_the_names_of_its_tags(tmp_path: Path) -> None:
    other = "f" * 64
    blob = store(
        tmp_path,
        {
            "registry.ollama.ai/library/llama3.1/8b": DIGEST,
            "registry.ollama.ai/library/llama3.1/latest": DIGEST,
            "registry.ollama.ai/library/qwen3/8b": other,
            "registry.ollama.ai/someone/mine/1": DIGEST,
            "hf.co/bartowski/Meta-Llama-3.1-8B-Instruct-GGUF/Q4_K_M": DIGEST,
        },
    )
    wanted = {"llama3.1:8b", "llama3.1:latest", "someone/mine:1", "hf.co/bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M"}
    assert set(ollama.tags(blob)) == wanted
    assert set(read(tmp_path, "/usr/lib/ollama/llama-server", "--model", str(blob), "--port", "4711").models) == wanted


def test_ollama_s_store_may_be_anything(tmp_path: Path) -> None:
    """No store; a name that is no digest; a pipe in place of a manifest, which would never end; a huge one."""
    assert ollama.tags(tmp_path / f"blobs/sha256-{DIGEST}") == ()
    assert ollama.tags(Path(f"/nowhere/blobs/sha256-{DIGEST[1:]}")) == ()
    blob = store(tmp_path, {"registry.ollama.ai/library/llama3.1/8b": DIGEST})
    os.mkfifo(tmp_path / "manifests/registry.ollama.ai/library/llama3.1/pipe")
    (tmp_path / "manifests/registry.ollama.ai/library/llama3.1/huge").write_text(" " * (1 << 17) + f'"sha256:{DIGEST}"')
    (tmp_path / "manifests/registry.ollama.ai/library/llama3.1/folder").mkdir()
    assert ollama.tags(blob) == ("llama3.1:8b",)
