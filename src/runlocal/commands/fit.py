"""`runlocal fit`: which of the models we know run on a machine, each at its finest quantization."""

from collections.abc import Callable, Sequence

from runlocal.catalog.bundle import data_date
from runlocal.catalog.models import index, licence_called
from runlocal.catalog.names import normal
from runlocal.commands.machines import one_machine
from runlocal.commands.models import matches
from runlocal.commands.options import Options, read
from runlocal.commands.unused import on_machines, typed
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.listing import Column, Fact, Form, Listing, Page, Section, Value
from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.units import context_text
from runlocal.core.verdict import Answer
from runlocal.runtimes import RUNTIMES, is_priced
from runlocal.solve.asked import HEADLINE_TOKENS, Asked
from runlocal.solve.fit import Fit, Fitting
from runlocal.solve.ranking import ranking
from runlocal.solve.tables import rows

SHOWN = 25
"""Models that a person sees at first."""

_MOST_SPEED = 1e9
_FEW = 12  # names that a hint can list
_MANY = 100  # models that are worth a word before they are opened one by one
_TIGHT = " !"
_ALLOWED, _NOT_READ = "allowed", "not read"  # as data/licenses.toml has it

_ID, _SIZE, _QUANT = Column("id", "id"), Column("parameters", "size", Form.PARAMETERS, extra=True), Column("quant", "quant")
_MARKED = Column("quant_marked", "quant")
_NEEDS, _UP_TO = Column("need_bytes", "needs", Form.GIB, extra=True), Column("fits_context_tokens", "up to", Form.LONGEST)
_RELEASED = Column("released", "released", extra=True)
_USE = Column("use", "comm.", extra=True)
_SPEED = Column("speed", "est. t/s", Form.NUMBER, extra=True)
_DATA = (
    _ID,
    Column("name", "name"),
    Column("family", "family"),
    Column("vendor", "vendor"),
    Column("variant", "variant"),
    _RELEASED,
    Column("modalities", "modalities"),
    Column("license", "licence"),
    Column("commercial", "commercial use"),
    Column("commercial_use", "commercial"),
    _SIZE,
    Column("active_parameters", "active", Form.PARAMETERS),
    _QUANT,
    Column("bits_per_weight", "bits", Form.NUMBER),
    Column("tensor_bytes", "weights", Form.GIB),
    Column("runtime", "runtime"),
    Column("runtime_version", "version"),
    Column("context_tokens", "context", Form.TOKENS),
    Column("answer", "answer", Form.ANSWER),
    _NEEDS,
    Column("host_need_bytes", "host", Form.GIB),
    _UP_TO,
    Column("context_longest_tokens", "longest", Form.TOKENS),
    Column("tokens_per_second_least", "t/s at least", Form.NUMBER),
    Column("tokens_per_second_most", "t/s at most", Form.NUMBER),
    Column("tokens_per_second_basis", "t/s are"),
)


class Wanted(NamedTuple):
    """Which models are asked about; empty and None: all.

    query: words, as of `models`
    families, variants: as typed, comma-separated
    vision: those that see
    commercial: those whose licence allows commercial use, under conditions or without
    min_speed: tokens per second that the slower end of the estimate reaches
    """

    query: str = ""
    families: str | None = None
    variants: str | None = None
    vision: bool = False
    commercial: bool = False
    min_speed: float | None = None


class Found(NamedTuple):
    """The report: `shown` for people, `all` for tables of other programs, `whole` for JSON; what else to say; the answer as an exit code."""

    shown: Listing
    all: Listing
    whole: Page
    hints: tuple[str, ...]
    exit: Exit


def run(wanted: Wanted, options: Options, tell: Callable[[str], None], *, most: int | None = SHOWN, for_people: bool = True) -> Found:
    """The models that fit, the best first. Raises Problem.

    tell: is told what takes long, before it does
    most: how many `shown` has; None: all
    for_people: `shown` is what is read, so that nothing beyond it has to be worked out
    """
    asked = _asked(wanted, options)
    place = one_machine(options, "fit")
    machine = place.machine
    chosen = _chosen(wanted)
    fit = Fit(asked, machine, rows(machine, tell, vision=options.vision))
    if not fit.remembers and len(chosen) > _MANY:
        tell("Models are laid out for this question, which takes some seconds.")
    ranked = ranking(fit, chosen, wanted.min_speed, most if for_people else None)
    if not fit.judged and fit.problem is not None:
        raise fit.problem
    lines = [_row(found, fit.longest(found)) for found in ranked.best]
    fitting = len(ranked.best) + ranked.others
    notes = _notes(wanted, asked, machine, len(chosen) - fit.judged, ranked.best, chosen_none=not chosen)
    title = _title(asked, machine, fitting, len(chosen))
    idle = on_machines(typed(options), asked.workload, (machine,))
    more = (f"{ranked.others:,} more: --all lists them.",) if ranked.others else ()
    everything = Listing("models", title, _DATA, tuple(lines), notes)
    return Found(
        shown=Listing("fit", title, _columns(ranked.best), tuple(lines), (*more, *notes)),
        all=everything,
        whole=Page("fit", title, (Section("machine", _facts(asked, machine, len(chosen), fitting)),), (everything,), (*notes, *idle)),
        hints=(*((place.hint,) if place.hint else ()), *idle),
        exit=Exit.YES if fitting else Exit.NO,
    )


def _asked(wanted: Wanted, options: Options) -> Asked:
    asked = read(options)
    if asked.runtime is not None and not is_priced(asked.runtime):
        hint = f"computed: {', '.join(RUNTIMES)}; without -r each model runs in what loads it"
        raise Problem(Code.NOT_COMPUTED, f"what {asked.runtime} takes is not computed in this version", hint=hint)
    for option, values in (("--ctx", asked.contexts), ("--kv", asked.caches)):
        if values is not None and len(values) > 1:
            raise Problem(Code.BAD_VALUE, f"{option}: fit is asked about one value", hint="ask once per value")
    if wanted.vision and not options.vision:
        raise Problem(Code.BAD_VALUE, "--vision wants models that see, and --no-vision leaves what they see with out", hint="leave one of them out")
    if wanted.min_speed is not None and not 0 < wanted.min_speed <= _MOST_SPEED:
        raise Problem(Code.BAD_VALUE, f"--min-speed {wanted.min_speed:g} is no number of tokens per second")
    return asked


def _chosen(wanted: Wanted) -> list[str]:
    """Ids of the models asked about."""
    models = index()
    words = normal(wanted.query).split()
    families = _named("--family", wanted.families, [str(entry["family"]) for entry in models.values()])
    variants = _named("--variant", wanted.variants, [str(entry["variant"]) for entry in models.values()])
    return [
        model_id
        for model_id, entry in models.items()
        if (not words or matches(words, model_id, entry))
        and (families is None or entry["family"] in families)
        and (variants is None or entry["variant"] in variants)
        and (not wanted.vision or "vision" in entry["modalities"])
        and (not wanted.commercial or _commercial(model_id).startswith(_ALLOWED))
    ]


def _commercial(model_id: str) -> str:
    return licence_called(str(index()[model_id]["license"])).commercial


def _use(model_id: str) -> str | None:
    """`yes`, `conditions`, `no`; None where nobody here has read the licence."""
    said = _commercial(model_id)
    if said == _ALLOWED:
        return "yes"
    return "conditions" if said.startswith(_ALLOWED) else None if said == _NOT_READ else "no"


def _named(option: str, typed: str | None, names: Sequence[str]) -> set[str] | None:
    """The names that were typed, whatever their case, dots and hyphens. Raises Problem with the nearest."""
    if typed is None:
        return None
    known = {normal(name): name for name in names}
    found = set()
    for one in typed.split(","):
        if normal(one) not in known:
            from difflib import get_close_matches

            near = tuple(known[name] for name in get_close_matches(normal(one), known, n=5, cutoff=0.5))
            hint = f"known: {', '.join(sorted(known.values()))}" if len(known) <= _FEW else "`runlocal models --json` has every family"
            raise Problem(Code.BAD_VALUE, f"{option} {one[:40]!r} is none", hint=hint, candidates=near)
        found.add(known[normal(one)])
    return found


def _row(found: Fitting, longest_tokens: int) -> dict[str, Value]:
    entry = index()[found.model_id]
    gpus = bool(found.load.gpus)
    speed = found.speed
    return {
        "id": found.model_id,
        "name": entry["name"],
        "family": entry["family"],
        "vendor": entry["vendor"],
        "variant": entry["variant"],
        "released": entry["released"],
        "modalities": tuple(entry["modalities"]),
        "license": entry["license"],
        "commercial": _commercial(found.model_id),
        "commercial_use": _use(found.model_id),
        "use": {"conditions": "terms"}.get(_use(found.model_id) or "", _use(found.model_id)),
        "parameters": found.parameters,
        "active_parameters": found.active_parameters,
        "quant": found.recipe.name,
        "quant_marked": found.recipe.name + (_TIGHT if found.answer is Answer.TIGHT else ""),
        "bits_per_weight": round(found.bits_per_weight, 4),
        "tensor_bytes": found.tensor_bytes,
        "runtime": found.runtime,
        "runtime_version": found.version,
        "context_tokens": found.context_tokens,
        "answer": found.answer,
        "need_bytes": sum(found.load.gpus) if gpus else found.load.host,
        "host_need_bytes": found.load.host,
        "fits_context_tokens": longest_tokens,
        "context_longest_tokens": found.longest_tokens,
        "tokens_per_second_least": speed.rounded[0] if speed else None,
        "tokens_per_second_most": speed.rounded[1] if speed else None,
        "tokens_per_second_basis": speed.basis if speed else None,
        "speed": speed.text if speed else None,
    }


def _columns(shown: Sequence[Fitting]) -> tuple[Column, ...]:
    """What people see: the speed where any is known."""
    speed = (_SPEED,) if any(found.speed for found in shown) else ()
    return (_ID, _SIZE, _MARKED, _NEEDS, _UP_TO, *speed, _USE, _RELEASED)


def _title(asked: Asked, machine: Machine, fitting: int, chosen: int) -> str:
    tokens = HEADLINE_TOKENS if asked.contexts is None else asked.contexts[0]
    context = "their longest context" if tokens is None else f"a context of {context_text(tokens)}"
    return f"{fitting:,} of {chosen:,} model{'' if chosen == 1 else 's'} run on {machine.label} with {context}"


def _facts(asked: Asked, machine: Machine, chosen: int, fitting: int) -> tuple[Fact, ...]:
    return (
        Fact("data", "data of", data_date()),
        Fact("machine", "machine", machine.label),
        Fact("origin", "known from", machine.origin),
        Fact("gpu_count", "GPUs", len(machine.gpus)),
        Fact("usable_bytes", "usable", machine.usable_bytes, Form.GIB),
        Fact("host_memory_bytes", "host memory", machine.host_bytes, Form.GIB),
        Fact("context_tokens", "context", HEADLINE_TOKENS if asked.contexts is None else asked.contexts[0], Form.TOKENS),
        Fact("sequences", "sequences", asked.workload.sequences),
        Fact("models_asked", "asked about", chosen),
        Fact("models_fit", "fit", fitting),
    )


def _notes(wanted: Wanted, asked: Asked, machine: Machine, not_judged: int, fitting: Sequence[Fitting], *, chosen_none: bool) -> tuple[str, ...]:
    notes = []
    if fitting:
        notes.append("Each at the finest quantization that fits, the largest model first; what fits below 4 bits per weight alone stands last.")
    if any(found.answer is Answer.TIGHT for found in fitting):
        notes.append(f"{_TIGHT.strip()} tight: it fits, and less than the reserve stays free; --strict leaves these out.")
    if asked.contexts is None and any(found.context_tokens < HEADLINE_TOKENS for found in fitting):
        notes.append(f"A model trained for less than {context_text(HEADLINE_TOKENS)} is asked about at its own length.")
    if any(found.speed for found in fitting):
        notes.append("t/s: tokens per second, estimated, for one sequence whose context is full.")
    if wanted.min_speed is not None:
        notes.append(f"At least {wanted.min_speed:g} tokens per second at the slower end of the estimate; where no speed is known a model is left out.")
    if fitting:
        notes.append("comm.: commercial use by the licence; terms: under conditions, which `runlocal show ID` has; ?: nobody here has read it.")
    if wanted.commercial:
        unread = sum(_commercial(model_id) == _NOT_READ for model_id in _chosen(wanted._replace(commercial=False)))
        if unread:
            notes.append(f"{unread:,} left out because nobody here has read the licence.")
    if not_judged:
        named = "" if asked.quants is None else ", or they do not come in that quantization"
        notes.append(f"{not_judged:,} could not be judged: no runtime whose memory is computed loads them{named}.")
    if chosen_none:
        notes.append("No model matches. `runlocal models` lists them all.")
    elif not fitting and wanted.min_speed is not None and not machine.gpus and machine.host_bandwidth_bytes is None:
        notes.append("No speed is estimated without a GPU as long as --ram-bandwidth does not say what the memory delivers.")
    elif not fitting and wanted.min_speed is not None and machine.gpus and all(gpu.bandwidth_bytes is None for gpu in machine.gpus):
        notes.append("No speed is estimated for this machine: leave --min-speed out.")
    elif not fitting:
        notes.append("A shorter --ctx, --kv q8_0 or more memory may change that.")
    if machine.gpus and machine.host_bytes is not None:
        notes.append("Host memory takes no part of a model here; `runlocal check MODEL` with the same options says what it can take.")
    return (*notes, *machine.notes)
