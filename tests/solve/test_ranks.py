"""What can be said of vLLM's tensor parallelism although what it takes is not computed: sizes that it refuses are a no, and `show` lists the others."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from runlocal.commands import show
from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.verdict import Answer
from runlocal.render.formats import Format, checks_as
from runlocal.render.style import Style

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parents[2] / "docs/schema/check-1.json").read_text(encoding="utf-8")))


def test_a_size_that_does_not_divide_the_heads_is_a_no() -> None:
    found = run(["llama-3.1-8b"], Options(runtime="vllm", tp=3, gpu=("4x3090", "5090")))
    assert found.exit is Exit.NO
    (one,) = found.checks
    assert (one.answer, len(one.machines), one.advice) == (Answer.CANNOT_RUN, 2, ())
    cell = one.machines[0].headline
    assert (cell.quant, cell.runtime, cell.context_tokens, cell.need_bytes, cell.parts) == ("BF16", "vllm", 8192, None, ())
    assert cell.reason == "vLLM cuts every layer into equal parts: 32 attention heads are not divisible by 3; --tp 1, 2, 4, 8, 16 or 32"


def test_every_format_says_it() -> None:
    (one,) = run(["llama-3.1-8b"], Options(runtime="vllm@0.33.0", tp=3, gpu=("4090",), quant="FP8,AWQ", ctx="max")).checks
    assert [(cell.quant, cell.context_tokens) for cell in one.machines[0].cells] == [("FP8", 131072), ("AWQ", 131072)]
    SCHEMA.validate(json.loads(checks_as(Format.JSON, [one], Style())))
    for form in Format:
        assert "32" in checks_as(form, [one], Style())


@pytest.mark.parametrize("options", [Options(runtime="vllm", tp=2), Options(runtime="vllm"), Options(runtime="sglang", tp=3)])
def test_what_is_not_refused_is_still_not_computed(options: Options) -> None:
    with pytest.raises(Problem) as found:
        run(["llama-3.1-8b"], options._replace(gpu=("4x3090",)))
    assert found.value.code is Code.NOT_COMPUTED


def test_llama_cpp_has_no_ranks() -> None:
    (one,) = run(["llama-3.1-8b"], Options(tp=2, quant="Q4_K_M", ctx="8k", gpu=("2x3090",))).checks
    assert one.answer is Answer.CANNOT_RUN
    assert "--tp" in one.machines[0].headline.reason


def facts(model: str) -> dict[str, object]:
    return {fact.key: fact.value for section in show.run(model, Options(gpu=("4090",))).sections for fact in section.facts}


def test_show_lists_them_where_vllm_loads_the_model_and_the_rules_are_known() -> None:
    assert facts("llama-3.1-8b")["vllm_tensor_parallel"] == "1, 2, 4, 8, 16, 32"
    assert "vllm_tensor_parallel" not in facts("mamba-2.8b")
    # vLLM 0.10.2 was the last that loaded it.
    assert "vllm_tensor_parallel" not in facts("llama-3.2-11b-vision")
