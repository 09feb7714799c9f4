"""Which nodes of a fleet run a model, and how many processes of it each holds."""

from collections.abc import Sequence

from runlocal.core.errors import Code, Problem
from runlocal.core.fleet import Card, Node
from runlocal.core.load import load_of
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, Kind, Part
from runlocal.core.units import MIB, gib
from runlocal.core.verdict import Answer, best, headroom, is_yes, judge
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime, is_priced
from runlocal.solve.asked import HEADLINE_TOKENS, Asked
from runlocal.solve.cell import reserves
from runlocal.solve.devices import Device, device
from runlocal.solve.grid import contexts
from runlocal.solve.split import lay_best
from runlocal.solve.support import does_not_load

MOST_LAYOUTS = 4000
"""Layouts that are computed for one fleet: a real one has some dozens of kinds of nodes, a made-up one would take hours."""

_FINE_STEP = 64 * MIB
_COARSE_STEPS = 64


class Held(NamedTuple):
    """What a node, or one like it, comes to.

    label: its devices, `8 × A100 SXM4 80GB`; empty: no GPU
    answer: None where it has no GPU, or one whose memory is not known
    quant: what was judged; empty where nothing was
    sizes: cards of each process that it holds at once
    reason: why it holds none; empty where it does
    """

    label: str
    answer: Answer | None = None
    quant: str = ""
    sizes: tuple[int, ...] = ()
    reason: str = ""


class FleetJudge:
    """A question, asked of one node after the other. Equal nodes are judged once.

    notes: what the reader should know of the devices met so far, a sentence each
    rounded: some answer counts more memory as in use than is
    """

    def __init__(self, runtime: Runtime, asked: Asked, *, idle: bool = False) -> None:
        key_type, value_type = asked.caches[0]
        tokens = contexts(runtime, asked)[0] if asked.contexts else min(HEADLINE_TOKENS, runtime.model.context.native_tokens)
        self.runtime, self.asked = runtime, asked
        self.workload: Workload = asked.workload._replace(context_tokens=tokens, cache_type_k=key_type, cache_type_v=value_type)
        self.notes: dict[str, None] = {}
        self.rounded = False
        self._idle = idle
        self._layouts = 0
        self._refusal = does_not_load(runtime.model, runtime)
        recipes = [runtime.recipe(name, asked.imatrix) for name in asked.quants or runtime.usual_quants()]
        self._recipes = sorted(recipes, key=runtime.bits_per_weight, reverse=True) if is_priced(runtime.id) else recipes
        self._devices: dict[Card, Device | None] = {}
        self._held: dict[tuple[Card, ...], Held] = {}
        self._chosen: dict[tuple[Gpu, ...], Recipe | None] = {}
        self._refused: dict[tuple[tuple[Gpu, ...], str], Held] = {}
        self._ranges: dict[tuple[Gpu, int, str], dict[Answer, tuple[int, int]]] = {}
        self._answers: dict[tuple[tuple[Gpu, ...], str], Answer] = {}
        self._alone: dict[tuple[Gpu, str], tuple[Part, ...]] = {}
        self._weights: dict[tuple[str, str], int] = {}

    def held(self, node: Node) -> Held:
        """What the node holds."""
        found = self._held.get(node.cards)
        if found is None:
            key = tuple(sorted(node.cards, key=_order))
            found = self._held[node.cards] = self._held[key] if key in self._held else self._judged(key)
            self._held[key] = found
        return found

    def _judged(self, cards: tuple[Card, ...]) -> Held:
        if not cards:
            return Held("", reason="it has no GPU")
        devices = [(card, self._device(card)) for card in cards]
        label = _label([known.label if known else _unknown(card) for card, known in devices])
        known = [(card, one) for card, one in devices if one is not None]
        if not known:
            return Held(label, reason="how much memory its GPUs have is not known")
        self.notes.update(dict.fromkeys(note for _, one in known for note in one.notes))
        if self._refusal:
            return Held(label, Answer.CANNOT_RUN, reason=self._refusal)
        if not is_priced(self.runtime.id):
            return self._ruled_out(label, _machine([one.gpu for _, one in known]))
        pools: dict[str, list[Gpu]] = {}
        idle: dict[str, list[Gpu]] = {}
        for number, (card, one) in enumerate(known):
            # A slice is a pool of its own, cards of one backend are one.
            pool = f"alone {number}" if one.alone else one.gpu.backend
            in_use = None if self._idle else card.in_use_bytes
            idle.setdefault(pool, []).append(one.gpu)
            pools.setdefault(pool, []).append(one.gpu._replace(in_use_bytes=in_use or None))
        found = [self._pool(gpus, idle[pool]) for pool, gpus in pools.items()]
        yes = [one for one in found if one.sizes]
        chosen = max(yes, key=lambda one: len(one.sizes)) if yes else max(found, key=lambda one: -_rank(one))
        quants = dict.fromkeys(one.quant for one in yes) or {chosen.quant: None}
        return Held(
            label,
            best([one.answer for one in found if one.answer is not None]),
            ", ".join(quants),
            tuple(sorted(size for one in found for size in one.sizes)),
            "" if yes else chosen.reason,
        )

    def _ruled_out(self, label: str, machine: Machine) -> Held:
        """A runtime that is not priced, where it refuses every quantization. Raises Problem (not_computed) where it may run one."""
        reasons = [self.runtime.refuses(recipe, self.workload, machine) for recipe in self._recipes]
        return Held(label, Answer.CANNOT_RUN, self._recipes[0].name, reason=reasons[0] or "")

    def _device(self, card: Card) -> Device | None:
        key = card._replace(in_use_bytes=None)
        if key not in self._devices:
            self._devices[key] = device(key)
        return self._devices[key]

    def _pool(self, gpus: list[Gpu], idle: list[Gpu]) -> Held:
        """Cards that can share a process: from the roomiest on, each process takes the fewest cards that hold it."""
        ordered = sorted((gpu for gpu in gpus if gpu.usable_bytes), key=lambda gpu: gpu.usable_bytes, reverse=True)
        if not ordered:
            return Held("", Answer.DOES_NOT_FIT, self._recipes[-1].name, reason="all of its GPUs' memory is in use")
        unused = tuple(sorted(idle, key=lambda gpu: gpu.usable_bytes, reverse=True))
        recipe = self._choice(unused)
        if recipe is None:
            return self._no(unused[: self.runtime.most_gpus()], self._recipes[-1])
        sizes: list[int] = []
        answers: list[Answer] = []
        first = 0
        while first < len(ordered):
            size, answer = self._fewest(ordered[first:], recipe, sizes[-1] if sizes else 1)
            if not size:
                break
            sizes.append(size)
            answers.append(answer)
            first += size
        if not sizes:
            return Held("", Answer.DOES_NOT_FIT, recipe.name, reason=f"{recipe.name} does not fit beside what its GPUs hold now")
        return Held("", best(answers), recipe.name, tuple(sizes))

    def _fewest(self, gpus: list[Gpu], recipe: Recipe, least: int) -> tuple[int, Answer]:
        """The smallest number of cards, the roomiest first, that holds it; 0 where none does. least: fewer were too few for roomier cards."""
        weights, free = self._weights_alone(gpus[0], recipe), 0
        for size, gpu in enumerate(gpus[: self.runtime.most_gpus()], start=1):
            free += gpu.usable_bytes
            if size < least or free < weights:
                continue
            answer = self._answer(tuple(gpus[:size]), recipe)
            if self._yes(answer):
                return size, answer
        return 0, Answer.DOES_NOT_FIT

    def _choice(self, gpus: tuple[Gpu, ...]) -> Recipe | None:
        """The finest quantization of those that need the fewest cards when nobody uses them; None where none fits."""
        if gpus not in self._chosen:
            self._chosen[gpus] = self._finest(gpus)
        return self._chosen[gpus]

    def _finest(self, gpus: tuple[Gpu, ...]) -> Recipe | None:
        for size in range(1, min(len(gpus), self.runtime.most_gpus()) + 1):
            answers = [self._answer(gpus[:size], recipe) for recipe in self._recipes]
            for wanted in (Answer.FITS, Answer.TIGHT):
                if wanted in answers and self._yes(wanted):
                    return self._recipes[answers.index(wanted)]
        return None

    def _yes(self, answer: Answer) -> bool:
        return is_yes(answer, strict=self.asked.strict, offload=False)

    def _answer(self, gpus: tuple[Gpu, ...], recipe: Recipe) -> Answer:
        """Whether one process on exactly these cards holds it."""
        gpus = self._rounded(gpus)
        if sum(gpu.usable_bytes for gpu in gpus) < self._weights_alone(gpus[0], recipe):
            return Answer.DOES_NOT_FIT
        key = (gpus, recipe.name)
        if key not in self._answers:
            found = self._between(gpus, recipe)
            self._answers[key] = self._computed(gpus, recipe) if found is None else found
        return self._answers[key]

    def _between(self, gpus: tuple[Gpu, ...], recipe: Recipe) -> Answer | None:
        """What follows from answers for as many cards of that kind, fuller or emptier ones; None where nothing does."""
        in_use = gpus[0].in_use_bytes or 0
        for answer, (least, most) in self._ranges.get(_alike(gpus, recipe), {}).items():
            if (least <= in_use or answer is Answer.FITS) and (in_use <= most or answer is Answer.DOES_NOT_FIT):
                return answer
        return None

    def _computed(self, gpus: tuple[Gpu, ...], recipe: Recipe) -> Answer:
        machine = _machine(gpus)
        if self.runtime.refuses(recipe, self.workload, machine):
            return Answer.CANNOT_RUN
        left_free = reserves(self.runtime, self.workload, machine, self.asked.reserve_bytes)
        if len(gpus) == 1:
            return judge(load_of(self._parts_alone(gpus[0], recipe), 1), machine, left_free)
        self._count_layout()
        answer = judge(lay_best(self.runtime, recipe, self.workload, machine, left_free).load, machine, left_free)
        if len(set(gpus)) == 1:
            ranges = self._ranges.setdefault(_alike(gpus, recipe), {})
            in_use = gpus[0].in_use_bytes or 0
            least, most = ranges.get(answer, (in_use, in_use))
            ranges[answer] = min(least, in_use), max(most, in_use)
        return answer

    def _parts_alone(self, gpu: Gpu, recipe: Recipe) -> tuple[Part, ...]:
        """What it takes on one such card, which does not depend on how much of the card is free."""
        key = (gpu._replace(index=0, in_use_bytes=None), recipe.name)
        if key not in self._alone:
            self._count_layout()
            machine = _machine(key[:1])
            placement = self.runtime.placement(self.workload, machine)
            self._alone[key] = self.runtime.parts(recipe, self.workload, placement, machine)
        return self._alone[key]

    def _count_layout(self) -> None:
        self._layouts += 1
        if self._layouts > MOST_LAYOUTS:
            raise Problem(
                Code.BAD_FILE,
                "the inventory has more kinds of nodes than are judged at once",
                hint="ask about some of the nodes at a time, or name one --quant",
            )

    def _weights_alone(self, gpu: Gpu, recipe: Recipe) -> int:
        """Bytes of weights on the GPU, which several cards share out and never lessen."""
        key = (gpu.backend, recipe.name)
        if key not in self._weights:
            parts = self._parts_alone(gpu, recipe)
            self._weights[key] = sum(part.bytes for part in parts if part.kind is Kind.WEIGHTS and part.device != HOST)
        return self._weights[key]

    def _rounded(self, gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
        """Every card as full as the fullest, rounded up, so that a busy fleet is not a case per node: never more room than there is."""
        most = max(gpu.in_use_bytes or 0 for gpu in gpus)
        if not most or len(gpus) == 1:
            return gpus
        step = _FINE_STEP if most <= 16 * _FINE_STEP else max(_FINE_STEP, max(gpu.memory_bytes for gpu in gpus) // _COARSE_STEPS)
        counted = -(-most // step) * step
        self.rounded = True
        return tuple(gpu._replace(in_use_bytes=counted) for gpu in gpus)

    def _no(self, gpus: tuple[Gpu, ...], recipe: Recipe) -> Held:
        """Why no number of these cards holds it, though nobody uses them."""
        key = (gpus, recipe.name)
        if key not in self._refused:
            self._refused[key] = self._why_not(gpus, recipe)
        return self._refused[key]

    def _why_not(self, gpus: tuple[Gpu, ...], recipe: Recipe) -> Held:
        self._count_layout()
        machine = _machine(gpus)
        if reason := self.runtime.refuses(recipe, self.workload, machine):
            return Held("", Answer.CANNOT_RUN, recipe.name, reason=reason)
        left_free = reserves(self.runtime, self.workload, machine, self.asked.reserve_bytes)
        load = lay_best(self.runtime, recipe, self.workload, machine, left_free).load
        answer = judge(load, machine, left_free)
        short = -sum(free for free in headroom(load, machine) if free < 0)
        on = "" if len(gpus) == 1 else f" on {len(gpus)} cards"
        return Held("", answer, recipe.name, reason=f"{recipe.name} is short of {gib(short)}{on}" if short else f"{recipe.name} leaves too little free{on}")


def _alike(gpus: tuple[Gpu, ...], recipe: Recipe) -> tuple[Gpu, int, str]:
    """Cards of one kind, however full; cards of several kinds are filed under nothing."""
    kinds = {gpu._replace(in_use_bytes=None) for gpu in gpus}
    return gpus[0]._replace(in_use_bytes=None), len(gpus) if len(kinds) == 1 else 0, recipe.name


def _machine(gpus: Sequence[Gpu]) -> Machine:
    return Machine(origin=Origin.NAMED, label="", gpus=tuple(gpu._replace(index=index) for index, gpu in enumerate(gpus)))


def _order(card: Card) -> tuple[str, str, int, int, int]:
    return card.name, card.profile or "", card.memory_bytes or 0, card.in_use_bytes or 0, card.reserved_bytes or 0


def _rank(held: Held) -> int:
    return list(Answer).index(held.answer) if held.answer is not None else len(Answer)


def _unknown(card: Card) -> str:
    return f"{card.name or 'GPU'} {card.profile or ''}".strip() + " (memory not known)"


def _label(labels: Sequence[str]) -> str:
    """`8 × A100 SXM4 80GB`, kinds in alphabetical order."""
    counted = {label: labels.count(label) for label in sorted(labels)}
    return " + ".join(label if count == 1 else f"{count} × {label}" for label, count in counted.items())
