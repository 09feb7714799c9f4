"""Names as people type them: each of these means one model, or none is guessed."""

import tomllib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.catalog import bundle
from runlocal.catalog.models import alias_variant, bundled, find_model, index
from runlocal.catalog.names import name_tables, normal, resolve
from runlocal.core.errors import Code, Problem

FILES = {path.stem: path for path in sorted((Path(__file__).resolve().parents[2] / "data" / "models").rglob("*.toml"))}

MEANT = {
    "llama-3.1-8b": [
        "llama-3.1-8b",
        "  llama-3.1-8b  ",
        "Meta-Llama-3.1-8B-Instruct",
        "meta-llama/Meta-Llama-3.1-8B-Instruct",
        "meta-llama/Llama-3.1-8B-Instruct",
        "llama3.1:8b",
        "LLAMA_3.1 8b",
        "Llama 3.1 8B Instruct",
        "llama-3.1-8b-it",
        "llama 3.1 8 b",
        "llama-3-1-8b",
        "unsloth/Meta-Llama-3.1-8B-Instruct-GGUF",
        "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
        "somebody-else/Meta-Llama-3.1-8B-Instruct-GGUF",
    ],
    "qwen3-30b-a3b": [
        "qwen3 30b a3b",
        "Qwen3-30B-A3B",
        "qwen3:30b-a3b",
        "Qwen/Qwen3-30B-A3B",
        "unsloth/Qwen3-30B-A3B-GGUF",
        "hf.co/unsloth/Qwen3-30B-A3B-GGUF",
    ],
    "qwen3-30b-a3b-2507": ["Qwen/Qwen3-30B-A3B-Instruct-2507"],
    "qwen3-8b": ["qwen3:8b", "Qwen3 8B", "Qwen/Qwen3-8B", "https://huggingface.co/Qwen/Qwen3-8B"],
    "gemma-3-27b": ["gemma3:27b", "google/gemma-3-27b-it", "Gemma 3 27B"],
    "gpt-oss-20b": ["gpt-oss:20b", "openai/gpt-oss-20b", "GPT OSS 20B", "gpt_oss-20b"],
    "mistral-7b-v0.3": ["mistralai/Mistral-7B-Instruct-v0.3", "mistral:7b"],
    "mistral-7b-v0.2": ["Mistral-7B-Instruct-v0.2"],
    "mixtral-8x7b": ["mixtral", "mixtral:8x7b", "Mixtral-8x7B-Instruct-v0.1"],
    "deepseek-r1-distill-llama-70b": ["deepseek-r1:70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"],
    "deepseek-r1-671b": ["deepseek-r1:671b", "deepseek-ai/DeepSeek-R1"],
    "phi-4-14b": ["phi-4", "microsoft/phi-4", "phi4:14b"],
    "llama-3.2-90b-vision": ["llama3.2-vision:90b", "meta-llama/Llama-3.2-90B-Vision-Instruct", "Llama 3.2 90B Vision"],
    "llama-3.2-11b-vision": ["meta-llama/Llama-3.2-11B-Vision-Instruct", "Llama 3.2 11B Vision"],
    "llama-3.2-11b-vision-base": ["meta-llama/Llama-3.2-11B-Vision"],
    "qwen2.5-vl-7b": ["qwen2.5vl", "qwen2.5vl:7b", "Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5 vl 7b"],
    "llama-4-scout-17b-16e": ["llama4:scout", "Llama-4-Scout-17B-16E-Instruct"],
    "mistral-small-3-24b": ["mistral-small", "mistral-small:24b"],
    "nomic-embed-text-v1.5": ["nomic-embed-text", "nomic-embed-text:v1.5"],
    "glm-4.5-air-106b": ["zai-org/GLM-4.5-Air", "GLM 4.5 Air"],
}


@pytest.mark.parametrize(("name", "model_id"), [(name, model_id) for model_id, names in MEANT.items() for name in names])
def test_it_means_this_model(name: str, model_id: str) -> None:
    assert find_model(name).id == model_id


@pytest.mark.parametrize(
    ("name", "among"),
    [
        ("qwen3", {"qwen3-8b", "qwen3-4b", "qwen3-0.6b", "qwen3-14b", "qwen3-32b", "qwen3-1.7b"}),
        ("llama", {"llama-2-7b", "llama-3-8b", "llama-3.1-8b", "llama-2-13b", "llama-2-70b"}),
        ("gemma-3", {"gemma-3-4b", "gemma-3-12b", "gemma-3-27b", "gemma-3-1b"}),
        ("qwen3:30b", {"qwen3-30b-a3b", "qwen3-30b-a3b-2507"}),
        ("lama-3.1-8b", {"llama-3.1-8b"}),
        ("llama31-8b", {"llama-3.1-8b"}),
        ("gptoss20b", {"gpt-oss-20b"}),
        ("llama-3.1-9b", {"llama-3.1-8b"}),
        ("70b", set()),
        ("8b instruct", set()),
        ("", set()),
        ("/", set()),
        ("....", set()),
        ("../../etc/passwd", set()),
        ("λλάμα", set()),
        ("\x1b[31mx", set()),
    ],
)
def test_it_is_not_guessed(name: str, among: set[str]) -> None:
    with pytest.raises(Problem) as caught:
        find_model(name)
    problem = caught.value
    assert problem.code is Code.UNKNOWN_MODEL
    assert problem.message.isprintable() and len(problem.message) < 200
    assert set(problem.candidates) <= set(index()), "every candidate can be asked for"
    assert not among or among & set(problem.candidates)
    assert len(problem.candidates) <= 5


@pytest.mark.parametrize("name", ["whisper-large-v3", "stable-diffusion-xl", "clip-vit-large-patch14", "gpt-5"])
def test_a_size_or_a_common_word_is_no_likeness(name: str) -> None:
    with pytest.raises(Problem) as caught:
        find_model(name)
    assert {candidate.split("-", 1)[0] for candidate in caught.value.candidates} <= {"gpt"}


def test_every_id_and_every_alias_means_its_own_model() -> None:
    for model_id in index():
        model = bundled(model_id)
        for name in (model_id, model_id.upper(), *(alias.name for alias in model.aliases)):
            assert find_model(name).id == model_id, name


def test_an_id_typed_with_other_separators_means_the_same_or_nothing() -> None:
    """Ids that are alike without their separators are told apart or both are listed, never mixed up."""
    alike = Counter(normal(model_id) for model_id in index())
    for model_id in index():
        for typed in (model_id.replace("-", " "), model_id.replace("-", "_").replace(".", "-").upper()):
            if alike[normal(model_id)] == 1:
                assert find_model(typed).id == model_id, typed
            else:
                with pytest.raises(Problem):
                    find_model(typed)


def test_a_base_alias_is_known_to_be_one() -> None:
    assert alias_variant(bundled("qwen3-8b"), "Qwen/Qwen3-8B-Base") == "base"
    assert alias_variant(bundled("qwen3-8b"), "qwen3:8b") != "base"


@given(st.text(max_size=300))
def test_any_text_is_one_model_or_a_problem(name: str) -> None:
    try:
        assert find_model(name).id in index()
    except Problem as problem:
        assert problem.message.isprintable() and len(problem.message) < 200


def test_what_is_exact_wins_and_what_is_shared_is_listed() -> None:
    names = [
        ("tiny-1b", ["acme/Tiny-1B", "acme/Tiny_1B"]),
        ("tiny-1b-2507", ["acme/Tiny-1B-2507", "other/Tiny-1B-chat"]),
        ("small", ["a/Shared"]),
        ("large", ["b/shared"]),
    ]
    exact, loose = name_tables(names)
    assert resolve("other/tiny-1b-chat", exact, lambda: loose) == "tiny-1b-2507"
    assert resolve("tiny 1b", exact, lambda: loose) == "tiny-1b"
    with pytest.raises(Problem) as caught:
        resolve("shared", exact, lambda: loose)
    assert set(caught.value.candidates) == {"small", "large"}


def test_the_tables_are_those_of_the_files() -> None:
    aliases = {model_id: [alias["name"] for alias in tomllib.loads(path.read_text(encoding="utf-8")).get("aliases", ())] for model_id, path in FILES.items()}
    assert (bundle.read("names"), bundle.read("loose_names")) == name_tables(sorted(aliases.items()))
