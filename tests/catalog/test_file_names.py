"""What a program was given as its model, resolved to one bundled model or to none."""

import pytest

from runlocal.catalog.file_names import model_named


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "llama-3.1-8b"),
        ("Llama-3.2-3B-Instruct-IQ4_XS.gguf", "llama-3.2-3b"),
        (r"C:\models\Qwen3-8B-Q8_0.gguf", "qwen3-8b"),
        ("/m/gpt-oss-120b-mxfp4-00001-of-00003.gguf", "gpt-oss-120b"),
        ("Qwen2.5-VL-7B-Instruct-UD-Q4_K_XL.gguf", "qwen2.5-vl-7b"),
        ("bartowski/Qwen_Qwen3-8B-GGUF:Q4_K_M", "qwen3-8b"),
        ("hf.co/unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M", "qwen3-30b-a3b"),
        ("https://huggingface.co/bartowski/gemma-2-9b-it-GGUF/resolve/main/gemma-2-9b-it-Q6_K.gguf", "gemma-2-9b"),
        ("llama3.1:8b", "llama-3.1-8b"),
    ],
)
def test_files_repositories_and_tags(text: str, model: str) -> None:
    assert model_named(text) == model


@pytest.mark.parametrize("text", ["", "/", ":", "model.gguf", "-Q4_K_M.gguf", "/models/", "\x1b[31m", "a" * 100_000, "Q4_K_M", "://", "llama", "8b"])
def test_what_means_no_model(text: str) -> None:
    assert model_named(text) is None
