"""A model opened in a runtime, the one asked for or the one that loads it; as a draft of another; as one that already runs."""

from runlocal.architectures import has_gguf
from runlocal.catalog.facts import facts
from runlocal.catalog.runtimes import all_support, auto, newest_known, support
from runlocal.core.errors import Code, Problem
from runlocal.core.model import ModelSpec
from runlocal.core.workload import Workload
from runlocal.engines.ggml.draft import Draft
from runlocal.engines.ggml.files import OwnTensors
from runlocal.runtimes import RUNTIMES, Runtime, is_priced, open_runtime
from runlocal.solve.asked import HEADLINE_QUANT, HEADLINE_TOKENS, Asked
from runlocal.solve.beside import Running
from runlocal.solve.grid import headline_quant
from runlocal.solve.support import ON_GGML, does_not_load

_LLAMA_CPP = "llama.cpp"
_WHAT_ELSE = f"`runlocal show {{}}` says what is known; computed: {', '.join(RUNTIMES)}"


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
    version = asked.version if asked.runtime == _LLAMA_CPP else None
    runtime = open_for(model, _LLAMA_CPP, version, own)
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
