"""Weights, caches and compute buffers per device, against llama.cpp's own allocator: equal to the byte."""

import pytest

from .held import KINDS as NAMED_KINDS
from .held import memory_question
from .rows import Row, ask, label, read, summed

ROWS = read("memory.ndjson")
IDS = [f"{row['group']}-{label(row)}" for row in ROWS]
ON_GPUS = [row for row in ROWS if row["gpus"]]
KINDS = tuple(NAMED_KINDS.values())
HOST_ALIGNMENT, MOST_TENSORS = 32, 1000


def answer(row: Row) -> Row:
    return ask(memory_question(row))


@pytest.mark.parametrize("row", ON_GPUS, ids=[name for name, row in zip(IDS, ROWS, strict=True) if row["gpus"]])
def test_every_buffer_is_equal(row: Row) -> None:
    got = answer(row)
    assert [[summed(got, kinds, f"gpu{index}") for kinds in KINDS] for index in range(row["gpus"])] == row["devices"]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_what_stays_on_the_host_is_equal(row: Row) -> None:
    """But for the alignment of each tensor of the weights to 32 bytes; the rows of logits are a buffer of their own."""
    got = answer(row)
    weights, cache, compute = row["host"]
    if weights is not None:
        assert 0 <= weights - summed(got, {"weights"}, "host") < HOST_ALIGNMENT * MOST_TENSORS
    assert summed(got, {"cache", "state"}, "host") == cache
    assert (
        sum(
            part["bytes"]
            for part in got["parts"]
            if part["device"] == "host" and part["kind"] == "compute_buffer" and not part["label"].endswith(("logits", "hidden states"))
        )
        == compute
    )


def test_all_kinds_of_settings_are_among_them() -> None:
    assert {row["group"] for row in ROWS} == {
        "grid",
        "ubatch_sweep",
        "compute_cap",
        "multi_gpu",
        "cpu_moe",
        "partial_ngl",
        "partial_multi_gpu",
        "swa_full",
        "draft",
        "mtp",
        "n_cpu_moe",
        "tensor_split",
    }
    assert {row["gpus"] for row in ROWS} == {0, 1, 2, 3, 4}
    assert {(row["sequences"] > 1, row.get("unified_kv", False)) for row in ROWS} == {(False, False), (True, False), (True, True)}
    assert {row["cache_type_k"] for row in ROWS} >= {"f16", "q8_0", "q4_0"}
    assert {row["flash_attention"] for row in ROWS} == {None, False, True}
    assert {row["output_tokens"] == row["batch_tokens"] for row in ROWS} == {False, True}
    assert len({row["model"] for row in ROWS}) >= 45


def test_a_row_names_no_part_of_the_answer_twice() -> None:
    assert len(set(IDS)) == len(IDS)
