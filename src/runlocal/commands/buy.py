"""`runlocal buy MODEL`: which hardware runs it, smallest and cheapest first; or a few named machines side by side."""

from collections import Counter
from collections.abc import Iterator, Sequence

from runlocal.catalog.bundle import data_date
from runlocal.catalog.gpu_entries import GpuEntry
from runlocal.catalog.gpu_tables import VENDORS
from runlocal.catalog.gpus import entry
from runlocal.catalog.machines import parse_machine
from runlocal.commands.buy_rows import COLUMNS, COMPARED, cost_of, name_of, row_of
from runlocal.commands.check import Opened, open_model
from runlocal.commands.options import Options, read, within
from runlocal.commands.unused import of_model, typed
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.listing import Column, Fact, Form, Listing, Page, Section
from runlocal.core.machine import MOST_DEVICES, Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.speed import rate_text
from runlocal.core.units import context_text
from runlocal.core.verdict import is_yes
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime
from runlocal.solve.asked import HEADLINE_QUANT, HEADLINE_TOKENS, Asked
from runlocal.solve.buy import Offer, Question, compare, offers, refusal
from runlocal.solve.opening import open_for

_ROWS_SHOWN = 40
_MOST_COMPARED = 32


class Wanted(NamedTuple):
    """The options of `buy` that `check` has not, as typed; None: not given.

    cards: so many of a kind, no more and no fewer
    limit: rows of the table, 0: all; None: as many as one looks through
    """

    max_price: float | None = None
    vendor: str | None = None
    cards: int | None = None
    min_speed: float | None = None
    compare: str | None = None
    limit: int | None = None


class Found(NamedTuple):
    """The report: `page` for people, every row in `whole`; the answer as an exit code; what else to say."""

    page: Page
    whole: Page
    exit: Exit
    hints: tuple[str, ...] = ()


def run(name: str, options: Options, wanted: Wanted) -> Found:
    """Raises Problem."""
    asked = read(options)
    opened = open_model(name)
    question, said = _question(opened, asked)
    found = _comparison(opened, question, wanted, said) if wanted.compare is not None else _offers(opened, question, wanted, said)
    hints = of_model(typed(options), opened.model, asked.workload)
    return found._replace(whole=found.whole._replace(notes=(*found.whole.notes, *hints)), hints=hints)


def _offers(opened: Opened, question: Question, wanted: Wanted, said: list[str]) -> Found:
    vendors = _vendors(wanted.vendor)
    counts = None if wanted.cards is None else (within("--cards", wanted.cards, 1, MOST_DEVICES),)
    for option, value in (("--max-price", wanted.max_price), ("--min-speed", wanted.min_speed), ("--limit", wanted.limit)):
        if value is not None and not 0 <= value < float("inf"):
            raise Problem(Code.BAD_VALUE, f"{option} {value:g} is not a number from 0 on")
    why_not = refusal(question)
    every = () if why_not else offers(question, counts, vendors)
    kept, left_out = _filtered(every, wanted)
    notes = (*opened.notes, *said, *((f"{why_not}.",) if why_not else ()), *left_out)
    limit = _ROWS_SHOWN if wanted.limit is None else wanted.limit
    shown = kept[:limit] if limit else kept
    more = (f"{len(kept) - len(shown)} more: --limit 0 shows them all.",) if len(shown) < len(kept) else ()
    title = _title(question, every, kept)
    return Found(
        page=_page(question, title, shown, (*more, *notes, *_read_so(kept, usual_contexts=True))),
        whole=_facts(_page(question, title, kept, notes), question),
        exit=Exit.YES if kept else Exit.NO,
    )


def _question(opened: Opened, asked: Asked) -> tuple[Question, list[str]]:
    """The one question of the options, and what was taken for granted."""
    for option, values in (("--quant", asked.quants), ("--ctx", asked.contexts), ("--kv", asked.caches)):
        if values is not None and len(values) > 1:
            raise Problem(Code.BAD_VALUE, f"{option}: `buy` is asked about one value", hint="ask once per value")
    runtime = open_for(opened.model, asked.runtime, asked.version, opened.own)
    own = opened.own.quant if opened.own else None
    quant = asked.quants[0] if asked.quants else own or _usual(runtime)
    tokens = min(HEADLINE_TOKENS, runtime.longest_context())
    if asked.contexts is not None:
        tokens = asked.contexts[0] or opened.model.context.native_tokens
    key_type, value_type = asked.caches[0]
    said = []
    if asked.quants is None and own is None:
        said.append(f"No quantization was named: {quant} is the usual one.")
    workload: Workload = asked.workload._replace(context_tokens=tokens, cache_type_k=key_type, cache_type_v=value_type)
    return Question(runtime, runtime.recipe(quant, asked.imatrix), workload, asked.reserve_bytes), said


def _usual(runtime: Runtime) -> str:
    """What most people take: `Q4_K_M`, but of a checkpoint that has four bits already the file of those."""
    usual = runtime.usual_quants()
    return HEADLINE_QUANT if HEADLINE_QUANT in usual else usual[0]


def _vendors(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    named = tuple(piece.strip().lower() for piece in text.split(","))
    for vendor in named:
        if vendor not in VENDORS:
            from difflib import get_close_matches

            near = tuple(get_close_matches(vendor, VENDORS))
            raise Problem(Code.BAD_VALUE, f"--vendor {vendor[:20]!r} is not one of them", hint=f"known: {', '.join(VENDORS)}", candidates=near)
    return named


def _filtered(every: Sequence[Offer], wanted: Wanted) -> tuple[tuple[Offer, ...], list[str]]:
    """What the price and the speed leave, and a sentence for each that left some out because nobody knows."""
    kept, said = list(every), []
    if wanted.max_price is not None:
        unknown = sum(offer.price_usd is None for offer in kept)
        kept = [offer for offer in kept if offer.price_usd is not None and offer.price_usd <= wanted.max_price]
        if unknown:
            said.append(f"Left out: {unknown} whose price is not known.")
        dearer = sum((offer.price_to_usd or 0) > wanted.max_price for offer in kept)
        if dearer:
            said.append(f"{dearer} may cost more than ${wanted.max_price:,.0f}: of a range --max-price takes the lower end.")
    if wanted.min_speed is not None:
        unknown = sum(offer.speed is None for offer in kept)
        kept = [offer for offer in kept if offer.speed is not None and offer.speed.least >= wanted.min_speed]
        if unknown:
            said.append(f"Left out: {unknown} whose speed is not known.")
    return tuple(kept), said


def _title(question: Question, every: Sequence[Offer], kept: Sequence[Offer]) -> str:
    """What was found in a sentence; `every` is what runs it, whatever it costs and however slow it is."""
    runtime, recipe, workload, _ = question
    what = f"{runtime.model.name} at {recipe.name}, {context_text(workload.context_tokens)} context"
    if not every:
        return f"{what}: nothing in the catalogue runs it so."
    if not kept:
        cheapest = min((offer for offer in every if offer.price_usd is not None), key=lambda offer: offer.price_usd or 0, default=None)
        fastest = max((offer for offer in every if offer.speed), key=lambda offer: offer.speed.least if offer.speed else 0, default=None)
        found = [f"cheapest: {name_of(cheapest)}, {cost_of(cheapest)}"] if cheapest else []
        found += [f"fastest: {name_of(fastest)}, at least {rate_text(fastest.speed.least)} t/s (estimated)"] if fastest and fastest.speed else []
        return f"{what}: {len(every)} run{'' if len(every) > 1 else 's'} it, none as asked" + (f" ({'; '.join(found)})." if found else ".")
    priced = [offer for offer in kept if offer.price_usd is not None]
    cheapest = min(priced, key=lambda offer: offer.price_usd or 0, default=None)
    lead = f"{what}: {len(kept)} machine{'s run it' if len(kept) > 1 else ' runs it'} with headroom. Smallest: {name_of(kept[0])}."
    return lead + (f" Cheapest: {name_of(cheapest)}, {cost_of(cheapest)}." if cheapest else "")


def _page(question: Question, title: str, rows: Sequence[Offer], notes: tuple[str, ...], columns: tuple[Column, ...] = COLUMNS) -> Page:
    return Page("buy", title, (), (Listing("machines", _settings(question), columns, tuple(row_of(offer) for offer in rows)),), notes)


def _settings(question: Question) -> str:
    """The question in a line above the table."""
    runtime, recipe, workload, _ = question
    images = workload.images_of(runtime.model)
    words = [f"{runtime.id} {runtime.version}", recipe.name, f"{context_text(workload.context_tokens)} context"]
    words.append(f"{workload.sequences} sequence{'s' if workload.sequences > 1 else ''}")
    words += [f"{images} image{'s' if images > 1 else ''}"] if images else []
    kinds = dict.fromkeys((workload.cache_type_k, workload.cache_type_v))
    return " · ".join([*words, f"cache {':'.join(kinds)}"])


def _facts(page: Page, question: Question) -> Page:
    """The same for machine formats: the question as facts."""
    runtime, recipe, workload, _ = question
    facts = (
        Fact("data", "data of", data_date()),
        Fact("model", "model", runtime.model.id),
        Fact("runtime", "runtime", runtime.id),
        Fact("runtime_version", "version", runtime.version),
        Fact("quant", "quantization", recipe.name),
        Fact("context_tokens", "context", workload.context_tokens, Form.TOKENS),
        Fact("sequences", "sequences", workload.sequences, Form.COUNT),
        Fact("images", "images", workload.images_of(runtime.model), Form.COUNT),
        Fact("cache_type_k", "K cache", workload.cache_type_k),
        Fact("cache_type_v", "V cache", workload.cache_type_v),
    )
    return page._replace(sections=(Section("Question", facts),))


def _read_so(kept: Sequence[Offer], *, usual_contexts: bool) -> Iterator[str]:
    """How to read the table, for people."""
    if not kept:
        return
    at = "fits at: the longest of the usual contexts; " if usual_contexts else ""
    yield f"{at}left: of the fullest card, the runtime's reserve included; t/s: of one sequence, its context full, estimated from bandwidth and measured runs."


def _comparison(opened: Opened, question: Question, wanted: Wanted, said: list[str]) -> Found:
    if any(value is not None for value in wanted._replace(compare=None)):
        raise Problem(Code.BAD_VALUE, "--compare names the machines itself", hint="leave --max-price, --vendor, --cards, --min-speed and --limit out")
    specs = [spec.strip() for spec in (wanted.compare or "").split(",")]
    if not all(specs):
        raise Problem(Code.BAD_VALUE, "--compare has nothing between its commas", hint="--compare 4090,2x3090,m4-max-64")
    if len(specs) > _MOST_COMPARED:
        raise Problem(Code.BAD_VALUE, f"--compare takes {_MOST_COMPARED} machines at most")
    machines = [parse_machine(spec) for spec in specs]
    if not all(machine.gpus for machine in machines):
        raise Problem(Code.BAD_VALUE, "--compare cpu: a computer without a GPU is nothing in the catalogue", hint="runlocal check MODEL --gpu cpu --ram 64GB")
    rows = compare(question, [(machine, _boards(machine)) for machine in machines])
    yes = [row for row in rows if is_yes(row.answer, strict=False, offload=False)]
    runtime, recipe, workload, _ = question
    title = f"{runtime.model.name} at {recipe.name}, {context_text(workload.context_tokens)} context: {len(yes)} of {len(rows)} run it."
    notes = (*opened.notes, *said, *dict.fromkeys(note for machine in machines for note in machine.notes))
    page = _page(question, title, rows, notes, tuple(COMPARED.get(column.key, column) for column in COLUMNS))
    whys = (f"{name_of(row)}: {row.reason}." for row in rows if row.reason)
    return Found(page._replace(notes=(*whys, *_read_so(yes, usual_contexts=False), *notes)), _facts(page, question), Exit.YES if yes else Exit.NO)


def _boards(machine: Machine) -> tuple[tuple[GpuEntry, int], ...]:
    """The products that the machine is made of; none for a slice of a card, which is not sold."""
    ids = Counter(card.id or "" for card in machine.gpus)
    if any(":" in gpu_id for gpu_id in ids):
        return ()
    return tuple((board, count // board.devices) for board, count in ((entry(gpu_id), count) for gpu_id, count in ids.items()))
