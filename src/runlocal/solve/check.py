"""`check`: a model on machines, the whole grid, its headline, and what would change a no."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runlocal.architectures import counts
from runlocal.catalog.bundle import data_date
from runlocal.catalog.models import bundled, licence
from runlocal.catalog.runtimes import all_support
from runlocal.core.errors import Problem
from runlocal.core.machine import Machine, Origin
from runlocal.core.model import ModelSpec
from runlocal.core.report import Advice, Cell, Check, MachineCheck, Shelf
from runlocal.core.verdict import Answer, best, is_yes
from runlocal.engines.ggml.draft import Draft
from runlocal.engines.ggml.files import OwnTensors
from runlocal.runtimes import Runtime, is_priced
from runlocal.solve.asked import Asked
from runlocal.solve.beside import Running, beside, counted_twice
from runlocal.solve.grid import asked_cells, cells, contexts, headline
from runlocal.solve.opening import open_for

if TYPE_CHECKING:
    from runlocal.solve.advice import Speller


def check(
    model: ModelSpec,
    asked: Asked,
    machines: Sequence[Machine],
    spell: "Speller",
    own: OwnTensors | None = None,
    draft: Draft | None = None,
    others: Sequence[Running] = (),
) -> Check:
    """The report of `runlocal check` for one model.

    own: the tensors of a file, in place of what a recipe would store
    draft: the draft model that is asked for
    others: models that already run
    spell: writes the command line of a piece of advice
    """
    runtime = beside(open_for(model, asked.runtime, asked.version, own, draft), others)
    checked = tuple(_on_machine(runtime, asked, _noted(runtime, asked, machine, own, others)) for machine in machines)
    answers = [cell.answer for one in checked for cell in asked_cells(one, asked) if cell.answer is not None]
    answer = best(answers) if answers else None
    answered = answer is None or is_yes(answer, strict=asked.strict, offload=asked.offload) or not is_priced(runtime.id)
    advice = () if answered else _advice(runtime, checked[0], asked, spell)
    return _report(model, checked, contexts(runtime, asked), advice, answer)


def _report(model: ModelSpec, checked: tuple[MachineCheck, ...], columns: tuple[int, ...], advice: tuple[Advice, ...], answer: Answer | None) -> Check:
    """The report, with what is known of the model whatever was asked."""
    parameters, active = counts(model)
    return Check(
        model=model,
        license=licence(model),
        parameters=parameters,
        active_parameters=active,
        runtimes=all_support(model.architecture, model.hf_architecture, model.vision is not None),
        machines=checked,
        asked_contexts=columns,
        advice=advice,
        answer=answer,
        data=data_date(),
    )


def _on_machine(runtime: Runtime, asked: Asked, machine: Machine) -> MachineCheck:
    found = cells(runtime, asked, machine)
    chosen = headline(found, asked, contexts(runtime, asked))
    needs_shelf = machine.origin is Origin.HERE and not machine.gpus and chosen.parts
    return MachineCheck(
        machine=machine,
        cells=found,
        headline=chosen,
        shelf=_shelf(runtime, chosen, asked) if needs_shelf else None,
    )


def _noted(runtime: Runtime, asked: Asked, machine: Machine, own: OwnTensors | None, others: Sequence[Running]) -> Machine:
    """The machine, with a note where the model, or one that is said to run beside it, runs there already."""
    if not machine.holders:
        return machine
    from runlocal.solve.running import running

    note = running(runtime, asked, machine, own.path.replace("\\", "/").rsplit("/", 1)[-1] if own else None)
    return machine._replace(notes=(*machine.notes, *((note,) if note else ()), *counted_twice(others, machine)))


def _advice(runtime: Runtime, one: MachineCheck, asked: Asked, spell: "Speller") -> tuple[Advice, ...]:
    from runlocal.solve.advice import advice  # a yes needs none

    return advice(runtime, one.headline, asked, one.machine, spell, _open_twin)


def _shelf(runtime: Runtime, chosen: Cell, asked: Asked) -> Shelf:
    from runlocal.solve.shelf import shelf  # only where no GPU was found

    workload = asked.workload._replace(context_tokens=chosen.context_tokens, cache_type_k=chosen.cache_type_k, cache_type_v=chosen.cache_type_v)
    return shelf(runtime, runtime.recipe(chosen.quant, asked.imatrix), workload, asked.reserve_bytes)


def _open_twin(model_id: str) -> tuple[ModelSpec, Runtime] | None:
    twin = bundled(model_id)
    try:
        return twin, open_for(twin, None, None)
    except Problem:
        return None
