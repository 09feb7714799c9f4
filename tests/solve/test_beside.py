"""Two models on one machine: the sums hold, each process has its own context, and what the first takes is what the second lacks."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.catalog.models import find_model
from runlocal.commands.batch import Batch
from runlocal.commands.check import Found, run
from runlocal.commands.options import Options
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.part import gpu, need
from runlocal.core.report import Cell, Neighbour
from runlocal.core.units import GIB, MIB
from runlocal.core.verdict import Answer
from runlocal.core.workload import Workload
from runlocal.render.json import check_json
from runlocal.render.style import Style
from runlocal.render.table import checks_text
from runlocal.solve.asked import Asked
from runlocal.solve.beside import beside, in_one_server
from runlocal.solve.cell import judge_cell
from runlocal.solve.opening import open_for

from .asking import ask

SMALL = "llama-3.2-3b"


def check(model: str, *others: str, **options: Any) -> Found:
    return run([model], Options(**{"quant": "Q4_K_M", "ctx": "8k", "beside": others, **options}))


def cell(model: str, *others: str, **options: Any) -> Cell:
    return check(model, *others, **options).checks[0].machines[0].headline


def test_the_parts_are_those_of_both() -> None:
    pair, first, second = cell("llama-3.1-8b", SMALL, gpu=("4090",)), cell("llama-3.1-8b", gpu=("4090",)), cell(SMALL, gpu=("4090",))
    own = [part for part in pair.parts if not part.label.startswith(f"{SMALL}: ")]
    others = [part._replace(label=part.label.removeprefix(f"{SMALL}: ")) for part in pair.parts if part not in own]
    assert (tuple(own), tuple(others)) == (first.parts, second.parts)
    # A context of the driver for each process: 2 x what one takes.
    assert sum(part.bytes for part in pair.parts if part.label.endswith("CUDA context")) == 2 * sum(
        part.bytes for part in first.parts if part.label == "CUDA context"
    )
    assert pair.need_bytes == need(pair.parts, "gpu0") == (first.need_bytes or 0) + (second.need_bytes or 0)
    assert pair.host_need_bytes == need(pair.parts, "host") == (first.host_need_bytes or 0) + (second.host_need_bytes or 0)
    assert (pair.usable_bytes, pair.reserve_bytes) == (first.usable_bytes, first.reserve_bytes)
    assert pair.headroom_bytes == ((pair.usable_bytes or 0) - (pair.need_bytes or 0),)


def test_a_quantization_and_a_context_of_its_own() -> None:
    def told(text: str, **options: Any) -> tuple[str, int]:
        (other,) = cell("llama-3.1-8b", text, gpu=("4090",), **options).beside
        return other.quant, other.context_tokens

    assert told(SMALL) == ("Q4_K_M", 8192)
    assert told(SMALL, ctx="16k,32k") == ("Q4_K_M", 16384)
    assert told(f"{SMALL}@Q8_0") == ("Q8_0", 8192)
    assert told(f"{SMALL}@32k") == ("Q4_K_M", 32768)
    assert told(f"{SMALL}@q8_0@2048") == ("Q8_0", 2048)
    assert told(f"{SMALL}@max") == ("Q4_K_M", 131072)
    # Trained for 2,048 tokens: an embedding model has no more beside a model at 8k.
    assert told("nomic-embed-text-v1.5@F16") == ("F16", 2048)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("hf.co/someone/Model@Q8_0@16k", ("hf.co/someone/Model", "Q8_0", "16k")),
        ("llama3.2:3b@MAX", ("llama3.2:3b", "", "max")),
        ("/models@2/mine@1.gguf", ("/models@2/mine@1.gguf", "", None)),
        ("/models@2/mine.gguf@4k", ("/models@2/mine.gguf", "", "4k")),
        ("a@b@c@4k", ("a", "b@c", "4k")),
    ],
)
def test_how_a_running_model_is_written(text: str, pieces: tuple[str, str, str | None]) -> None:
    from runlocal.commands.check import parted

    assert parted(text) == pieces


def test_every_column_has_the_same_other() -> None:
    """It runs already, whatever is asked of the model: 8k in the grid of 4k to 128k."""
    (one,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", beside=(SMALL,), gpu=("4090",))).checks
    assert {found.beside for found in one.machines[0].cells} == {one.machines[0].headline.beside}
    assert one.machines[0].headline.beside[0].context_tokens == 8192


@settings(max_examples=40, deadline=None)
@given(
    model=st.sampled_from(["llama-3.1-8b", "qwen3-8b", "gemma-3-4b"]),
    others=st.lists(st.sampled_from([f"{SMALL}@Q8_0", "qwen3-0.6b@F16@16k", "nomic-embed-text-v1.5@F16"]), min_size=1, max_size=2),
    sizes=st.lists(st.integers(4, 24), min_size=1, max_size=2),
    tokens=st.sampled_from([2048, 16384, 65536]),
)
def test_what_the_others_take_is_what_the_model_lacks(model: str, others: list[str], sizes: list[int], tokens: int) -> None:
    """The same verdict as on a machine where so much of every GPU is in use; and the parts sum to the need."""
    from runlocal.commands.check import running

    asked = Asked(workload=Workload(context_tokens=0))
    machine = Machine(
        origin=Origin.BUDGET,
        label="a budget",
        gpus=tuple(Gpu(index=index, id=None, name="budget", memory_bytes=size * GIB, context_bytes=400 * MIB) for index, size in enumerate(sizes)),
    )
    plain = open_for(find_model(model), None, None)
    together = beside(open_for(find_model(model), None, None), running(others, asked))
    recipe, workload = plain.recipe("Q4_K_M", None), Workload(context_tokens=tokens, vision=False)
    found = judge_cell(together, recipe, workload, machine, None)
    taken = [sum(part.bytes + part.margin_bytes for part in found.parts if part.device == gpu(place) and _of_others(part.label)) for place in range(len(sizes))]
    alone = judge_cell(plain, recipe, workload, machine.holding(taken, 0), None)
    assert (found.answer, found.fits_context_tokens) == (alone.answer, alone.fits_context_tokens)
    for place, size in enumerate(sizes):
        assert found.headroom_bytes[place] == size * GIB - need(found.parts, gpu(place))
    assert found.need_bytes == sum(need(found.parts, gpu(place)) for place in range(len(sizes)))
    if alone.answer is not Answer.DOES_NOT_FIT or len(sizes) == 1:
        assert [part for part in found.parts if not _of_others(part.label)] == list(alone.parts)


def _of_others(label: str) -> bool:
    return label.startswith((f"{SMALL}: ", "qwen3-0.6b: ", "nomic-embed-text-v1.5: "))


def test_the_model_is_split_by_what_the_other_left() -> None:
    """The other one is split over both cards first; the model's shares follow what is free then."""
    pair, plain = cell("llama-3.3-70b", "qwen3-32b", gpu=("pro6000+4090",), quant="Q4_K_M"), cell("llama-3.3-70b", gpu=("pro6000+4090",), quant="Q4_K_M")
    other = cell("qwen3-32b", gpu=("pro6000+4090",), quant="Q4_K_M")
    for place in (0, 1):
        own = need([part for part in pair.parts if part.label.startswith("qwen3-32b: ")], gpu(place))
        assert own == need(other.parts, gpu(place)) > 0
    assert pair.answer is Answer.FITS
    assert plain.answer is Answer.FITS
    assert pair.gpu_layers == 81


def test_less_context_fits_and_fewer_layers_go_on_the_gpu() -> None:
    pair, plain = (cell("llama-3.1-8b", *others, gpu=("3060",), quant="Q6_K") for others in ((SMALL,), ()))
    assert 0 < (pair.fits_context_tokens or 0) < (plain.fits_context_tokens or 0)
    pair, plain = (cell("llama-3.3-70b", *others, gpu=("4090",), ram="128GB") for others in ((SMALL,), ()))
    assert (pair.answer, plain.answer) == (Answer.SPILLS, Answer.SPILLS)
    assert 0 < (pair.gpu_layers or 0) < (plain.gpu_layers or 0)


def test_what_would_help_counts_the_other_and_may_be_to_end_it() -> None:
    found = check("qwen3-32b", "qwen3-8b", gpu=("4090",))
    assert found.checks[0].answer is Answer.DOES_NOT_FIT
    changes = {advice.change: advice for advice in found.checks[0].advice}
    ended = changes["without qwen3-8b@Q4_K_M beside it"]
    assert "--with" not in ended.command
    assert check("qwen3-32b", gpu=("4090",)).checks[0].answer is ended.answer
    pair = changes["2 × RTX 4090"]
    assert "--with qwen3-8b" in pair.command and pair.answer is check("qwen3-32b", "qwen3-8b", gpu=("2x4090",)).checks[0].answer


def test_one_that_alone_does_not_fit_is_a_no() -> None:
    """It is wholly on the GPUs: the model cannot make room for it by going to host memory."""
    found = cell(SMALL, "llama-3.3-70b", gpu=("4090",), ram="256GB")
    assert found.answer is Answer.DOES_NOT_FIT
    assert found.need_bytes == need(found.parts, "gpu0")


def test_one_that_does_not_run_there_says_why() -> None:
    found = cell("llama-3.1-8b", f"{SMALL}@1m", gpu=("4090",))
    assert found.answer is Answer.CANNOT_RUN
    assert found.reason.startswith(f"{SMALL} beside it: llama-server caps a sequence")
    found = cell("llama-3.1-8b", "llama-3.2-11b-vision", gpu=("4090",), runtime="llama.cpp")
    assert (found.answer, found.reason.startswith("llama-3.2-11b-vision beside it: llama.cpp")) == (Answer.CANNOT_RUN, True)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ("no-such-model", Code.UNKNOWN_MODEL),
        (f"{SMALL}@Q9_9", Code.UNKNOWN_QUANT),
        (f"{SMALL}@0k", Code.BAD_VALUE),
        ("", Code.UNKNOWN_MODEL),
        ("@", Code.UNKNOWN_MODEL),
    ],
)
def test_what_cannot_be_read(other: str, code: Code) -> None:
    with pytest.raises(Problem) as found:
        check("llama-3.1-8b", other, gpu=("4090",))
    assert found.value.code is code


def test_more_than_are_computed() -> None:
    with pytest.raises(Problem) as found:
        check("llama-3.1-8b", *("qwen3-0.6b",) * 17, gpu=("4090",))
    assert found.value.code is Code.BAD_VALUE


def test_cards_that_are_full_are_a_no() -> None:
    """Nothing is left of either, so there is nothing to share the layers out by."""
    found = cell("llama-3.1-8b", "llama-3.3-70b@Q8_0", gpu=("2x3060",))
    assert found.answer is Answer.DOES_NOT_FIT
    assert [left < 0 for left in found.headroom_bytes] == [True, True]


def test_without_a_gpu_both_are_in_the_computer_s_memory() -> None:
    """Without --ram this computer's own memory would decide."""
    pair, first, second = (
        ask(model, quant="Q4_K_M", context_tokens=8192, gpus=0, ram_bytes=64 * GIB, **others)
        for model, others in (("llama-3.1-8b", {"with": SMALL}), ("llama-3.1-8b", {}), (SMALL, {}))
    )
    assert pair["need_bytes"] == first["need_bytes"] + second["need_bytes"]
    assert pair["answer"] == "fits"


def test_on_unified_memory_what_stays_on_the_host_counts_too() -> None:
    pair, first, second = (cell(model, *others, gpu=("m4-max-64",)) for model, others in (("llama-3.1-8b", (SMALL,)), ("llama-3.1-8b", ()), (SMALL, ())))
    assert pair.need_bytes == (first.need_bytes or 0) + (second.need_bytes or 0)
    assert pair.host_need_bytes == 0


def test_what_is_printed() -> None:
    (one,) = check("llama-3.1-8b", f"{SMALL}@Q8_0", gpu=("4090",)).checks
    text = checks_text([one], Style(width=200))
    assert f"Q4_K_M at 8k context beside {SMALL}@Q8_0 needs" in text
    # The other one is started first, and leaves llama-server's usual port to the model.
    first, second = [line.strip() for line in text.splitlines() if line.startswith("  llama-server")]
    assert first == f"llama-server -m {SMALL}-Q8_0.gguf -c 8192 -np 1 -ngl all --port 8081"
    assert second == "llama-server -m llama-3.1-8b-Q4_K_M.gguf -c 8192 -np 1 -ngl all"
    (shown,) = json.loads(check_json(one))["machines"][0]["cells"]
    (other,) = shown["with"]
    assert (other["model"], other["quant"], other["runtime"], other["context_tokens"], other["command"]) == (SMALL, "Q8_0", "llama.cpp", 8192, first)
    assert other["need_bytes"] == sum(part["bytes"] for part in shown["parts"] if part["label"].startswith(f"{SMALL}: ") and part["device"] == "gpu0")


def test_two_of_ollama_s() -> None:
    found = cell("llama-3.1-8b", SMALL, gpu=("4090",), runtime="ollama")
    (other,) = found.beside
    # One server keeps both loaded; with another context length it would have to be another server.
    assert (other.runtime, other.command, found.command) == (
        "ollama",
        "OLLAMA_CONTEXT_LENGTH=8192 ollama serve & ollama run llama3.2:3b",
        "ollama run llama3.1:8b",
    )
    longer = cell("llama-3.1-8b", f"{SMALL}@4k", gpu=("4090",), runtime="ollama").command
    assert longer == "OLLAMA_HOST=127.0.0.1:11435 OLLAMA_CONTEXT_LENGTH=8192 ollama serve & OLLAMA_HOST=127.0.0.1:11435 ollama run llama3.1:8b"
    assert sum(part.label.endswith("CUDA context") for part in found.parts) == 2


def test_each_ollama_server_has_a_port_of_its_own() -> None:
    def told(command: str) -> Neighbour:
        return Neighbour("a", "Q", "ollama", "1", 1, 1, 0, command)

    first, second = "OLLAMA_CONTEXT_LENGTH=4096 ollama serve & ollama run a", "OLLAMA_CONTEXT_LENGTH=8192 ollama serve & "
    made = "printf '%s\\n' 'FROM ./b.gguf' > Modelfile && ollama create b -f Modelfile && ollama run b"
    before = [told(first)]
    host = "OLLAMA_HOST=127.0.0.1:11435 "
    assert in_one_server(first, before) == "ollama run a"
    other = in_one_server(second + made, before)
    assert other == f"{host}{second}printf '%s\\n' 'FROM ./b.gguf' > Modelfile && {host}ollama create b -f Modelfile && {host}ollama run b"
    before.append(told(other))
    assert in_one_server(second + "ollama run c", before) == f"{host}ollama run c", "the second server's settings: it is asked"
    assert in_one_server("llama-server -m a.gguf", before) == "llama-server -m a.gguf"


def test_a_batch_takes_them_from_the_line_or_from_beside_it() -> None:
    line = {"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpu": "4090", "context_tokens": 4096}
    given = Batch(Options(beside=(f"{SMALL}@Q8_0",)))
    (shown,) = map(json.loads, given.answers([json.dumps(line)]))
    assert [(one["model"], one["quant"], one["context_tokens"]) for one in shown["with"]] == [(SMALL, "Q8_0", 4096)]
    assert ask(**line, **{"with": [f"{SMALL}@Q8_0"]})["need_bytes"] == shown["need_bytes"]
    assert [one["model"] for one in ask(**line, **{"with": [SMALL, "qwen3-0.6b@16k"]})["with"]] == [SMALL, "qwen3-0.6b"]
    (error,) = map(json.loads, given.answers([json.dumps({**line, "with": [7]})]))
    assert error["error"]["code"] == "bad_value"


def test_a_fleet_is_asked_about_one_model() -> None:
    from runlocal.commands.fleet import run as fleet

    for options in (Options(beside=(SMALL,)), Options(ignore_pid=(7,))):
        with pytest.raises(Problem) as found:
            fleet(["llama-3.1-8b"], options, "nowhere.json")
        assert (found.value.code, found.value.exit) == (Code.BAD_VALUE, Exit.USAGE)
