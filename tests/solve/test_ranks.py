"""A runtime that is known and not priced: what it refuses is a no, what would have to be computed is an error, and every command gives the same one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runlocal.catalog.models import find_model
from runlocal.commands import buy, fit, fleet, show
from runlocal.commands.batch import Batch
from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.verdict import Answer
from runlocal.engines.ggml.files import OwnTensors
from runlocal.render.formats import Format, checks_as, page_as
from runlocal.render.style import Style
from runlocal.solve.check import open_for
from runlocal.solve.ranks import Ranks, ranks_in_vllm

DOCS = Path(__file__).parents[2] / "docs/schema"
CHECK, CELL = (Draft202012Validator(json.loads((DOCS / name).read_text(encoding="utf-8"))) for name in ("check-1.json", "cell-1.json"))
ALIKE = "vLLM cuts every layer into equal parts: "
REFUSED = f"{ALIKE}32 attention heads are not divisible by 3; --tp 1, 2, 4, 8, 16 or 32"
NOT_LOADED = "vLLM 0.33.0 does not load mllama (0.6.2 to 0.10.2 did)"
NOT_COMPUTED = "what vllm takes is not computed in this version"

Answered = tuple[object, str, Exit]
"""The verdict or the code of the error, the reason or the message, and how the program ends."""


def checked(model: str, options: Options) -> Answered:
    try:
        found = run([model], options)
    except Problem as problem:
        return problem.code, problem.message, problem.exit
    (one,) = found.checks
    (cell,) = {cell._replace(context_tokens=0) for cell in one.machines[0].cells}
    return cell.answer, cell.reason, found.exit


def beside_another(model: str, options: Options) -> Answered:
    return checked(model, options._replace(beside=("qwen3-8b",)))


def batched(model: str, options: Options) -> Answered:
    """The options as keys of a line, but the machine."""
    request = {"model": model, "runtime": options.runtime, "tensor_parallel": options.tp, "pipeline_parallel": options.pp, "cpu_moe": options.cpu_moe}
    batch = Batch(Options(gpu=options.gpu))
    (line,) = batch.answers([json.dumps({**request, **({"quant": options.quant} if options.quant else {})})])
    answer = json.loads(line)
    if "error" in answer:
        return answer["error"]["code"], answer["error"]["message"], batch.exit
    CELL.validate(answer)
    return answer["answer"], answer["reason"], batch.exit


def on_a_fleet(model: str, options: Options, folder: Path) -> Answered:
    inventory = folder / "nodes.csv"
    rows = [f"{index}, NVIDIA GeForce RTX 3090, 24576 MiB" for index in range(4)]
    inventory.write_text("\n".join(["index, name, memory.total [MiB]", *rows]), encoding="utf-8")
    try:
        found = fleet.run([model], options._replace(gpu=()), str(inventory))
    except Problem as problem:
        return problem.code, problem.message, problem.exit
    (row,) = found.nodes.rows
    return row["answer"], str(row["reason"]), found.exit


def test_the_fleet_has_the_machine_of_the_others(tmp_path: Path) -> None:
    assert on_a_fleet("llama-3.1-8b", Options(quant="Q4_K_M"), tmp_path) == (Answer.FITS, "", Exit.YES)


@pytest.mark.parametrize(
    ("model", "asked", "answer", "said", "ends"),
    [
        ("llama-3.1-8b", {"tp": 3}, Answer.CANNOT_RUN, REFUSED, Exit.NO),
        ("llama-3.1-8b", {"tp": 3, "quant": "awq"}, Answer.CANNOT_RUN, REFUSED, Exit.NO),
        ("llama-3.1-8b", {"tp": 8}, Answer.CANNOT_RUN, "vLLM runs 8 ranks (--tp 8) on as many GPUs, and here are 4", Exit.NO),
        ("llama-3.1-8b", {"tp": 2, "pp": 4}, Answer.CANNOT_RUN, "vLLM runs 8 ranks (--tp 2 × --pp 4) on as many GPUs, and here are 4", Exit.NO),
        ("llama-3.1-8b", {"cpu_moe": True}, Answer.CANNOT_RUN, "vLLM has no --cpu-moe: leave what is llama.cpp's out", Exit.NO),
        # Whether it loads the model comes before any word about ranks.
        ("llama-3.2-11b-vision", {}, Answer.CANNOT_RUN, NOT_LOADED, Exit.NO),
        ("llama-3.2-11b-vision", {"tp": 3}, Answer.CANNOT_RUN, NOT_LOADED, Exit.NO),
        ("llama-3.2-11b-vision", {"tp": 3, "runtime": "vllm@0.10.2"}, Answer.CANNOT_RUN, REFUSED, Exit.NO),
        ("llama-guard-4-12b", {"runtime": "vllm@0.8.5"}, Answer.CANNOT_RUN, "vLLM 0.8.5 does not load llama4-dense (0.9.0 and newer do)", Exit.NO),
        ("llama-3.2-11b-vision", {"runtime": "exllamav2"}, Answer.CANNOT_RUN, "ExLlamaV2 0.3.2 does not load mllama (no version did)", Exit.NO),
        ("llama-3.1-8b", {}, Code.NOT_COMPUTED, f"{NOT_COMPUTED}; the weights alone are 15.0 GiB", Exit.CANNOT_ANSWER),
        ("llama-3.1-8b", {"tp": 2}, Code.NOT_COMPUTED, f"{NOT_COMPUTED}; of the weights alone, each of 2 ranks holds 7.5 GiB", Exit.CANNOT_ANSWER),
        ("llama-3.1-8b", {"tp": 2, "quant": "AWQ"}, Code.NOT_COMPUTED, NOT_COMPUTED, Exit.CANNOT_ANSWER),
        ("spark-x2.5-4b", {"tp": 3}, Code.NOT_COMPUTED, "whether vLLM loads spark-x2.5-4b (spark2_5) is not known", Exit.CANNOT_ANSWER),
        ("llama-3.1-8b", {"tp": 3, "runtime": "sglang"}, Code.NOT_COMPUTED, NOT_COMPUTED.replace("vllm", "sglang"), Exit.CANNOT_ANSWER),
        ("llama-3.1-8b", {"tp": 3, "quant": "nonsense"}, Code.UNKNOWN_QUANT, "'nonsense' is no quantization that vllm takes", Exit.CANNOT_ANSWER),
        ("llama-3.2-11b-vision", {"quant": "Q4_K_M"}, Code.UNKNOWN_QUANT, "'Q4_K_M' is no quantization that vllm takes", Exit.CANNOT_ANSWER),
        (
            "llama-3.1-8b",
            {"quant": "4bit", "runtime": "mlx"},
            Code.NOT_COMPUTED,
            "which quantizations mlx 0.32.2 takes is not known here",
            Exit.CANNOT_ANSWER,
        ),
    ],
)
def test_one_question_has_one_answer(model: str, asked: dict[str, Any], answer: object, said: str, ends: Exit, tmp_path: Path) -> None:
    options = Options(**{"runtime": "vllm", "gpu": ("4x3090",), **asked})
    expected = (answer, said, ends)
    assert checked(model, options) == expected
    assert batched(model, options) == expected
    if not options.cpu_moe:  # a fleet asks about GPUs alone, and refuses the option itself
        assert on_a_fleet(model, options, tmp_path) == expected
    if options.runtime != "mlx" and "exllama" not in str(options.runtime):  # what runs beside it is asked for in the same runtime
        assert beside_another(model, options) == expected


def test_a_model_beside_it_that_is_not_loaded_is_no_reason_to_compute() -> None:
    """The model itself is not refused, so it would have to be computed."""
    assert checked("llama-3.1-8b", Options(runtime="vllm", gpu=("4x3090",), beside=("llama-3.2-11b-vision",)))[0] is Code.NOT_COMPUTED


def test_every_cell_that_is_asked_for_is_answered() -> None:
    options = Options(runtime="vllm", tp=3, gpu=("4x3090", "5090"), quant="FP8,AWQ", ctx="4k,max", kv="f16,bf16")
    found = run(["llama-3.1-8b"], options)
    assert found.exit is Exit.NO
    (one,) = found.checks
    assert (one.answer, len(one.machines), one.advice) == (Answer.CANNOT_RUN, 2, ())
    cells = one.machines[0].cells
    assert [(cell.quant, cell.context_tokens, cell.cache_type_k) for cell in cells] == [
        (quant, tokens, kind) for quant in ("FP8", "AWQ") for tokens in (4096, 131072) for kind in ("f16", "bf16")
    ]
    assert {(cell.reason, cell.need_bytes, cell.parts, cell.tensor_bytes, cell.command) for cell in cells} == {(REFUSED, None, (), None, None)}


def test_one_cell_that_would_have_to_be_computed_leaves_the_question_open() -> None:
    assert checked("llama-3.1-8b", Options(runtime="vllm", gpu=("4090",), kv="q8_0,f16", ctx="8k"))[0] is Code.NOT_COMPUTED
    assert checked("llama-3.1-8b", Options(runtime="vllm", gpu=("4090",), kv="q8_0", ctx="8k"))[0] is Answer.CANNOT_RUN
    with pytest.raises(Problem) as found:
        run(["llama-3.1-8b"], Options(runtime="vllm", gpu=("4090", "2x4090"), tp=2))
    assert found.value.code is Code.NOT_COMPUTED


def test_every_format_says_it() -> None:
    (one,) = run(["llama-3.1-8b"], Options(runtime="vllm@0.33.0", tp=3, gpu=("4090",), quant="FP8,AWQ", ctx="max")).checks
    CHECK.validate(json.loads(checks_as(Format.JSON, [one], Style())))
    for form in Format:
        assert "32" in checks_as(form, [one], Style())


def test_cache_types_are_those_of_the_runtime() -> None:
    fp8 = Options(runtime="vllm", gpu=("4x3090",), kv="fp8")
    assert checked("llama-3.1-8b", fp8)[0] is Code.NOT_COMPUTED
    assert checked("llama-3.1-8b", fp8._replace(tp=3)) == (Answer.CANNOT_RUN, REFUSED, Exit.NO)
    assert checked("llama-3.1-8b", fp8._replace(runtime="llama.cpp"))[:2] == (Code.BAD_VALUE, "--kv 'fp8' is not a cache type")
    assert checked("llama-3.1-8b", fp8._replace(kv="f17"))[:2] == (Code.BAD_VALUE, "--kv 'f17' is not a cache type")
    lines = [{"model": "llama-3.1-8b", "runtime": runtime, "cache_type_k": "fp8", "cache_type_v": "fp8"} for runtime in ("vllm", "ollama")]
    answers = [json.loads(answer)["error"]["code"] for answer in Batch(Options()).answers(map(json.dumps, lines))]
    assert answers == ["not_computed", "bad_value"]
    (other,) = Batch(fp8).answers([json.dumps({"model": "llama-3.1-8b", "runtime": "llama.cpp"})])
    assert json.loads(other)["error"]["message"] == "--kv 'fp8' is not a cache type"


def test_quantizations_that_are_near_are_named() -> None:
    with pytest.raises(Problem) as found:
        run(["llama-3.1-8b"], Options(runtime="vllm", quant="gptg", gpu=("4090",)))
    assert (found.value.code, found.value.candidates[:1]) == (Code.UNKNOWN_QUANT, ("GPTQ",))
    assert "BF16, F16, AWQ, GPTQ" in found.value.hint


@pytest.mark.parametrize("typed", ["AWQ", "awq", "Compressed_Tensors", "fp16", "BF16"])
def test_quantizations_however_they_are_written(typed: str) -> None:
    assert checked("llama-3.1-8b", Options(runtime="vllm", quant=typed, tp=3, gpu=("4x3090",)))[0] is Answer.CANNOT_RUN


def test_an_importance_matrix_is_of_gguf_files() -> None:
    answer, said, ends = checked("llama-3.1-8b", Options(runtime="vllm", imatrix=True, tp=3, gpu=("4x3090",)))
    assert (answer, said, ends) == (Code.BAD_VALUE, "an importance matrix belongs to GGUF files", Exit.USAGE)


def test_vllm_loads_no_gguf_files() -> None:
    own = OwnTensors("llama-3.1-8b-Q4_K_M.gguf", "Q4_K_M", ())
    with pytest.raises(Problem, match=r"vllm 0\.33\.0 loads no GGUF files") as found:
        open_for(find_model("llama-3.1-8b"), "vllm", None, own)
    assert found.value.code is Code.NOT_COMPUTED
    assert open_for(find_model("llama-3.1-8b"), "lmstudio", None, own).usual_quants() == ("Q4_K_M",)


def never(text: str) -> None:
    raise AssertionError(f"announced: {text}")


@pytest.mark.parametrize("runtime", ["vllm", "sglang", "transformers", "mlx", "exllamav2", "exllamav3", "tensorrt-llm", "lmstudio", "executorch"])
def test_fit_says_at_once_what_it_cannot_answer(runtime: str) -> None:
    with pytest.raises(Problem) as found:
        fit.run(fit.Wanted(), Options(runtime=runtime, gpu=("4090",)), never)
    assert (found.value.code, found.value.message) == (Code.NOT_COMPUTED, f"what {runtime} takes is not computed in this version")
    assert found.value.hint == "computed: llama.cpp, ollama; without -r each model runs in what loads it"


@pytest.mark.parametrize("runtime", ["vllm", "sglang", "transformers", "mlx", "exllamav2", "exllamav3", "tensorrt-llm", "lmstudio"])
@pytest.mark.parametrize("compare", [None, "4090,5090"])
def test_buy_says_what_it_cannot_answer(runtime: str, compare: str | None) -> None:
    with pytest.raises(Problem) as found:
        buy.run("llama-3.1-8b", Options(runtime=runtime), buy.Wanted(compare=compare))
    assert found.value.code is Code.NOT_COMPUTED
    assert found.value.message.startswith(f"what {runtime} takes is not computed in this version")


@pytest.mark.parametrize("compare", [None, "4090,5090"])
def test_nothing_to_buy_runs_what_the_runtime_does_not_load(compare: str | None) -> None:
    found = buy.run("llama-3.2-11b-vision", Options(runtime="vllm"), buy.Wanted(compare=compare))
    assert found.exit is Exit.NO
    assert NOT_LOADED in page_as(Format.TABLE, found.page, Style(width=200))


@pytest.mark.parametrize("runtime", ["vllm", "sglang", "lmstudio"])
def test_show_has_the_checkpoint_in_a_runtime_that_is_not_priced(runtime: str) -> None:
    listings = {listing.kind: listing for listing in show.run("llama-3.1-8b", Options(runtime=runtime, gpu=("4090",))).listings}
    assert listings["sizes"].title == f"Size of the checkpoint's tensors; what {runtime} takes is not computed in this version"
    assert [(row["quant"], row["tensor_bytes"]) for row in listings["sizes"].rows] == [("BF16", 2 * 8_030_261_248)]
    assert "comparisons" not in listings


def test_llama_cpp_has_no_ranks() -> None:
    (one,) = run(["llama-3.1-8b"], Options(tp=2, quant="Q4_K_M", ctx="8k", gpu=("2x3090",))).checks
    assert one.answer is Answer.CANNOT_RUN
    assert "--tp" in one.machines[0].headline.reason


def shown(model: str) -> tuple[dict[str, object], tuple[Any, ...]]:
    page = show.run(model, Options(gpu=("4090",)))
    ranks = next((listing.rows for listing in page.listings if listing.kind == "ranks"), ())
    return {fact.key: fact.value for section in page.sections for fact in section.facts}, ranks


def test_show_lists_sizes_and_the_weights_of_a_rank() -> None:
    """Llama 3.1 8B: 65 norms of 4,096 are whole on every rank, the 8 KV heads of 128 are held twice on 16 ranks and four times on 32."""
    facts, rows = shown("llama-3.1-8b")
    norms, kv_heads = 65 * 4096, 2 * 32 * 8 * 128 * 4096
    cut = 8_030_261_248 - norms - kv_heads
    assert facts["vllm_tensor_parallel"] == "1, 2, 4, 8, 16, 32"
    assert [(row["tensor_parallel"], row["weight_bytes"]) for row in rows] == [
        (ranks, 2 * (norms + kv_heads // min(ranks, 8) + cut // ranks)) for ranks in (1, 2, 4, 8, 16, 32)
    ]
    assert {(row["basis"], row["source"]) for row in rows} == {("exact", "https://github.com/vllm-project/vllm/tree/v0.33.0/vllm/model_executor/models")}


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("deepseek-v2-lite-16b", "1, 2, 4, 8, 16"),  # what latent attention adds to the weights is not known here
        ("gpt-oss-20b", "1, 2, 4, 8, 16, 32, 64"),  # its checkpoint is no 16-bit one
        ("qwen3-next-80b-a3b", "1, 2, 4, 8, 16"),
        ("kimi-k3", None),
        ("starcoder2-3b", None),  # transformers' code builds its layers
        ("llama-3.2-11b-vision", None),  # vLLM 0.10.2 was the last that loaded it
    ],
)
def test_show_lists_what_is_known(model: str, sizes: str | None) -> None:
    facts, rows = shown(model)
    assert (facts.get("vllm_tensor_parallel"), rows) == (sizes, ())


def test_the_sizes_are_those_that_a_question_is_not_refused_for() -> None:
    taken = {size.number for size in ranks_in_vllm(find_model("llama-3.2-3b"))}
    ask: Callable[[int], Answered] = lambda ranks: checked("llama-3.2-3b", Options(runtime="vllm", tp=ranks, gpu=("32x3090",)))  # noqa: E731
    assert taken == {ranks for ranks in range(1, 33) if ask(ranks)[0] is Code.NOT_COMPUTED} == {1, 2, 4, 8}


def test_a_size_has_its_weights() -> None:
    assert ranks_in_vllm(find_model("llama-3.1-8b"))[0] == Ranks(1, 2 * 8_030_261_248)
