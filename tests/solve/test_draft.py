"""A draft model beside the model: its parts, what llama.cpp asks of it, and that every search counts it."""

import json
from typing import Any

import pytest

from runlocal.commands.batch import Batch
from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.errors import Code
from runlocal.core.report import Cell
from runlocal.core.verdict import Answer

from .asking import GIB, ask, summed

TARGET = {"quant": "Q4_K_M", "context_tokens": 8192}


def cell(model: str, **options: Any) -> Cell:
    (one,) = run([model], Options(**{"quant": "Q4_K_M", "ctx": "8k", **options})).checks
    return one.machines[0].headline


def of_draft(found: dict[str, Any], kind: str, device: str = "gpu0") -> int:
    return sum(part["bytes"] for part in found["parts"] if part["kind"] == kind and part["device"] == device and part["label"].startswith("draft: "))


def test_the_parts_of_a_draft() -> None:
    plain, drafted = ask("llama-3.1-8b", **TARGET), ask("llama-3.1-8b", **TARGET, draft="llama-3.2-1b", draft_quant="Q8_0")
    alone = ask("llama-3.2-1b", quant="Q8_0", context_tokens=8192)
    assert (plain["draft"], drafted["draft"]) == (None, "llama-3.2-1b@Q8_0")
    # 16 layers, 8,192 cells, 8 heads of 64 for K and for V, 2 B each.
    assert of_draft(drafted, "cache") == 16 * 8192 * (512 + 512) * 2
    assert of_draft(drafted, "weights") == summed(alone, "weights")
    assert of_draft(drafted, "weights", "host") == 128256 * 2048 // 32 * 34  # the embedding
    assert of_draft(drafted, "compute_buffer") == summed(alone, "compute_buffer")
    assert of_draft(drafted, "runtime") == 0  # one process has one CUDA context
    assert summed(drafted, "weights", "cache", "runtime") == summed(plain, "weights", "cache", "runtime") + summed(alone, "weights", "cache")


def test_a_drafting_step_reserves_the_rows_that_are_checked() -> None:
    """Three guesses and the token before them: four rows of logits for each sequence."""
    drafted = ask("llama-3.1-8b", **TARGET, sequences=2, draft="llama-3.2-1b")
    rows = {part["label"]: part["bytes"] for part in drafted["parts"] if part["label"].endswith("logits")}
    assert rows == {"logits": 4 * 128256 * 2 * 4, "draft: logits": 4 * 128256 * 2}


def test_the_context_of_the_draft_is_that_of_the_model_as_it_was_padded() -> None:
    drafted = ask("llama-3.1-8b", quant="Q4_K_M", context_tokens=1000, sequences=3, draft="llama-3.2-1b")
    # 3,000 tokens are padded to 3,072, which gives each of three sequences 1,024 cells.
    assert of_draft(drafted, "cache") == 16 * 3 * 1024 * (512 + 512) * 2


def test_settings_that_have_a_twin_for_drafts_do_not_reach_it() -> None:
    drafted = ask("llama-3.1-8b", **TARGET, cache_type_k="q8_0", cache_type_v="q8_0", gpu_layers=10, draft="llama-3.2-1b")
    assert of_draft(drafted, "cache") == 16 * 8192 * (512 + 512) * 2
    assert of_draft(drafted, "cache", "host") == 0
    assert of_draft(ask("llama-3.1-8b", **TARGET, kv_offload=False, draft="llama-3.2-1b"), "cache", "host") == 16 * 8192 * (512 + 512) * 2


def test_a_draft_is_split_by_the_same_list_as_the_model() -> None:
    """`-ts 27,6` goes for both: of the draft's 17 layers, the output counted as one, layer i lies on the first card where i / 17 < 27 / 33."""
    drafted = ask("llama-3.1-8b", **TARGET, gpu="a6000+3060", draft="llama-3.2-1b")
    assert drafted["command"].split("-ts ")[1].split()[0] == "27,6"
    cells = 8192 * (512 + 512) * 2
    assert [of_draft(drafted, "cache", f"gpu{index}") // cells for index in (0, 1)] == [14, 2]


def test_the_command() -> None:
    found = cell("llama-3.1-8b", gpu=("4090",), draft="llama-3.2-1b@Q8_0")
    assert found.command is not None
    assert found.command.endswith("-ngl all -md llama-3.2-1b-Q8_0.gguf --spec-type draft-simple -ngld all")
    on_host = ask("llama-3.1-8b", **TARGET, gpus=0, draft="llama-3.2-1b")
    assert on_host["command"].endswith("-ngl 0 -md llama-3.2-1b-Q4_K_M.gguf --spec-type draft-simple")


def test_vocabularies_have_to_agree() -> None:
    found = cell("llama-3.1-8b", gpu=("4090",), draft="qwen3-0.6b")
    assert found.answer is Answer.CANNOT_RUN
    assert "128,256" in found.reason
    assert "151,936" in found.reason
    assert any("was not looked at" in warning for warning in cell("llama-3.1-8b", gpu=("4090",), draft="llama-3.2-1b").warnings)
    assert not cell("qwen3-8b", gpu=("4090",), draft="qwen3-0.6b").warnings


def test_what_does_not_load_does_not_draft() -> None:
    found = cell("llama-3.1-8b", gpu=("2x3090",), draft="llama-3.2-11b-vision")
    assert found.answer is Answer.CANNOT_RUN
    assert found.reason.startswith("draft: llama.cpp")


def test_nothing_is_drafted_for_embeddings() -> None:
    assert cell("qwen3-embedding-8b", gpu=("4090",), draft="qwen3-0.6b").answer is Answer.CANNOT_RUN
    assert cell("qwen3-8b", gpu=("4090",), draft="qwen3-embedding-0.6b").answer is Answer.CANNOT_RUN


@pytest.mark.parametrize(("model", "runtime"), [("llama-3.1-8b", "ollama"), ("llama-3.1-8b", "ollama@0.30.0"), ("llama-3.2-11b-vision", "ollama@0.24.0")])
def test_ollama_starts_no_draft_model(model: str, runtime: str) -> None:
    found = cell(model, runtime=runtime, draft="llama-3.2-1b", gpu=("4090",))
    assert (found.answer, found.draft) == (Answer.CANNOT_RUN, "llama-3.2-1b@Q4_K_M")
    assert "next-token layers or DFlash" in found.reason


def test_the_longest_context_and_the_layers_make_room_for_it() -> None:
    plain, drafted = (cell("llama-3.1-8b", gpu=("3060",), ctx="8k", quant="Q6_K", draft=draft) for draft in (None, "llama-3.2-1b"))
    assert 0 < (drafted.fits_context_tokens or 0) < (plain.fits_context_tokens or 0)
    plain, drafted = (cell("llama-3.3-70b", gpu=("4090",), ram="128GB", draft=draft) for draft in (None, "llama-3.2-3b"))
    assert (plain.answer, drafted.answer) == (Answer.SPILLS, Answer.SPILLS)
    assert 0 < (drafted.gpu_layers or 0) < (plain.gpu_layers or 0)


def test_without_the_draft_is_a_change_that_helps() -> None:
    (one,) = run(["qwen3-32b"], Options(quant="Q4_K_M", ctx="8k", gpu=("4090",), draft="qwen3-8b")).checks
    assert one.answer is Answer.DOES_NOT_FIT
    (advice,) = [advice for advice in one.advice if "draft" in advice.change]
    assert "--draft" not in advice.command
    assert advice.saves_bytes > 5 * GIB


def test_a_batch_takes_the_draft_from_the_line_or_from_beside_it() -> None:
    lines = [{"model": "qwen3-8b", "quant": "Q4_K_M"}, {"model": "qwen3-8b", "quant": "Q4_K_M", "draft": "qwen3-1.7b@Q8_0"}]
    found = [json.loads(line) for line in Batch(Options(draft="qwen3-0.6b")).answers(json.dumps(line) for line in lines)]
    assert [one["draft"] for one in found] == ["qwen3-0.6b@Q4_K_M", "qwen3-1.7b@Q8_0"]
    plain = json.loads(next(iter(Batch(Options()).answers([json.dumps(lines[0])]))))
    assert plain["draft"] is None
    failed = json.loads(next(iter(Batch(Options()).answers([json.dumps(lines[0] | {"draft_quant": "Q8_0"})]))))
    assert failed["error"]["code"] == Code.BAD_VALUE


def test_a_draft_s_quantization_is_named_once() -> None:
    line = {"model": "qwen3-8b", "quant": "Q4_K_M", "draft": "qwen3-0.6b@Q4_K_M"}

    def answered(**more: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(next(iter(Batch(Options()).answers([json.dumps(line | more)]))))
        return found

    assert answered()["draft"] == answered(draft_quant="q4-k-m")["draft"] == answered(draft="qwen3-0.6b", draft_quant="Q4_K_M")["draft"] == "qwen3-0.6b@Q4_K_M"
    failed = answered(draft_quant="Q8_0")["error"]
    assert (failed["code"], failed["message"]) == (Code.BAD_VALUE, "the draft model is asked for at 'Q4_K_M' and at 'Q8_0'")
    assert answered(draft="qwen3-0.6b@8k")["error"]["code"] == Code.BAD_VALUE


def test_a_line_s_own_quantization_of_the_draft_beside_it_counts() -> None:
    batch = Batch(Options(draft="qwen3-0.6b@Q4_K_M"))
    found = json.loads(next(iter(batch.answers([json.dumps({"model": "qwen3-8b", "quant": "Q4_K_M", "draft_quant": "Q8_0"})]))))
    assert found["draft"] == "qwen3-0.6b@Q8_0"
