"""Models of which there is only the checkpoint: nothing that runs GGUF files prices one, and the error names what loads it."""

import pytest

from runlocal.architectures import has_gguf
from runlocal.catalog.models import bundled, index
from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.verdict import Answer
from runlocal.solve.opening import open_for
from runlocal.solve.relatives import relatives

ONLY = [model_id for model_id in sorted(index()) if not has_gguf(bundled(model_id))]


@pytest.mark.parametrize("model_id", ONLY)
def test_what_loads_it_is_named(model_id: str) -> None:
    with pytest.raises(Problem) as problem:
        open_for(bundled(model_id), None, None)
    assert problem.value.code is Code.NOT_COMPUTED
    assert problem.value.message.startswith(f"{model_id} is loaded by ")


def test_florence_2_is_loaded_by_what_its_rows_say() -> None:
    with pytest.raises(Problem) as problem:
        open_for(bundled("florence-2-large"), None, None)
    assert problem.value.message == "florence-2-large is loaded by transformers, mlx-vlm, LM Studio; what they take is not computed in this version"
    assert "runlocal show florence-2-large" in problem.value.hint


@pytest.mark.parametrize("runtime", ["llama.cpp", "ollama"])
@pytest.mark.parametrize("model_id", ONLY)
def test_no_figure_of_a_file_that_there_is_not(model_id: str, runtime: str) -> None:
    found = run([model_id], Options(gpu=("4090",), quant="Q4_K_M,Q8_0", ctx="4k", runtime=runtime))
    assert found.exit is Exit.NO
    (report,) = found.checks
    for cell in report.machines[0].cells:
        assert cell.answer is Answer.CANNOT_RUN
        assert model_id in cell.reason
        assert (cell.tensor_bytes, cell.bits_per_weight, cell.need_bytes, cell.parts, cell.command) == (None, None, None, (), None)


def test_a_model_that_another_priced_runtime_loads_has_its_figures() -> None:
    """Llama 3.2 Vision in llama.cpp: Ollama's file of it exists."""
    (report,) = run(["llama-3.2-11b-vision"], Options(gpu=("4090",), quant="Q4_K_M", ctx="4k", runtime="llama.cpp")).checks
    assert report.machines[0].cells[0].answer is Answer.CANNOT_RUN
    assert report.machines[0].cells[0].tensor_bytes


def test_none_is_worth_comparing() -> None:
    """What nothing priced runs would be a line without a figure."""
    compared = {one.id for model_id in index() for one in relatives(bundled(model_id)).compared}
    assert compared and not compared & set(ONLY)
