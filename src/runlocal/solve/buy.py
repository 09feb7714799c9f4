"""`buy`: which cards, several of a kind, and machines run a model with headroom; and some named ones side by side."""

from collections.abc import Iterator, Sequence

from runlocal.catalog.gpu_entries import GpuEntry
from runlocal.catalog.gpus import cards
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.noun import NamedTuple
from runlocal.core.speed import Speed
from runlocal.core.verdict import Answer, slack
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.asked import USUAL_CONTEXTS
from runlocal.solve.cell import Judged, answer_of, judge_cell
from runlocal.solve.shelf import OF_A_KIND, of_a_kind
from runlocal.solve.speed import speed
from runlocal.solve.split import lay_best
from runlocal.solve.support import does_not_load

_HUGE_BYTES = 1 << 50
_IN_A_TOWER = OF_A_KIND[:-1]  # eight desktop cards are for those who ask for them


class Question(NamedTuple):
    """What a machine is to run.

    reserve_bytes: to leave free per device; None: what the runtime leaves
    """

    runtime: Runtime
    recipe: Recipe
    workload: Workload
    reserve_bytes: int | None = None


class Offer(NamedTuple):
    """A machine that could be bought.

    boards: (product, how many) of what it is made of
    answer, reason: the verdict, and why where it is a no
    need_bytes, usable_bytes, headroom_bytes: over all devices; per device
    fits_context_tokens: a context that fits, as long as one is known
    """

    machine: Machine
    boards: tuple[tuple[GpuEntry, int], ...]
    answer: Answer
    reason: str
    need_bytes: int | None
    usable_bytes: int
    headroom_bytes: tuple[int, ...]
    fits_context_tokens: int | None
    speed: Speed | None

    @property
    def memory_gb(self) -> float:
        """Over all devices, as on their boxes."""
        return sum(entry.memory_gb * entry.devices * count for entry, count in self.boards)

    @property
    def price_usd(self) -> float | None:
        """Of all boards; None where that of one is not known."""
        if not self.boards or any(entry.price is None for entry, _ in self.boards):
            return None
        return sum(entry.price.usd * count for entry, count in self.boards if entry.price)

    @property
    def price_to_usd(self) -> float | None:
        """The most that was found for all boards, `price_usd` being the least; None where there is no range, and where no price is known."""
        most = sum(entry.price.most_usd * count for entry, count in self.boards if entry.price)
        return None if self.price_usd is None or most == self.price_usd else most


def offers(question: Question, counts: Sequence[int] | None = None, vendors: Sequence[str] = ()) -> tuple[Offer, ...]:
    """Every product that runs it with its reserve left free, smallest memory first, then cheapest. Nothing may be in its way (`refusal`).

    Each in the smallest number of a kind that does, or in those of `counts`. vendors: these alone; none named: every one.
    """
    least = _least_bytes(question)
    found = []
    for entry in cards():
        if not entry.sold or (vendors and entry.vendor not in vendors):
            continue
        for count in counts or (OF_A_KIND if entry.form != "desktop" else _IN_A_TOWER):
            if count > 1 and not entry.several:
                break
            if entry.usable_bytes * entry.devices * count <= least:
                continue
            machine = of_a_kind(entry, count)
            judged = answer_of(question.runtime, question.recipe, question.workload, machine, question.reserve_bytes)
            if judged.answer is Answer.FITS:
                found.append(_offer(question, machine, entry, count, judged))
                if counts is None:
                    break
    return tuple(sorted(found, key=lambda offer: (offer.memory_gb, offer.price_usd is None, offer.price_usd or 0)))


def refusal(question: Question) -> str | None:
    """Why no machine at all runs it: the runtime does not load the model, or does not do what is asked; None where one may."""
    runtime, recipe, workload, _ = question
    return does_not_load(runtime.model, runtime) or runtime.refuses(recipe, workload, _huge())


def compare(question: Question, machines: Sequence[tuple[Machine, tuple[tuple[GpuEntry, int], ...]]]) -> tuple[Offer, ...]:
    """The verdict for each named machine (with its boards), in their order; the longest context to the runtime's granularity."""
    return tuple(_compared(question, machine, boards) for machine, boards in machines)


def _least_bytes(question: Question) -> int:
    """What is dealt out over the GPUs however they are split: the layers, their caches and the output."""
    runtime, recipe, workload, _ = question
    return sum(runtime.layer_bytes(recipe, workload, runtime.placement(workload, _huge())))


def _huge() -> Machine:
    return Machine(origin=Origin.NAMED, label="", gpus=(Gpu(index=0, id=None, name="", memory_bytes=_HUGE_BYTES),))


def _offer(question: Question, machine: Machine, entry: GpuEntry, count: int, judged: Judged) -> Offer:
    runtime, recipe, workload, _ = question
    laid = judged.laid
    assert laid is not None  # a yes is laid out
    return Offer(
        machine=machine,
        boards=((entry, count),),
        answer=Answer.FITS,
        reason="",
        need_bytes=sum(laid.load.gpus),
        usable_bytes=sum(card.usable_bytes for card in machine.gpus),
        headroom_bytes=tuple(card.usable_bytes - taken for card, taken in zip(machine.gpus, laid.load.gpus, strict=True)),
        fits_context_tokens=_longest_usual(question, machine, judged.left_free),
        speed=speed(runtime, recipe, workload, laid.placement, machine),
    )


def _longest_usual(question: Question, machine: Machine, left_free: tuple[int, ...]) -> int:
    """The longest of the contexts that people ask for, and of what the runtime serves, that fits where the asked-for one does.

    All machines are tried at the same contexts, so that what is laid out for one serves the next.
    """
    runtime, recipe, workload, _ = question
    longer = [tokens for tokens in _contexts(runtime) if tokens > workload.context_tokens]
    least, most = 0, len(longer)
    while least < most:
        middle = (least + most + 1) // 2
        asked = workload._replace(context_tokens=longer[middle - 1])
        if slack(lay_best(runtime, recipe, asked, machine, left_free).load, machine, left_free) >= 0:
            least = middle
        else:
            most = middle - 1
    return longer[least - 1] if least else workload.context_tokens


def _contexts(runtime: Runtime) -> Iterator[int]:
    longest = runtime.longest_context()
    yield from (tokens for tokens in USUAL_CONTEXTS if tokens < longest)
    tokens = 2 * USUAL_CONTEXTS[-1]
    while tokens < longest:
        yield tokens
        tokens *= 2
    yield longest


def _compared(question: Question, machine: Machine, boards: tuple[tuple[GpuEntry, int], ...]) -> Offer:
    runtime, recipe, workload, reserve_bytes = question
    refusal = does_not_load(runtime.model, runtime)
    judged = answer_of(runtime, recipe, workload, machine, reserve_bytes, refusal)
    cell = judge_cell(runtime, recipe, workload, machine, reserve_bytes, refusal)
    yes = judged.answer in (Answer.FITS, Answer.TIGHT) and judged.laid is not None
    return Offer(
        machine=machine,
        boards=boards,
        answer=cell.answer or Answer.CANNOT_RUN,
        reason=cell.reason,
        need_bytes=cell.need_bytes,
        usable_bytes=sum(card.usable_bytes for card in machine.gpus),
        headroom_bytes=cell.headroom_bytes,
        fits_context_tokens=cell.fits_context_tokens,
        speed=speed(runtime, recipe, workload, judged.laid.placement, machine) if yes and judged.laid else None,
    )
