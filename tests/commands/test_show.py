"""The catalogue page: what holds each quantization, what stands around the model, what was measured of it."""

import pytest

from runlocal.commands import show
from runlocal.commands.options import Options
from runlocal.core.listing import Listing, Page, Shown
from runlocal.core.units import MIB
from runlocal.core.verdict import Answer
from solve.asking import ask


def page(name: str, **options: object) -> Page:
    return show.run(name, Options(**{"gpu": ("4090",), **options}))  # type: ignore[arg-type]


def listing(found: Page, kind: str) -> Listing:
    return next(one for one in found.listings if one.kind == kind)


def test_sizes_say_what_each_needs_and_whether_it_fits_here() -> None:
    rows = {row["quant"]: row for row in listing(page("llama-3.1-8b"), "sizes").rows}
    cell = ask("llama-3.1-8b", quant="Q4_K_M", gpu="4090", context_tokens=8192)
    assert (rows["Q4_K_M"]["need_bytes"], rows["Q4_K_M"]["tensor_bytes"]) == (cell["need_bytes"], cell["tensor_bytes"])
    assert rows["Q4_K_M"]["answer"] == Answer.FITS
    assert rows["F16"]["fits_context_tokens"] == ask("llama-3.1-8b", quant="F16", gpu="4090", context_tokens=8192)["fits_context_tokens"]


@pytest.mark.parametrize(("model", "quant"), [("llama-3.1-8b", "Q4_K_M"), ("llama-3.3-70b", "Q8_0"), ("deepseek-r1-671b", "Q4_K_M")])
def test_the_smallest_machine_holds_it(model: str, quant: str) -> None:
    (row,) = (row for row in listing(page(model), "sizes").rows if row["quant"] == quant)
    count, _, card = str(row["smallest_machine"]).rpartition(" x ")
    answer = ask(model, quant=quant, gpu=f"{count or 1}x{card}", context_tokens=8192)["answer"]
    assert answer in ("fits", "tight")


def test_larger_machines_for_more_bits() -> None:
    machines = [row["smallest_machine"] for row in listing(page("llama-3.3-70b"), "sizes").rows]
    assert machines[0] != machines[-1]
    assert None not in machines


def test_the_title_says_a_name_once() -> None:
    assert page("gpt-oss-20b").title == "gpt-oss-20b"
    assert page("qwen3-8b").title == "Qwen3-8B (qwen3-8b)"


def test_a_runtime_of_which_there_is_nothing_to_note_has_no_note() -> None:
    """Unknown is `?` on screen and null in data; that nothing is noted is not unknown."""
    listed = listing(page("gpt-oss-20b"), "runtimes")
    (row,) = (row for row in listed.rows if row["id"] == "vllm")
    assert (row["said"], row["note"]) == ("", None)
    assert [column.key for column in listed.screen][-1] == "said"
    assert [column.key for column in listed.columns if column.on is Shown.DATA] == ["note"]


def test_a_loss_is_shown_only_where_somebody_measured_it() -> None:
    measured = listing(page("llama-3-8b"), "sizes")
    rows = {row["quant"]: row for row in measured.rows}
    assert rows["Q4_K_M"]["kl_divergence"] == 0.031273
    assert rows["IQ4_XS"]["kl_divergence"] == 0.036334
    assert rows["F16"]["kl_divergence"] is None
    assert any("measured by llama.cpp's developers, 2024-05-12" in note for note in measured.notes)
    assert "kl_divergence" not in listing(page("llama-3.1-8b"), "sizes").rows[0]


def test_benchmarks_say_who_when_and_where() -> None:
    rows = listing(page("llama-3.2-90b-vision"), "scores").rows
    assert {"benchmark": "MMMU (val, CoT)", "result": "60.3 %", "measured_by": "Meta", "date": "2024-09-25"}.items() <= rows[0].items()
    assert all(str(row["url"]).startswith("https://") for row in rows)
    assert not [one for one in page("llama-3.1-8b").listings if one.kind == "scores"]


def test_published_files_that_no_recipe_gives() -> None:
    found = listing(page("qwen3-32b"), "files")
    (row,) = (row for row in found.rows if row["quant"] == "UD-Q4_K_XL")
    assert (row["file_bytes"], row["publisher"]) == (20_021_713_568, "unsloth")
    assert str(row["url"]).startswith("https://huggingface.co/unsloth/Qwen3-32B-GGUF")
    sizes = [row["file_bytes"] for row in found.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert not [one for one in page("llama-3.1-8b").listings if one.kind == "files"]


def test_comparisons_carry_a_verdict_on_the_machine_asked_for() -> None:
    for machine in ("4090", "h100-80"):
        for row in listing(page("qwen3-32b", gpu=(machine,)), "comparisons").rows:
            assert row["answer"] == ask(str(row["id"]), quant=row["quant"], gpu=machine, context_tokens=8192)["answer"]


def test_names_lead_to_where_they_are() -> None:
    rows = {row["name"]: row["url"] for row in listing(page("llama-3.2-11b-vision"), "aliases").rows}
    assert rows["meta-llama/Llama-3.2-11B-Vision-Instruct"] == "https://huggingface.co/meta-llama/Llama-3.2-11B-Vision-Instruct"
    assert rows["llama3.2-vision:11b"] == "https://ollama.com/library/llama3.2-vision:11b"


def test_a_model_that_nothing_priced_loads_has_the_size_of_its_checkpoint() -> None:
    """12,001,097,216 values of two bytes."""
    found = listing(page("llama-guard-4-12b"), "sizes")
    assert [(row["quant"], row["tensor_bytes"]) for row in found.rows] == [("BF16", 2 * 12_001_097_216)]


def test_a_checkpoint_of_mixed_types_is_known_by_its_file() -> None:
    shown = page("llama-3.2-1b-spinquant-int4")
    assert "sizes" not in {found.kind for found in shown.listings}
    (row,) = listing(shown, "files").rows
    assert row["file_bytes"] == 1083 * MIB
