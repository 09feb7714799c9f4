"""`check`: a model on machines, the whole grid, its headline, and what would change a no."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runlocal.architectures import has_gguf, layout
from runlocal.catalog.bundle import data_date
from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled, licence
from runlocal.catalog.runtimes import all_support, auto, newest_known, support
from runlocal.core.errors import Code, Problem
from runlocal.core.machine import Machine, Origin
from runlocal.core.model import ModelSpec
from runlocal.core.report import Advice, Cell, Check, MachineCheck, Shelf
from runlocal.core.verdict import Answer, best, is_yes
from runlocal.core.workload import Workload
from runlocal.engines.ggml.draft import Draft
from runlocal.engines.ggml.files import OwnTensors
from runlocal.runtimes import RUNTIMES, Runtime, is_priced, open_runtime
from runlocal.solve.asked import HEADLINE_QUANT, HEADLINE_TOKENS, Asked
from runlocal.solve.beside import Running, beside, counted_twice
from runlocal.solve.grid import asked_cells, cells, contexts, headline, headline_quant
from runlocal.solve.load import ON_GGML, does_not_load

LLAMA_CPP = "llama.cpp"
_WHAT_ELSE = f"`runlocal show {{}}` says what is known; computed: {', '.join(RUNTIMES)}"

if TYPE_CHECKING:
    from runlocal.solve.advice import Speller


def open_for(model: ModelSpec, runtime_id: str | None, version: str | None, own: OwnTensors | None = None, draft: Draft | None = None) -> Runtime:
    """The model in the runtime asked for, else in the one that loads it. Raises Problem (not_computed).

    own: the tensors of a file, in place of what a recipe would store
    draft: runs beside it where a workload says so
    """
    if runtime_id is None:
        chosen = auto(model.architecture, model.hf_architecture, model.vision is not None)
        if chosen is None or chosen[0] not in RUNTIMES or (chosen[0] in ON_GGML and not has_gguf(model)):
            raise _not_priced(model)
        runtime_id, version = chosen
    version = version or newest_known(runtime_id)
    runtime = open_runtime(runtime_id, version, model, facts(runtime_id, version))
    if own is not None:
        runtime.adopt(own)
    if not is_priced(runtime_id) and (known := support(runtime_id, model.architecture, model.hf_architecture, model.vision is not None)).loads is None:
        raise Problem(Code.NOT_COMPUTED, f"whether {known.name} loads {model.id} ({model.architecture}) is not known", hint=_WHAT_ELSE.format(model.id))
    if draft is not None:
        runtime.take_draft(draft)
    return runtime


def _not_priced(model: ModelSpec) -> Problem:
    """Nothing that is priced loads the model: says what does."""
    found = [one.name for one in all_support(model.architecture, model.hf_architecture, model.vision is not None) if one.loads]
    if not found:
        what = f"no runtime that we know of loads {model.id} ({model.architecture})"
        return Problem(Code.NOT_COMPUTED, what, hint="`-r RUNTIME` prices it in one all the same")
    return Problem(
        Code.NOT_COMPUTED,
        f"{model.id} is loaded by {', '.join(found)}; what they take is not computed in this version",
        hint=_WHAT_ELSE.format(model.id),
    )


def open_draft(model: ModelSpec, quant: str | None, asked: Asked, own: OwnTensors | None = None) -> Draft:
    """A draft model in llama.cpp; its quantization is the file's own where none is named, else `Q4_K_M`. Raises Problem."""
    version = asked.version if asked.runtime == LLAMA_CPP else None
    runtime = open_for(model, LLAMA_CPP, version, own)
    recipe = runtime.recipe(quant or (own.quant if own else HEADLINE_QUANT), asked.imatrix)
    return Draft(runtime, recipe, runtime.file(recipe), does_not_load(model, runtime))


def open_running(model: ModelSpec, quant: str | None, tokens: int | None, asked: Asked, own: OwnTensors | None = None) -> Running:
    """A model that already runs: `Q4_K_M`, or a file's own, where no quantization is named; one sequence, every option at its default. Raises Problem.

    tokens: its context; None: the first that is asked about, else the headline's, at most what it was trained for
    """
    runtime = open_for(model, asked.runtime, asked.version, own)
    recipe = runtime.recipe(quant or (own.quant if own else headline_quant(runtime)), None)
    usual = (asked.contexts[0] or model.context.native_tokens) if asked.contexts else HEADLINE_TOKENS
    return Running(runtime, recipe, Workload(context_tokens=min(usual, model.context.native_tokens) if tokens is None else tokens))


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


def counts(model: ModelSpec) -> tuple[int, int]:
    """Parameters with the tower's, and those that are read for one text token."""
    laid = layout(model)
    return laid.parameters() + model.tower_parameters, laid.active_parameters(model.text.experts.used if model.text.experts else 0)


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
