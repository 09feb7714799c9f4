"""The longest context that fits."""

from functools import lru_cache

from runlocal.core.machine import Machine
from runlocal.core.verdict import slack
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Judgeable
from runlocal.solve.search import last_that_fits
from runlocal.solve.split import even_left, lay_best

_STEP_TOKENS = 256  # llama.cpp pads contexts to this


@lru_cache(maxsize=512)
def longest_context(
    runtime: Judgeable, recipe: Recipe, workload: Workload, machine: Machine, left_free: tuple[int, ...], known_tokens: tuple[int, ...] = ()
) -> int:
    """Tokens of one sequence at which the quantization still fits with the reserve free, a multiple of 256; 0 if none.

    workload: its context does not matter and should be one value for all cells, so that a grid asks once per quantization.
    known_tokens: contexts, in order, whose load costs nothing to ask for: the search is between two of them
    """
    most = runtime.longest_context() // _STEP_TOKENS
    if most < 1 or runtime.refuses(recipe, _at(workload, 1), machine):
        return 0
    if machine.gpus and not runtime.placement(workload, machine).nothing_on_host:
        return 0

    def left(steps: int) -> int:
        laid = lay_best(runtime, recipe, _at(workload, steps), machine, left_free)
        least = slack(laid.load, machine, left_free)
        if len(machine.gpus) < 2:
            return least
        # Layers are shared out evenly only where it gets tight; how full that would make the GPUs falls more evenly than how full they are.
        even = even_left(laid, machine, runtime.layer_bytes(recipe, laid.workload, laid.placement), left_free)
        # Where buffers grow as layers are shared out anew, that is not in it: the fuller of the two is nearer, and what is laid out has the last word.
        if (even >= 0) is not (least >= 0):
            return least
        return min(even, least) if least >= 0 else even

    if (at_most := left(most)) >= 0:
        return most * _STEP_TOKENS
    if (steps := _on_the_line(runtime, recipe, workload, machine, left_free, most)) is not None:
        return steps * _STEP_TOKENS
    least, at_least = 0, 0
    for steps in (tokens // _STEP_TOKENS for tokens in known_tokens if 0 < tokens < most * _STEP_TOKENS and tokens % _STEP_TOKENS == 0):
        if (free := left(steps)) < 0:
            most, at_most = steps, free
            break
        least, at_least = steps, free
    if not least:
        least, at_least = 1, left(1)
    return 0 if at_least < 0 else last_that_fits(least, most, left, at_least, at_most) * _STEP_TOKENS


def _on_the_line(runtime: Judgeable, recipe: Recipe, workload: Workload, machine: Machine, left_free: tuple[int, ...], most: int) -> int | None:
    """The last step that fits where `most` does not and need is a straight line in the context, so that nothing has to be tried; None elsewhere.

    Several GPUs share the layers out anew for every context, so there is no line.
    """
    if len(machine.gpus) != 1:
        return None
    placement = runtime.placement(workload, machine)
    tokens = runtime.straight_from(workload, placement, most * _STEP_TOKENS)
    if tokens is None:
        return None
    start = tokens // _STEP_TOKENS
    low, high = (runtime.load(recipe, _at(workload, steps), placement, machine) for steps in (start, 2 * start))
    if slack(low, machine, left_free) < 0 or low.gpu_margins != high.gpu_margins:
        return None
    # Each device has so many bytes left at `start`, and needs so many more at twice that.
    devices = [(machine.gpus[0].usable_bytes - low.gpus[0] - low.gpu_margins[0] - left_free[0], high.gpus[0] - low.gpus[0])]
    if machine.host_bytes is not None:
        devices.append((machine.host_bytes - low.host, high.host - low.host))
    # rise * steps // start <= left, for the most steps behind start.
    return start + min((((left + 1) * start - 1) // rise if rise > 0 else most) for left, rise in devices)


def _at(workload: Workload, steps: int) -> Workload:
    return workload._replace(context_tokens=steps * _STEP_TOKENS, pool_tokens=None)
