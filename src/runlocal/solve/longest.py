"""The longest context that fits."""

from functools import lru_cache

from runlocal.core.machine import Machine
from runlocal.core.verdict import Answer, judge
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime

_STEP_TOKENS = 256  # llama.cpp pads contexts to this


@lru_cache(maxsize=512)
def longest_context(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, left_free: tuple[int, ...]) -> int:
    """Tokens of one sequence at which the quantization still fits with the reserve free, a multiple of 256; 0 if none.

    workload: its context does not matter and should be one value for all cells, so that a grid asks once per quantization.
    """
    least, most, found = 1, max(1, runtime.longest_context() // _STEP_TOKENS), 0
    while least <= most:
        # The longest first: most questions are answered by it.
        middle = most if found == 0 and least == 1 and most * _STEP_TOKENS >= runtime.longest_context() else (least + most + 1) // 2
        tokens = middle * _STEP_TOKENS
        if _fits(runtime, recipe, workload._replace(context_tokens=tokens, pool_tokens=None), machine, left_free):
            least, found = middle + 1, tokens
        else:
            most = middle - 1
    return found


def _fits(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, left_free: tuple[int, ...]) -> bool:
    if runtime.refuses(recipe, workload, machine):
        return False
    placement = runtime.placement(workload, machine)
    return judge(runtime.parts(recipe, workload, placement, machine), machine, left_free) is Answer.FITS and (not machine.gpus or placement.all_on_gpus)
