"""What is summed for the judge is what the parts say, whatever is asked; and the longest context is the last that the parts leave room for."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.catalog.models import bundled
from runlocal.commands.machines import machines
from runlocal.commands.options import Options
from runlocal.core.load import load_of
from runlocal.core.machine import Machine
from runlocal.core.verdict import Answer, judge, slack
from runlocal.core.workload import Workload
from runlocal.engines.ggml.buffers import BufferLines
from runlocal.engines.ggml.graph import compute_buffers
from runlocal.runtimes import Runtime
from runlocal.solve.cell import answer_of, judge_cell, reserves
from runlocal.solve.longest import longest_context
from runlocal.solve.opening import open_for

MODELS = ["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-12b", "deepseek-v2-lite-16b", "gpt-oss-20b", "llama-3.2-11b-vision", "jamba-reasoning-3b", "lfm2-1.2b"]
ONE = ["rtx-3060", "rtx-4090", "a100-80:1g.10gb", "m4-max-64", "dgx-spark", "mi210"]
SEVERAL = ["2x3090", "5090+3060", "4x3060"]
FEW = settings(deadline=None, max_examples=60)
STEP_TOKENS = 256


@cache
def opened(model: str) -> tuple[Runtime, ...]:
    known = bundled(model)
    own = [open_for(known, "ollama", "0.24.0")] if known.architecture == "mllama" else []
    return (open_for(known, "llama.cpp", None), open_for(known, "ollama", None), *own)


@cache
def machine(spec: str, ram: str | None) -> Machine:
    return machines(Options(gpu=(spec,), ram=ram))[0].machine


WORKLOADS = st.fixed_dictionaries(
    {
        "context_tokens": st.sampled_from([1024, 4096, 5000, 16384, 65536]),
        "sequences": st.integers(1, 3),
        "unified_kv": st.booleans(),
        "images": st.integers(0, 1),
        "vision": st.booleans(),
        "cache_type_k": st.sampled_from(["f16", "q8_0"]),
        "gpu_layers": st.sampled_from([None, None, 0, 7]),
        "cpu_moe": st.booleans(),
        "kv_offload": st.booleans(),
    }
).map(lambda asked: Workload(**asked))


@FEW
@given(
    model=st.sampled_from(MODELS),
    which=st.integers(0, 2),
    spec=st.sampled_from([*ONE, *SEVERAL]),
    ram=st.sampled_from([None, "64GB"]),
    quant=st.sampled_from(["Q8_0", "Q4_K_M", "IQ2_M"]),
    asked=WORKLOADS,
    rough=st.booleans(),
)
def test_the_load_is_the_sum_of_the_parts(model: str, which: int, spec: str, ram: str | None, quant: str, asked: Workload, rough: bool) -> None:
    runtime, on = opened(model)[which % len(opened(model))], machine(spec, ram)
    recipe = runtime.recipe(quant, None)
    if runtime.refuses(recipe, asked, on):
        assert answer_of(runtime, recipe, asked, on, None).answer is Answer.CANNOT_RUN
        return
    placement = runtime.placement(asked, on)
    load = runtime.load(recipe, asked, placement, on, rough=rough)
    assert load == load_of(runtime.parts(recipe, asked, placement, on, rough=rough), len(on.gpus))


@FEW
@given(model=st.sampled_from(MODELS), spec=st.sampled_from([*ONE, *SEVERAL]), quant=st.sampled_from(["Q8_0", "Q4_K_M", "IQ2_M"]), asked=WORKLOADS)
def test_a_scan_and_a_cell_say_the_same(model: str, spec: str, quant: str, asked: Workload) -> None:
    runtime, on = opened(model)[0], machine(spec, None)
    recipe = runtime.recipe(quant, None)
    quick, cell = answer_of(runtime, recipe, asked, on, None), judge_cell(runtime, recipe, asked, on, None)
    assert quick.answer is cell.answer
    if quick.laid is not None:
        assert (sum(quick.laid.load.gpus), quick.laid.load.host) == (cell.need_bytes, cell.host_need_bytes)
        if quick.answer is not Answer.SPILLS:
            assert judge(load_of(cell.parts, len(on.gpus)), on, quick.left_free) is cell.answer


@FEW
@given(
    model=st.sampled_from(MODELS),
    which=st.integers(0, 1),
    spec=st.sampled_from(ONE),
    ram=st.sampled_from([None, "2GB"]),
    quant=st.sampled_from(["F16", "Q8_0", "Q4_K_M"]),
    sequences=st.integers(1, 8),
)
def test_the_longest_context_is_the_last_that_fits(model: str, which: int, spec: str, ram: str | None, quant: str, sequences: int) -> None:
    runtime, on = opened(model)[which], machine(spec, ram)
    recipe, asked = runtime.recipe(quant, None), Workload(0, sequences=sequences)
    left_free = reserves(runtime, asked, on, None)
    if runtime.refuses(recipe, asked._replace(context_tokens=STEP_TOKENS), on):
        assert longest_context(runtime, recipe, asked, on, left_free) == 0
        return

    def left(tokens: int) -> int:
        placement = runtime.placement(asked, on)
        parts = runtime.parts(recipe, asked._replace(context_tokens=tokens), placement, on)
        return slack(load_of(parts, len(on.gpus)), on, left_free)

    longest = longest_context(runtime, recipe, asked, on, left_free)
    if longest:
        assert left(longest) >= 0
    if longest + STEP_TOKENS <= runtime.longest_context():
        assert left(longest + STEP_TOKENS) < 0


@settings(deadline=None, max_examples=25)
@given(
    model=st.sampled_from(["llama-3.1-8b", "gemma-3-12b", "qwen3-30b-a3b", "jamba-reasoning-3b", "gpt-oss-20b"]),
    shares=st.lists(st.lists(st.sampled_from([4.0, 8.0, 9.0, 12.0, 24.0]), min_size=2, max_size=4).map(tuple), min_size=3, max_size=5),
    tokens=st.sampled_from([4096, 16384]),
)
def test_graphs_that_differ_in_repeats_only_are_laid_out_once(model: str, shares: list[tuple[float, ...]], tokens: int) -> None:
    """With the layers shared out in several ways, what was laid out before gives what laying out anew does."""
    runtime, asked = opened(model)[0], Workload(tokens)
    session, lines = runtime, BufferLines(runtime.layout)  # type: ignore[attr-defined]
    for split in shares:
        on = machine("2x3090" if len(split) == 2 else "4x3060", None)
        placement = runtime.placement(asked, on, split)
        found = session.settings(asked)  # type: ignore[attr-defined]
        assert lines.of(found, placement) == compute_buffers(runtime.layout, found, placement)  # type: ignore[attr-defined]
