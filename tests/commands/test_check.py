"""`check` as a function: machines side by side, the headline, the answer that counts for the exit code."""

import pytest

from runlocal.commands.check import run
from runlocal.commands.options import Options, read
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.machine import Origin
from runlocal.core.part import Basis
from runlocal.core.verdict import Answer

GIB = 1 << 30


def test_machines_side_by_side() -> None:
    found = run(["llama-3.3-70b"], Options(quant="Q4_K_M", ctx="8k", gpu=("rtx-4090", "2x3090"), vram="80GB"))
    (one,) = found.checks
    assert [[cell.answer for cell in machine.cells] for machine in one.machines] == [[Answer.DOES_NOT_FIT], [Answer.FITS], [Answer.FITS]]
    assert [machine.machine.origin for machine in one.machines] == [Origin.NAMED, Origin.NAMED, Origin.BUDGET]
    assert one.answer is Answer.FITS
    assert found.exit is Exit.YES


def test_several_models() -> None:
    found = run(["llama-3.1-8b", "llama-3.3-70b"], Options(quant="Q4_K_M", ctx="8k", gpu=("rtx-4090",)))
    assert [one.answer for one in found.checks] == [Answer.FITS, Answer.DOES_NOT_FIT]
    assert found.exit is Exit.YES
    assert run(["llama-3.3-70b"], Options(quant="Q4_K_M", ctx="8k", gpu=("rtx-4090",))).exit is Exit.NO


def test_the_grid() -> None:
    (one,) = run(["llama-3.1-8b"], Options(gpu=("rtx-3060",))).checks
    cells = one.machines[0].cells
    assert one.asked_contexts == (4096, 8192, 16384, 32768, 65536, 131072)
    assert len(cells) == len({cell.quant for cell in cells}) * 6
    headline = one.machines[0].headline
    assert headline.context_tokens == 8192
    finest = max((cell for cell in cells if cell.context_tokens == 8192 and cell.answer is Answer.FITS), key=lambda cell: cell.bits_per_weight or 0)
    assert headline == finest


def test_alternatives_of_the_cache() -> None:
    (one,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", ctx="8k,32k", kv="f16,q8_0:q4_0", gpu=("rtx-3060",))).checks
    found = [(cell.context_tokens, cell.cache_type_k, cell.cache_type_v) for cell in one.machines[0].cells]
    assert found == [(8192, "f16", "f16"), (8192, "q8_0", "q4_0"), (32768, "f16", "f16"), (32768, "q8_0", "q4_0")]


def test_max_is_what_the_runtime_enforces() -> None:
    (one,) = run(["qwen3-8b"], Options(quant="Q4_K_M", ctx="max", gpu=("rtx-4090",))).checks
    assert one.asked_contexts == (one.model.context.native_tokens,)


def test_a_context_beyond_it_carries_the_setting() -> None:
    (one,) = run(["qwen3-8b"], Options(quant="Q4_K_M", ctx="64k", gpu=("rtx-4090",))).checks
    headline = one.machines[0].headline
    assert headline.command is not None
    assert "--rope-scaling yarn --rope-scale 2 --yarn-orig-ctx 32768" in headline.command, "65,536 = 2 x 32,768, though 40,960 are served without"
    assert any(warning.startswith("Rotary scaling reaches beyond the model's 40,960 tokens.") for warning in headline.warnings)
    (plain,) = run(["qwen3-8b"], Options(quant="Q4_K_M", ctx="40k", gpu=("rtx-4090",))).checks
    assert "yarn" not in (plain.machines[0].headline.command or "") and not any("Rotary" in warning for warning in plain.machines[0].headline.warnings)
    (other,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", ctx="256k", gpu=("rtx-4090",))).checks
    assert other.machines[0].headline.answer is Answer.CANNOT_RUN
    assert "131,072" in other.machines[0].headline.reason


def test_nothing_is_offloaded_to_a_host_of_unknown_size() -> None:
    without, with_ram = (run(["llama-3.3-70b"], Options(quant="Q4_K_M", ctx="8k", gpu=("rtx-4090",), ram=ram)) for ram in (None, "64GB"))
    assert without.checks[0].answer is Answer.DOES_NOT_FIT
    assert with_ram.checks[0].answer is Answer.SPILLS
    headline = with_ram.checks[0].machines[0].headline
    assert headline.gpu_layers is not None
    assert 30 < headline.gpu_layers < 81
    assert f"-ngl {headline.gpu_layers}" in (headline.command or "")
    assert with_ram.exit is Exit.NO
    assert run(["llama-3.3-70b"], Options(quant="Q4_K_M", ctx="8k", gpu=("rtx-4090",), ram="64GB", offload=True)).exit is Exit.YES
    most = without.checks[0].machines[0].headline.gpu_layers
    assert most is not None and most >= headline.gpu_layers, "a no says how many would fit, the reserve used up"


def test_a_reserve_of_ones_own() -> None:
    for reserve, answer in (("0", Answer.FITS), ("4GB", Answer.FITS), ("18GB", Answer.TIGHT)):
        (one,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", ctx="8k", vram="24GB", reserve=reserve)).checks
        assert one.answer is answer


@pytest.mark.parametrize("gpu", ["m4-max-64", "rx-7900-xtx"])
def test_where_the_allocator_is_not_modelled_buffers_are_estimated(gpu: str) -> None:
    """Metal and ROCm: weights and caches as they are, the compute buffer in CUDA's form with a margin."""
    (one,) = run(["llama-3.1-8b"], Options(quant="Q4_K_M", ctx="8k", gpu=(gpu,))).checks
    buffers = [part for part in one.machines[0].headline.parts if part.label == "compute buffer" and part.device == "gpu0"]
    assert [part.basis for part in buffers] == [Basis.ESTIMATED]
    assert all(part.margin_bytes > 0 for part in buffers)


def test_parameters_of_the_report() -> None:
    (one,) = run(["llama-3.2-90b-vision"], Options(gpu=("h100",))).checks
    assert (one.parameters, one.active_parameters) == (88_593_355_323, 69_503_033_344)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (Options(ctx="0"), Code.BAD_VALUE),
        (Options(ctx="8k,,16k"), Code.BAD_VALUE),
        (Options(kv="fp9"), Code.BAD_VALUE),
        (Options(kv=":q8_0"), Code.BAD_VALUE),
        (Options(parallel=0), Code.BAD_VALUE),
        (Options(images=-1), Code.BAD_VALUE),
        (Options(image_size="1024"), Code.BAD_VALUE),
        (Options(image_size="0x768"), Code.BAD_VALUE),
        (Options(ubatch=0), Code.BAD_VALUE),
        (Options(gpu_layers=-1), Code.BAD_VALUE),
        (Options(reserve="-1"), Code.BAD_VALUE),
        (Options(runtime="nothing"), Code.UNKNOWN_RUNTIME),
    ],
)
def test_wrong_options(options: Options, code: Code) -> None:
    with pytest.raises(Problem) as problem:
        read(options)
    assert problem.value.code is code


@pytest.mark.parametrize("text", ["1024x768", " 1024 X 768 ", "1024×768"])
def test_image_size_as_read(text: str) -> None:
    asked = read(Options(image_size=text.replace(" ", "") if "X" in text else text))
    assert asked.workload.image_size == (1024, 768)


def test_options_as_read() -> None:
    asked = read(Options(quant="Q4_K_M, Q8_0", ctx="8k,max", kv="q8_0:f16,Q4_0", reserve="0", runtime="ollama@0.24.0"))
    assert asked.quants == ("Q4_K_M", "Q8_0")
    assert asked.contexts == (8192, None)
    assert asked.caches == (("q8_0", "f16"), ("q4_0", "q4_0"))
    assert asked.reserve_bytes == 0
    assert (asked.runtime, asked.version) == ("ollama", "0.24.0")


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        ("llama-2-7b", [4096]),
        ("qwen2.5-7b", [4096, 8192, 16384, 32768]),
        ("llama-3.1-8b", [4096, 8192, 16384, 32768, 65536, 131072]),
        ("qwen3.5-27b", [4096, 8192, 16384, 32768, 65536, 131072]),  # trained for 262,144
    ],
)
def test_the_grid_has_every_usual_context_once(model: str, columns: list[int]) -> None:
    found = run([model], Options(gpu=("4090",), quant="Q4_K_M"))
    assert [cell.context_tokens for cell in found.checks[0].machines[0].cells] == columns
