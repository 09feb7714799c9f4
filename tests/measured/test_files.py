"""Published files: what one holds beyond its tensors is header and tokenizer, and that is the same in every file of a repository."""

import pytest

from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled
from runlocal.runtimes import open_runtime

from .rows import Row, read

ROWS = read("files.ndjson")
REPOSITORIES = list(dict.fromkeys(row["repository"] for row in ROWS))
LARGEST_TOKENIZER_BYTES = 16 << 20
KEYS_OF_THE_QUANTIZER_BYTES = 512  # which matrix a file was made with; a file that was only converted has none


def beyond(row: Row) -> int:
    runtime = open_runtime("llama.cpp", "0c1e57098", bundled(row["model"]), facts("llama.cpp", None))
    return int(row["file_bytes"]) - runtime.tensor_bytes(runtime.recipe(row["quant"], None))


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_files_are_their_tensors_and_one_header(repository: str) -> None:
    found = [beyond(row) for row in ROWS if row["repository"] == repository]
    assert min(found) > 0
    assert max(found) < LARGEST_TOKENIZER_BYTES
    assert max(found) - min(found) <= KEYS_OF_THE_QUANTIZER_BYTES


def test_the_variants_of_bartowski_are_among_them() -> None:
    assert {row["quant"] for row in ROWS} >= {"Q2_K_L", "Q3_K_XL", "Q4_K_L", "Q5_K_L", "Q6_K_L"}


def test_header_and_tokenizer_of_published_mixtures_are_those_of_their_repository() -> None:
    """What the data subtracts from a mixture's size is what a file of the same repository has beyond its known tensors."""
    known = {row["repository"]: beyond(row) for row in ROWS if row["quant"] == "Q8_0"}
    checked = 0
    for model_id in {row["model"] for row in ROWS}:
        for file in bundled(model_id).files:
            if file.repo in known:
                assert file.metadata_bytes == known[file.repo], (model_id, file.quant)
                checked += 1
    assert checked > 90


def test_two_files_of_moondream_have_one_header() -> None:
    """F16 as its authors made it, and Ollama's Q4_0 (sha256 of the projector beside both: 4cc1cb36...)."""
    runtime = open_runtime("llama.cpp", "0c1e57098", bundled("moondream2"), facts("llama.cpp", None))
    whole = 2_839_535_072 - runtime.tensor_bytes(runtime.recipe("F16", None))
    quantized = 828_661_152 - runtime.tensor_bytes(runtime.recipe("Q4_0", False))
    assert 0 < whole < LARGEST_TOKENIZER_BYTES
    assert abs(whole - quantized) <= KEYS_OF_THE_QUANTIZER_BYTES
