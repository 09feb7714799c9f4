"""Words that can be pasted."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.core.shell import quoted


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("./models/Qwen3-8B-Q4_K_M.gguf", "./models/Qwen3-8B-Q4_K_M.gguf"),
        ("my model.gguf", "'my model.gguf'"),
        ("$(reboot).gguf", "'$(reboot).gguf'"),
        ("it's.gguf", "'it'\"'\"'s.gguf'"),
        ("", "''"),
        ("FROM /models/a.gguf", "'FROM /models/a.gguf'"),
    ],
)
def test_words(word: str, written: str) -> None:
    assert quoted(word) == written


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_a_shell_reads_the_word_back(word: str) -> None:
    assert shlex.split(quoted(word)) == [word]
