"""Storage types: a block's bytes are the struct's fields added up (ggml/src/ggml-common.h)."""

import pytest

from runlocal.catalog.facts import storage_types
from runlocal.core.tensor import Tensor

HALF, BYTE = 2, 1
# name: (values per block, bytes: the struct's fields)
STRUCTS = {
    "F32": (1, 4),
    "F16": (1, HALF),
    "BF16": (1, HALF),
    "Q4_0": (32, HALF + 32 // 2),
    "Q4_1": (32, 2 * HALF + 32 // 2),
    "Q5_0": (32, HALF + 4 + 32 // 2),
    "Q5_1": (32, 2 * HALF + 4 + 32 // 2),
    "Q8_0": (32, HALF + 32),
    "MXFP4": (32, BYTE + 32 // 2),
    "IQ4_NL": (32, HALF + 32 // 2),
    "Q2_K": (256, 256 // 16 + 256 // 4 + 2 * HALF),
    "Q3_K": (256, 256 // 8 + 256 // 4 + 12 + HALF),
    "Q4_K": (256, 2 * HALF + 12 + 256 // 2),
    "Q5_K": (256, 2 * HALF + 12 + 256 // 8 + 256 // 2),
    "Q6_K": (256, 256 // 2 + 256 // 4 + 256 // 16 + HALF),
    "IQ1_S": (256, HALF + 256 // 8 + 2 * 256 // 32),
    "IQ1_M": (256, 256 // 8 + 256 // 16 + 256 // 32),
    "IQ2_XXS": (256, HALF + 2 * 256 // 8),
    "IQ2_XS": (256, HALF + 2 * 256 // 8 + 256 // 32),
    "IQ2_S": (256, HALF + 256 // 4 + 2 * 256 // 32),
    "IQ3_XXS": (256, HALF + 3 * 256 // 8),
    "IQ3_S": (256, HALF + 256 // 4 + 256 // 32 + 256 // 8 + 256 // 64),
    "IQ4_XS": (256, HALF + 2 + 256 // 64 + 256 // 2),
    "TQ1_0": (256, HALF + (256 - 4 * 256 // 64) // 5 + 256 // 64),
    "TQ2_0": (256, HALF + 256 // 4),
}


@pytest.mark.parametrize("name", STRUCTS)
def test_block_bytes(name: str) -> None:
    kind = storage_types()[name]
    assert (kind.block_elements, kind.block_bytes) == STRUCTS[name]


BITS = {"Q4_0": 4.5, "Q5_0": 5.5, "Q8_0": 8.5, "MXFP4": 4.25, "Q2_K": 2.625, "Q3_K": 3.4375, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625, "IQ4_XS": 4.25}


@pytest.mark.parametrize(("name", "bits"), BITS.items())
def test_bits_per_value(name: str, bits: float) -> None:
    kind = storage_types()[name]
    assert 8 * kind.block_bytes / kind.block_elements == bits


def test_a_row_of_a_llama_layer() -> None:
    """4096 values: 16 blocks of 144 bytes as Q4_K, 128 of 34 as Q8_0."""
    types = storage_types()
    assert types["Q4_K"].row_bytes(4096) == 16 * 144
    assert types["Q8_0"].row_bytes(4096) == 128 * 34
    assert types["F16"].row_bytes(4096) == 8192


def test_a_group_counts_its_layers() -> None:
    experts = Tensor(role="ffn_up_exps", columns=2048, rows=768, copies=128, layers=(0, 1, 2))
    assert experts.elements == 2048 * 768 * 128
    assert experts.count == 3
    assert Tensor(role="token_embd", columns=2048, rows=10).count == 1
