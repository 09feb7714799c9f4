"""Bytes of a file's tensors, against llama.cpp's own quantizer: equal to the byte."""

import pytest

from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled
from runlocal.runtimes import Runtime, open_runtime

from .rows import Row, read

ROWS = read("sizes.ndjson")
OPENED: dict[str, Runtime] = {}


def opened(model_id: str) -> Runtime:
    if model_id not in OPENED:
        OPENED[model_id] = open_runtime("llama.cpp", "0c1e57098", bundled(model_id), facts("llama.cpp", None))
    return OPENED[model_id]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['model']}-{row['quant']}{'-imatrix' if row['imatrix'] else ''}" for row in ROWS])
def test_tensor_bytes_are_equal(row: Row) -> None:
    runtime = opened(row["model"])
    assert runtime.tensor_bytes(runtime.recipe(row["quant"], row["imatrix"])) == row["tensor_bytes"]


def test_every_quantization_and_every_rule_is_among_them() -> None:
    """All that the quantizer makes, on shapes that meet each of its special rules."""
    assert len({row["quant"] for row in ROWS}) == 36
    models = {row["model"] for row in ROWS}
    assert models >= {"gpt-oss-20b", "qwen2.5-0.5b"}, "rows of 2880 and 896 values are no whole blocks of 256"
    assert models >= {"falcon-7b"}, "rules by the name of the architecture"
    assert models >= {"llama-3.2-1b", "gemma-3-4b"}, "tied embeddings"
    assert models >= {"qwen2.5-72b"}, "80 layers"
    assert models >= {"mixtral-8x7b"}, "eight experts"
    assert models >= {"phi-4-14b"}, "fused matrices"
    assert models >= {"deepseek-v2-lite-16b"}, "latent attention"
    assert models >= {"glm-4.5-air-106b"}, "a multi-token-prediction layer that counts among the layers"


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0", "IQ4_XS", "IQ4_NL", "IQ3_XXS"])
def test_an_importance_matrix_changes_these_alone(name: str) -> None:
    runtime = opened("llama-3.1-8b")
    assert runtime.tensor_bytes(runtime.recipe(name, True)) != runtime.tensor_bytes(runtime.recipe(name, False))


@pytest.mark.parametrize("name", ["Q4_K_M", "Q8_0", "Q6_K", "F16", "Q4_1", "IQ2_M"])
def test_an_importance_matrix_does_not_change_these(name: str) -> None:
    runtime = opened("llama-3.1-8b")
    assert runtime.tensor_bytes(runtime.recipe(name, True)) == runtime.tensor_bytes(runtime.recipe(name, False))
