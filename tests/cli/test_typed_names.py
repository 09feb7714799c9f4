"""Names through the front door; tests/catalog/test_names.py holds the table of them."""

from collections.abc import Callable
from typing import Any

import pytest

Runner = Callable[..., Any]


@pytest.mark.parametrize(
    "name",
    [
        "Meta-Llama-3.1-8B-Instruct",
        "llama3.1:8b",
        "LLAMA_3.1 8b",
        "unsloth/Meta-Llama-3.1-8B-Instruct-GGUF",
        "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/tree/main",
        "hf.co/unsloth/Llama-3.1-8B-Instruct-GGUF",
    ],
)
def test_however_it_is_typed_it_is_one_model(run: Runner, name: str) -> None:
    assert run("check", name, "--gpu", "4090", "--json").answer == run("check", "llama-3.1-8b", "--gpu", "4090", "--json").answer


def test_base_weights_are_said_to_be_so(run: Runner) -> None:
    assert "base weights" in run("check", "Qwen/Qwen3-8B-Base", "--gpu", "4090").out
    assert "base weights" not in run("check", "Qwen/Qwen3-8B", "--gpu", "4090").out


def test_an_ambiguous_name_lists_what_it_could_be(run: Runner) -> None:
    told = run("check", "qwen3", "--gpu", "4090", "--json")
    assert told.code == 3
    candidates = told.answer["error"]["candidates"]
    assert len(candidates) >= 3
    assert all(candidate.startswith("qwen3-") for candidate in candidates)
