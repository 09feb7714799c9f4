"""The grid: a model at every asked-for quantization, context and cache type on one machine, and the cell of it that the first line is about."""

from collections.abc import Sequence

from runlocal.core.machine import Machine
from runlocal.core.report import Cell, MachineCheck
from runlocal.core.verdict import Answer
from runlocal.runtimes import Runtime, is_priced
from runlocal.solve.asked import HEADLINE_QUANT, HEADLINE_TOKENS, USUAL_CONTEXTS, Asked
from runlocal.solve.cell import judge_cell
from runlocal.solve.support import does_not_load


def cells(runtime: Runtime, asked: Asked, machine: Machine) -> tuple[Cell, ...]:
    """Every asked-for cell, by quantization, then context, then cache type."""
    refusal = does_not_load(runtime.model, runtime)
    found = []
    for name in asked.quants or runtime.usual_quants():
        recipe = runtime.recipe(name, asked.imatrix)
        for tokens in contexts(runtime, asked):
            for key_type, value_type in asked.caches:
                workload = asked.workload._replace(context_tokens=tokens, cache_type_k=key_type, cache_type_v=value_type)
                found.append(judge_cell(runtime, recipe, workload, machine, asked.reserve_bytes, refusal))
    return tuple(found)


def contexts(runtime: Runtime, asked: Asked) -> tuple[int, ...]:
    """The columns of the grid, in tokens."""
    native = runtime.model.context.native_tokens
    if asked.contexts is not None:
        return tuple(dict.fromkeys(native if tokens is None else tokens for tokens in asked.contexts))
    return (*(tokens for tokens in USUAL_CONTEXTS if tokens < native), *((native,) if native <= USUAL_CONTEXTS[-1] else ()))


def headline_quant(runtime: Runtime) -> str:
    """The quantization of which people speak where none is named; a checkpoint's own type in what does not load GGUF files."""
    return HEADLINE_QUANT if is_priced(runtime.id) else runtime.usual_quants()[0]


def headline(found: Sequence[Cell], asked: Asked, columns: Sequence[int]) -> Cell:
    """The cell that the first line is about: the finest quantization that fits at the headline context, else `Q4_K_M`.

    Where that does not even go with host memory, the finest of those that do.
    """
    tokens = columns[0] if asked.contexts is not None else min(HEADLINE_TOKENS, max(columns))
    column = [cell for cell in found if cell.context_tokens == tokens] or list(found)
    for wanted in (Answer.FITS, Answer.TIGHT):
        if yes := [cell for cell in column if cell.answer is wanted]:
            return max(yes, key=lambda cell: cell.bits_per_weight or 0)
    usual = next((cell for cell in column if cell.quant == HEADLINE_QUANT), column[0])
    spilling = [cell for cell in column if cell.answer is Answer.SPILLS]
    if usual.answer is Answer.SPILLS or not spilling:
        return usual
    return max(spilling, key=lambda cell: cell.bits_per_weight or 0)


def asked_cells(one: MachineCheck, asked: Asked) -> tuple[Cell, ...]:
    """The cells that the question is about: all that were named; where no context was, those at the headline's."""
    if asked.contexts is not None:
        return one.cells
    return tuple(cell for cell in one.cells if cell.context_tokens == one.headline.context_tokens)
