"""`runlocal check`: does it fit, which quantizations, how long a context."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runlocal.commands import machines as asked_machines
from runlocal.commands import unused
from runlocal.commands.options import MOST_BESIDE, Options, context_tokens, read, spelled
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.core.report import Check
from runlocal.core.verdict import is_yes
from runlocal.engines.ggml.draft import Draft
from runlocal.engines.ggml.files import OwnTensors
from runlocal.quants.gguf import typed_name
from runlocal.solve.asked import Asked
from runlocal.solve.beside import Running
from runlocal.solve.check import check
from runlocal.solve.opening import open_draft, open_for, open_running

if TYPE_CHECKING:
    from runlocal.solve.advice import Speller


_HUBS = ("huggingface.co/", "www.huggingface.co/", "hf.co/")


class Found(NamedTuple):
    """The reports, what else to say, and the answer as an exit code."""

    checks: tuple[Check, ...]
    hints: tuple[str, ...]
    exit: Exit


def run(names: Sequence[str], options: Options, *, for_people: bool = True) -> Found:
    """A report per model. Raises Problem.

    for_people: what has nothing to act on is among the hints alone; else it is a warning of every cell too
    """
    asked = read(options)
    places = asked_machines.machines(options)
    draft = draft_named(options.draft, None, asked) if options.draft is not None else None
    others = running(options.beside, asked)
    given = unused.typed(options)
    idle = unused.on_machines(given, asked.workload, [place.machine for place in places])
    hints = [place.hint for place in places if place.hint]
    checks = []
    for name in names:
        opened = open_model(name)
        found = check(
            opened.model,
            asked,
            [place.machine for place in places],
            _speller(name if opened.from_path else opened.model.id, places[0].options),
            opened.own,
            draft,
            others,
        )
        said = (*idle, *unused.of_model(given, opened.model, asked.workload), *_same_files(given, asked, opened, found))
        hints += said
        checks.append((found if for_people else _warned(found, said))._replace(notes=(*opened.notes, *found.notes)))
    yes = any(one.answer is not None and is_yes(one.answer, strict=asked.strict, offload=asked.offload) for one in checks)
    return Found(tuple(checks), tuple(dict.fromkeys(hints)), Exit.YES if yes else Exit.NO)


def _same_files(given: Mapping[str, str], asked: Asked, opened: "Opened", found: Check) -> tuple[str, ...]:
    cell = found.machines[0].headline
    if "imatrix" not in given or not asked.quants or cell.tensor_bytes is None:
        return ()
    return unused.of_files(given, asked.quants, open_for(opened.model, cell.runtime, cell.runtime_version, opened.own))


def _warned(found: Check, said: tuple[str, ...]) -> Check:
    """The report with the sentences among every cell's warnings."""
    machines = (one._replace(cells=tuple(cell._replace(warnings=(*cell.warnings, *said)) for cell in one.cells)) for one in found.machines)
    return found._replace(machines=tuple(machines)) if said else found


def _speller(typed: str, options: Options) -> "Speller":
    """Spells the command line that asks the same of the first machine with some options changed, or of another model."""

    def spell(change: Mapping[str, Any], other: str | None) -> str:
        if more := change.get("ignore_pid"):
            change = {**change, "ignore_pid": (*options.ignore_pid, *more)}
        return spelled(other or typed, options._replace(**change))

    return spell


class Opened(NamedTuple):
    """What a name or path means.

    notes: what to know about it, a sentence each
    own: of a GGUF file, its quantization and the tensors that it really holds
    from_path: a file or folder was named, which another question has to name again
    """

    model: ModelSpec
    notes: tuple[str, ...] = ()
    own: OwnTensors | None = None
    from_path: bool = False


def open_model(name: str) -> Opened:
    """The model: an exact id or alias, else a file or folder, else a name that means one model however it is typed. Raises Problem."""
    from runlocal.catalog.models import alias_variant, find_model, is_exact

    name = _without_address(name)
    if not is_exact(name):
        from runlocal import sources

        if sources.is_path(name):
            return _open_file(name)._replace(from_path=True)
    model = find_model(name)
    notes = [model.note] if model.note else []
    if alias_variant(model, name) == "base":
        notes.append("These are base weights: they complete text and have no chat template.")
    return Opened(model, tuple(notes))


def _without_address(name: str) -> str:
    """`Qwen/Qwen3-8B` of an address on Hugging Face as it is copied from a browser; any other name as it stands."""
    path = name.removeprefix("https://").removeprefix("http://")
    for host in _HUBS:
        if path.startswith(host):
            return "/".join(path.removeprefix(host).split("/")[:2])
    return name


def draft_named(text: str, quant: str | None, asked: Asked) -> Draft:
    """The draft model of `--draft MODEL[@QUANT]`; `quant` where it stands apart. Raises Problem."""
    name, named, context = parted(text)
    if context is not None:
        raise Problem(Code.BAD_VALUE, "a draft model has the context of the model that it drafts for", hint=f"leave @{context[:20]} out")
    if named and quant and typed_name(named, ()) != typed_name(quant, ()):
        raise Problem(Code.BAD_VALUE, f"the draft model is asked for at {named[:40]!r} and at {quant[:40]!r}", hint="name its quantization once")
    opened = open_model(name)
    return open_draft(opened.model, named or quant or None, asked, opened.own)


def running(texts: Sequence[str], asked: Asked) -> tuple[Running, ...]:
    """The models of `--with MODEL[@QUANT][@CTX]`. Raises Problem."""
    if len(texts) > MOST_BESIDE:
        raise Problem(Code.BAD_VALUE, f"--with: {len(texts)} models are more than the {MOST_BESIDE} that are computed beside one another")
    return tuple(_running(text, asked) for text in texts)


def _running(text: str, asked: Asked) -> Running:
    name, quant, context = parted(text)
    opened = open_model(name)
    tokens = None
    if context is not None:
        tokens = opened.model.context.native_tokens if context == "max" else context_tokens("--with", context)
    return open_running(opened.model, quant or None, tokens, asked, opened.own)


def parted(text: str) -> tuple[str, str, str | None]:
    """MODEL, QUANT (empty: none) and CTX of `MODEL[@QUANT][@CTX]`; an `@` in the path of a file is the path's."""
    folder, slash, last = text.rpartition("/")
    if last.lower().endswith((".gguf", ".json")):
        return text, "", None
    name, *rest = last.split("@")
    context = rest.pop().strip().lower() if rest and (rest[-1].strip()[:1].isdecimal() or rest[-1].strip().lower() == "max") else None
    return folder + slash + name, "@".join(rest), context  # no quantization begins with a digit


def _open_file(path: str) -> Opened:
    from runlocal import sources
    from runlocal.architectures import layout
    from runlocal.catalog.facts import storage_types

    found = sources.read(path)
    own = None
    if found.header is not None and found.quant:
        laid = layout(found.spec)
        own = OwnTensors(path, found.quant, sources.gguf.stored(found.header, storage_types(), laid.layers, laid.loaded_ahead))
    return Opened(found.spec, found.warnings, own)
