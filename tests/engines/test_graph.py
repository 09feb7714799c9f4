"""Compute buffers from the graph: what llama.cpp itself took, to the byte, and what must hold of any of them."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.architectures import layout
from runlocal.catalog.models import spec_from_table
from runlocal.core.layout import Layout
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.engines.ggml.graph import NotModelled, compute_buffers, copy_bytes, largest
from runlocal.engines.ggml.graph.copies import Templates, template
from runlocal.engines.ggml.graph.layers import layers_of
from runlocal.engines.ggml.graph.resolve import keeps_flash_attention, unfused
from runlocal.engines.ggml.placement import place
from runlocal.engines.ggml.places import Timeline
from runlocal.engines.ggml.settings import Settings
from runlocal.quants.gguf import Recipe, store

DATA = Path(__file__).parents[2] / "data"
FACTS = tomllib.loads((DATA / "engines" / "ggml.toml").read_text(encoding="utf-8"))
TYPES = {name: StorageType(name, *sizes) for name, sizes in tomllib.loads((DATA / "dtypes.toml").read_text(encoding="utf-8"))["types"].items()}

# llama_get_memory_breakdown of llama.cpp at 0c1e57098 (https://github.com/ggml-org/llama.cpp/tree/0c1e57098) over a CUDA device without
# kernels, compute capability 8.9: model, context (-c), ubatch, sequences, unified cache, rows of logits, flash attention, cache type;
# bytes of the compute buffers CUDA0 and CUDA_Host.
ONE_GPU = """
afm-4.5b               32768 2048 1 no     1 yes f16   348168320 176209952
afm-4.5b                4096 2048 1 no     1 yes q8_0  230809728  58851360
command-r-35b           4096  512 4 yes  512 yes f16   557842432  37763072
command-r-35b           8192  512 4 yes    4 yes q4_0  482437248  42037280
command-r7b            32768 2048 1 no     1 yes q8_0  813932672 226738208
command-r7b           131072  512 1 no     1 yes f16   260589696 155734048
deepseek-v2-lite-16b   32768  512 4 no     4 no  f16   381962368  25174048
deepseek-v2-lite-16b    8192  512 4 no     4 yes q8_0   91506816  10493984
dots.llm1-143b-a14b    32768  512 4 no     4 yes q8_0  681928832  25260064
dots.llm1-143b-a14b     4096  512 4 yes  512 yes f16   443035648  20985856
exaone-4.0-1.2b         8192  512 1 no     1 no  f16   568334464  27271200
exaone-4.0-1.2b        32768 2048 4 yes    4 yes q8_0  285286528 167854112
falcon-7b               2048  512 1 no   512 yes q8_0  142475264  20756480
gemma-2-9b              4096  512 1 no     1 no  f16   199239808  48246816
gemma-2-9b              4096  512 4 yes  512 yes q4_0  531628032  23648256
gemma-2b                8192  512 1 no     1 yes f16   121645184  16789536
gemma-3-4b             32768  512 4 yes    4 yes q8_0  191940736  49336352
gemma-3-4b              8192  512 4 no     4 no  f16    97527936  26226720
glm-4-9b-0414          32768 2048 4 yes 2048 yes q8_0 1275068416 201465856
glm-4.7-flash-30b-a3b  32768 2048 4 yes    4 yes q8_0  461398144 167804960
gpt-oss-20b             4096  512 1 no   512 yes f16   428625920  16799744
gpt-oss-20b             4096  512 4 no   512 yes q8_0  425545728  13719552
granite-3.1-1b-a400m  131072 2048 4 yes 2048 yes f16   696303616 553705472
granite-4.1-3b         32768 2048 4 yes    4 yes f16   398499968 176209952
hunyuan-a13b-80b        8192 2048 1 no     1 yes q8_0  738320512 100794400
llama-3.1-8b          131072  512 4 yes  512 yes q8_0  704737280 151091200
llama-3.1-8b          131072 2048 4 no     4 yes f16   587243648 201375776
llama-4-scout-17b-16e  32768  512 4 yes  512 yes f16   455835648  88104960
llama-4-scout-17b-16e 131072  512 4 no   512 yes q8_0  621467648  63627264
ministral-3-3b          4096  512 4 no   512 yes q8_0  274726912  13729792
mixtral-8x7b            4096  512 1 no     1 yes q4_0  205613184  21065760
olmo-3-7b              32768 2048 1 no  2048 yes q8_0  888586240 226746368
phi-2                   2048  512 1 no   512 yes f16   110100480  12597248
phi-3.5-mini           32768  512 4 no   512 yes q4_0  429928448  20985856
phi-3.5-mini            4096  512 4 yes  512 no  f16   301998080  33564672
phi-3.5-moe-42b        32768 2048 4 no  2048 yes q8_0  448921600 100802560
qwen2-57b-a14b         32768  512 4 no     4 yes q8_0  197224576  23162912
qwen2.5-7b             32768 2048 1 no  2048 no  f16  7910490112 335585280
qwen3-30b-a3b           4096 2048 4 no     4 no  f16   385900672  50364448
qwen3-30b-a3b          32768  512 4 no     4 yes q4_0  138504320  16871456
qwen3-8b                4096  512 1 no   512 yes q4_0  319553536  21067776
qwen3-vl-8b           131072 2048 1 no     1 yes q8_0 1342324864 704798752
smollm3-3b             65536 2048 4 yes 2048 yes q8_0 1084227584 302129152
stablelm-2-1.6b         4096  512 4 no   512 yes q8_0  213909504   9484288
starcoder2-7b          16384 2048 1 no     1 yes f16   331391104 142655520
"""


class Case(NamedTuple):
    """A line of the table."""

    model: str
    context: int
    ubatch: int
    sequences: int
    unified: bool
    outputs: int
    flash: bool
    cache: str
    gpu: int
    host: int

    @classmethod
    def of(cls, line: str) -> "Case":
        model, context, ubatch, sequences, unified, outputs, flash, cache_type, gpu, host = line.split()
        return cls(model, int(context), int(ubatch), int(sequences), unified == "yes", int(outputs), flash == "yes", cache_type.upper(), int(gpu), int(host))


CASES = [Case.of(line) for line in ONE_GPU.strip().splitlines()]


@cache
def model(name: str) -> Layout:
    (path,) = DATA.glob(f"models/*/{name}.toml")
    return layout(spec_from_table(name, tomllib.loads(path.read_text(encoding="utf-8"))))


@cache
def q4_k_m(name: str) -> dict[tuple[str, int | None], int]:
    """What copies of the model's weights take on a GPU."""
    recipes: dict[str, Any] = tomllib.loads((DATA / "quants" / "gguf.toml").read_text(encoding="utf-8"))["recipes"]
    recipe = Recipe(name="Q4_K_M", default_type=recipes["Q4_K_M"]["default_type"], imatrix=False)
    shape = model(name)
    return copy_bytes(store(shape, shape.tensors(), recipe, TYPES), tied=shape.tied)


def context_of(
    shape: Layout, context: int, *, ubatch: int = 512, sequences: int = 1, unified: bool = False, outputs: int = 1, flash: bool = True, cache_type: str = "F16"
) -> Settings:
    return Settings(
        cells=context if unified else pad(context // sequences, 256),
        streams=1 if unified else sequences,
        sequences=sequences,
        ubatch_tokens=ubatch,
        output_rows=outputs,
        flash_attention=flash,
        type_k=TYPES[cache_type],
        type_v=TYPES[cache_type],
        swa_full=False,
        windows=shape.architecture in FACTS["window_architectures"],
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.cache}-{case.context}")
def test_one_gpu_is_exact(case: Case) -> None:
    shape = model(case.model)
    context = context_of(
        shape,
        case.context,
        ubatch=case.ubatch,
        sequences=case.sequences,
        unified=case.unified,
        outputs=case.outputs,
        flash=case.flash,
        cache_type=case.cache,
    )
    found = compute_buffers(shape, context, place(shape.stored_layers, None, (1,)))
    assert (found.gpus, found.host) == ((case.gpu,), case.host)


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.model)
@pytest.mark.parametrize("gpus", [1, 3])
def test_leaving_out_layers_that_repeat_changes_nothing(case: Case, gpus: int) -> None:
    shape = model(case.model)
    context = context_of(shape, 8192, outputs=512, cache_type=case.cache, flash=case.flash)
    for gpu_layers in (None, shape.layers // 2):
        placement = place(shape.stored_layers, gpu_layers, (1,) * gpus)
        few, every = (compute_buffers(shape, context, placement, q4_k_m(case.model), all_layers=every) for every in (False, True))
        assert few == every


# As above, Q4_K_M files at -c 8192 and a ubatch of 512: several GPUs (layers split evenly), partial offload, experts or caches on the host.
@pytest.mark.parametrize(
    ("name", "gpus", "gpu_layers", "on_host", "context", "expected"),
    [
        ("gpt-oss-20b", 2, None, (), {"context": 32768, "flash": False}, (4638679040, 4662272512, 321044608)),
        ("hunyuan-a13b-80b", 2, None, (), {"sequences": 4, "unified": True, "outputs": 4}, (235184128, 268739072, 75546752)),
        ("qwen3-30b-a3b", 2, None, (), {"context": 32768, "sequences": 4, "unified": True, "outputs": 4, "flash": False}, (2466275328, 2483053056, 297828480)),
        ("qwen2.5-7b", 1, 0, (), {"outputs": 512, "flash": False}, (867667968, 33564672)),
        ("llama-3.1-8b", 1, 33, (), {}, (121645184, 25178144)),
        ("hunyuan-a13b-80b", 1, 16, (), {"outputs": 512}, (822085632, 25180160)),
        ("mixtral-8x7b", 1, None, ("experts",), {}, (494413824, 25178144)),
        ("mixtral-8x7b", 1, None, ("experts", "cache"), {"outputs": 512, "flash": False}, (603981824, 37758976)),
        ("qwen2.5-7b", 2, 14, (), {"outputs": 512}, (207945728, 318767104, 23083008)),
        ("llama-3.1-8b", 2, 16, (), {"sequences": 4, "unified": True, "outputs": 4}, (142084352, 113256576, 25178144)),
    ],
)
def test_other_placements_are_exact(
    name: str, gpus: int, gpu_layers: int | None, on_host: tuple[str, ...], context: dict[str, Any], expected: tuple[int, ...]
) -> None:
    shape = model(name)
    placement = place(
        shape.stored_layers, gpu_layers, (1,) * gpus, host_experts=shape.stored_layers if "experts" in on_host else 0, cache_on_host="cache" in on_host
    )
    found = compute_buffers(shape, context_of(shape, **{"context": 8192, **context}), placement, q4_k_m(name))
    assert (*found.gpus, found.host) == expected


# The CPU alone, -c 8192, a ubatch of 512: one buffer for all.
@pytest.mark.parametrize(
    ("name", "outputs", "flash", "expected"),
    [("mistral-7b-v0.3", 512, True, 130037760), ("qwen3-vl-8b", 512, False, 658522112)],
)
def test_without_a_gpu(name: str, outputs: int, flash: bool, expected: int) -> None:
    shape = model(name)
    found = compute_buffers(shape, context_of(shape, 8192, outputs=outputs, flash=flash), place(shape.stored_layers, None, ()))
    assert found == ((), expected)


def test_scratch_of_flash_attention_by_hand() -> None:
    # One token per ubatch leaves little but the F16 copies of one layer's K and V: 2 × 8 heads × 128 × 131072 cells × 2 bytes.
    shape = model("llama-3.1-8b")
    quantized = compute_buffers(shape, context_of(shape, 131072, ubatch=1, cache_type="Q8_0"), place(shape.stored_layers, None, (1,))).gpus[0]
    copies = 2 * 8 * 128 * 131072 * 2
    assert copies < quantized < copies + (1 << 21)


def test_a_load_on_several_gpus_takes_one_copied_tensor_less_than_the_estimate() -> None:
    # The estimate forgets that norms belong to their layer: beside the residual, the norm's result crosses too, four times 512 × 4096 × 4 bytes.
    shape = model("llama-3.1-8b")
    placement = place(shape.stored_layers, None, (1, 1))
    context = context_of(shape, 8192)
    estimated, loaded = (compute_buffers(shape, context, placement, as_estimated=estimated) for estimated in (True, False))
    assert estimated.gpus[0] == loaded.gpus[0]
    assert estimated.gpus[1] - loaded.gpus[1] == 4 * 512 * 4096 * 4
    alone = place(shape.stored_layers, None, (1,))
    assert compute_buffers(shape, context, alone, as_estimated=False) == compute_buffers(shape, context, alone)


def test_fusing_the_choice_of_experts_matters_to_experts_alone() -> None:
    for name, differs in (("qwen3-30b-a3b", True), ("llama-3.1-8b", False)):
        shape = model(name)
        context = context_of(shape, 4096, ubatch=2048, sequences=4, outputs=4, flash=False)
        placement = place(shape.stored_layers, None, (1,))
        assert (compute_buffers(shape, context, placement, fuses_routing=True) != compute_buffers(shape, context, placement)) == differs


def test_an_architecture_without_a_graph_says_so() -> None:
    shape = model("llama-3.2-11b-vision")
    with pytest.raises(NotModelled, match="mllama"):
        compute_buffers(shape, context_of(shape, 8192), place(shape.stored_layers, None, (1,)))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted({case.model for case in CASES})), st.integers(1, 64), st.integers(1, 32))
def test_a_longer_context_does_not_take_less(name: str, blocks: int, more: int) -> None:
    # No law of the allocator: with a whole ubatch of logits or a quantized cache a longer mask may lead to a better fit. Here it holds.
    shape = model(name)
    placement = place(shape.stored_layers, None, (1,))
    short, long = (compute_buffers(shape, context_of(shape, 256 * count, ubatch=256), placement) for count in (blocks, blocks + more))
    assert short.gpus <= long.gpus
    assert short.host <= long.host


def test_lightning_attention_takes_for_four_sequences_what_it_takes_for_one() -> None:
    # Decays between any two tokens of a sequence: 512 × 512 for each of 64 heads, 4 bytes; an input, a layer's own ones, and scores like them.
    shape = model("minimax-text-01-456b")
    placement = place(shape.stored_layers, None, (1,))
    one, four = (compute_buffers(shape, context_of(shape, 8192, sequences=sequences, unified=True), placement) for sequences in (1, 4))
    assert 0 <= four.gpus[0] - one.gpus[0] < 1 << 20
    assert one.gpus[0] > 3 * 512 * 512 * 64 * 4


def test_leaving_out_layers_whose_states_are_read_for_the_last_time() -> None:
    shape = model("minimax-text-01-456b")
    context = context_of(shape, 2048, ubatch=32, outputs=32, flash=False)
    placement = place(shape.stored_layers, None, (1,), host_experts=shape.stored_layers)
    few, every = (compute_buffers(shape, context, placement, q4_k_m("minimax-text-01-456b"), all_layers=every) for every in (False, True))
    assert few == every


@pytest.mark.parametrize(
    ("name", "gpu_layers", "cache_on_host", "kept"),
    [
        ("nemotron-nano-9b-v2", None, False, True),
        ("nemotron-nano-9b-v2", None, True, False),
        # Attention stands in layers 14, 21, 30 and 39 of 56; the first layer on the GPU draws the attention before it there, if it keeps a state.
        ("nemotron-nano-9b-v2", 42, False, False),
        ("nemotron-nano-9b-v2", 43, False, True),
        ("jamba-mini-52b", None, True, False),
        ("granite-4.0-h-tiny-7b-a1b", None, True, True),
    ],
)
def test_auto_may_turn_flash_attention_off_where_a_state_lies_elsewhere(name: str, gpu_layers: int | None, cache_on_host: bool, kept: bool) -> None:
    """As llama.cpp resolves it."""
    shape = model(name)
    placement = place(shape.stored_layers, gpu_layers, (1,), cache_on_host=cache_on_host)
    assert keeps_flash_attention(shape, context_of(shape, 8192), placement) is kept


@pytest.mark.parametrize("name", ["deepseek-v4-flash-284b", "glm-5.3-flash-321b-a18b", "minimax-m3-427b-a23b", "kimi-k3-2.8t-a104b"])
@pytest.mark.parametrize(("gpus", "gpu_layers", "experts"), [(1, None, 99), (2, 22, 5)])
def test_other_bytes_of_copied_weights_are_filled_in(name: str, gpus: int, gpu_layers: int | None, experts: int) -> None:
    shape = model(name)
    context, templates = context_of(shape, 8192), Templates()
    placement = place(shape.stored_layers, gpu_layers, (1,) * gpus, host_experts=min(experts, shape.stored_layers))
    weights = q4_k_m(name)
    others = {weight: size * (3 if index % 5 else 1) // 2 for index, (weight, size) in enumerate(weights.items())}
    for sizes in (weights, others):
        timelines: list[Timeline] = []
        found = compute_buffers(shape, context, placement, sizes, templates=templates, timelines=timelines)
        assert found == compute_buffers(shape, context, placement, sizes) == largest(timelines)
    assert len(templates) == 1 and None not in templates.values(), "laid out once for both"


def test_memory_of_a_copy_that_is_taken_over_in_part_is_laid_out_for_its_bytes() -> None:
    second = (1 << 60) + 1
    assert template(Timeline([(0, 0, True, second, 0), (0, 0, False, second - 512, 512)], (), (128,)), 2) is None
    whole = template(Timeline([(0, 0, True, second, 0), (1, 0, True, 256, 0), (0, 0, False, second, 0)], (), (128,)), 2)
    assert whole is not None
    assert whole.filled({("a", 0): 5, ("b", 0): 1024}).events == [(0, 0, True, 1024, 0), (1, 0, True, 256, 0), (0, 0, False, 1024, 0)]


@pytest.mark.parametrize("name", ["deepseek-v4-flash-284b", "glm-5.3-flash-321b-a18b", "nemotron-nano-9b-v2", "granite-4.0-h-tiny-7b-a1b", "gemma-3n-e4b"])
@pytest.mark.parametrize(
    ("gpus", "gpu_layers", "host_experts", "cache_on_host"), [(1, 22, 0, False), (3, None, 17, True), (2, 22, 30, False), (1, None, 5, False)]
)
def test_a_few_layers_tell_what_is_left_together(name: str, gpus: int, gpu_layers: int | None, host_experts: int, cache_on_host: bool) -> None:
    shape = model(name)
    placement = place(shape.stored_layers, gpu_layers, (1,) * gpus, host_experts=host_experts if shape.experts else 0, cache_on_host=cache_on_host)
    context = context_of(shape, 8192)
    kept, every = (keeps_flash_attention(shape, context, placement, all_layers=every) for every in (False, True))
    assert kept is every
    if layers_of(shape)[0].has_streams:
        assert unfused(shape, context, placement) == unfused(shape, context, placement, all_layers=True)


def test_leaving_out_layers_whose_states_are_loaded_ahead() -> None:
    shape = model("mamba-2.8b")
    context = context_of(shape, 8192, ubatch=32, sequences=8, unified=True, outputs=32)
    placement = place(shape.stored_layers, None, (1, 1, 1))
    few, every = (compute_buffers(shape, context, placement, all_layers=every) for every in (False, True))
    assert few == every
