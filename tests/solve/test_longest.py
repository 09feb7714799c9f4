"""Searching for the longest context: few contexts are laid out, whatever the GPUs."""

import pytest

from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled
from runlocal.core.workload import Workload
from runlocal.solve import longest
from runlocal.solve.opening import open_for
from runlocal.solve.split import Laid, lay_best


# Of 512 to 4,096 steps of 256 tokens; to lay one of them out may take a fifth of a second.
@pytest.mark.parametrize(("model", "spec", "most"), [("minimax-m3-427b-a23b", "8xh100", 8), ("qwen3-32b", "2x3090", 8), ("llama-3.3-70b", "5090+3090", 8)])
def test_few_contexts_are_tried(model: str, spec: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, machine = open_for(bundled(model), None, None), parse_machine(spec)
    recipe, workload = runtime.recipe("Q4_K_M", None), Workload(context_tokens=0)
    tried: list[int] = []

    def counted(*asked: object) -> Laid:
        tried.append(asked[2].context_tokens)  # type: ignore[attr-defined]
        return lay_best(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(longest, "lay_best", counted)
    left_free = runtime.reserves(workload, machine)
    found = longest.longest_context.__wrapped__(runtime, recipe, workload, machine, left_free)
    assert found + 256 in tried and found in tried
    assert len(tried) <= most
