"""`fit`: every bundled model on one machine, each at the finest quantization that fits there."""

import sys
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

from runlocal.architectures import counts
from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled, index
from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.load import Load
from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.core.units import GIB
from runlocal.core.verdict import Answer
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.asked import HEADLINE_TOKENS, Asked
from runlocal.solve.cell import Judged, answer_of, reserves
from runlocal.solve.longest import longest_context
from runlocal.solve.opening import open_for
from runlocal.solve.remembered import Remembered, Row, weights
from runlocal.solve.support import does_not_load

if TYPE_CHECKING:
    from runlocal.core.speed import Speed

_TO_SPARE = GIB
"""What goes into each of several GPUs alone with so much to spare goes onto them together: of one of several no model takes 0.6 GiB more than alone."""

_HOST_SHARE = 2
"""And where host memory has room for all of it so often: at most it takes 1.4 times what the model takes on one GPU."""

FOUR_BITS = 4.0
"""With so many bytes to fill, the larger model at four bits is the better one, and below four bits no more (arXiv:2212.09720)."""


Rank = tuple[bool, int, float]
"""The greater the better: four bits and more before fewer, then parameters, then bits."""


class Fitting(NamedTuple):
    """A model at the finest quantization that fits.

    parameters, active_parameters: all, with the tower's; those read for one text token
    longest_tokens: the longest context that the runtime serves
    context_tokens: the context that was asked about
    answer: FITS or TIGHT
    load: what it takes there
    left_free: bytes that stay free per device
    speed: None where it is not known, and where nobody asked
    """

    model_id: str
    parameters: int
    active_parameters: int
    runtime: str
    version: str
    longest_tokens: int
    recipe: Recipe
    bits_per_weight: float
    tensor_bytes: int
    context_tokens: int
    answer: Answer
    load: Load
    left_free: tuple[int, ...]
    speed: "Speed | None"

    @property
    def rank(self) -> Rank:
        return self.bits_per_weight >= FOUR_BITS, self.parameters, self.bits_per_weight


class _Candidate(NamedTuple):
    """A model, ready to be judged: from its row, or opened in its engine.

    recipes: (recipe, bits per weight, bytes of the tensors), finest first
    """

    judge: "Remembered | Runtime"
    runtime: str
    version: str
    parameters: int
    active_parameters: int
    experts: bool
    recipes: tuple[tuple[Recipe, float, int], ...]


class Fit:
    """A question asked of many models on one machine.

    rows: what is known of them without opening them, for the runtime that loads each
    remembers: whether rows answer it; else every model is opened
    problem: why the last model that could not be judged at all was not; None where every one was
    judged: how many could
    """

    def __init__(self, asked: Asked, machine: Machine, rows: dict[str, Row | None]) -> None:
        self._asked, self._machine = asked, machine
        self._rows = rows if asked.runtime is None and asked.imatrix is None else {}
        key_type, value_type = asked.caches[0]
        self._workload = asked.workload._replace(cache_type_k=key_type, cache_type_v=value_type)
        plain = Workload(context_tokens=self._workload.context_tokens, vision=self._workload.vision)
        self._in_rows = self._workload == plain and bool(self._rows)
        self.remembers = self._in_rows and len(machine.gpus) <= 1
        self._facts: dict[tuple[str, str], Facts] = {}
        self._candidates: dict[str, _Candidate] = {}
        self.problem: Problem | None = None
        self.judged = 0

    def of(self, model_id: str, least_speed: float | None = None) -> Fitting | None:
        """The model at the finest quantization that fits, or else is tight; None where none is, or where it cannot be judged (`problem`).

        least_speed: tokens per second that the slower end of its range has to reach
        """
        try:
            return self._of(model_id, least_speed)
        except Problem as problem:
            self.problem = problem
            return None

    def _of(self, model_id: str, least_speed: float | None) -> Fitting | None:
        row = self._rows.get(model_id)
        if not self._may_fit(row):
            self.judged += 1
            return None
        candidate = self._candidate(model_id, row)
        self.judged += 1
        tokens = self._tokens(model_id)
        if tokens > candidate.judge.longest_context():
            return None
        workload = self._workload._replace(context_tokens=tokens)
        tight: Fitting | None = None
        for recipe, bits, tensor_bytes in candidate.recipes:
            if self._too_large(row, recipe.name):
                continue
            judged = answer_of(candidate.judge, recipe, workload, self._machine, self._asked.reserve_bytes)
            if judged.laid is None or judged.answer not in (Answer.FITS, Answer.TIGHT) or (tight is not None and judged.answer is Answer.TIGHT):
                continue
            speed = self._speed(candidate, recipe, workload, judged)
            if least_speed is not None and (speed is None or speed.least < least_speed):
                continue
            found = Fitting(
                model_id=model_id,
                parameters=candidate.parameters,
                active_parameters=candidate.active_parameters,
                runtime=candidate.runtime,
                version=candidate.version,
                longest_tokens=candidate.judge.longest_context(),
                recipe=recipe,
                bits_per_weight=bits,
                tensor_bytes=tensor_bytes,
                context_tokens=tokens,
                answer=judged.answer,
                load=judged.laid.load,
                left_free=judged.left_free,
                speed=speed,
            )
            if judged.answer is Answer.FITS:
                return found
            tight = found
        return None if self._asked.strict else tight

    def hope(self, model_id: str) -> Rank:
        """What its rank is at most: that of the finest quantization whose weights alone go in."""
        row = self._rows.get(model_id)
        named = [name.upper() for name in self._asked.quants or ()]
        if row is None or not all(name in row["quants"] for name in named):
            return True, sys.maxsize, inf
        finest = max((row["quants"][name][0] for name in named or row["quants"] if not self._too_large(row, name)), default=0.0)
        return finest >= FOUR_BITS, row["parameters"], finest

    def surely(self, model_id: str) -> bool:
        """Whether it fits on several GPUs so easily that nobody has to share it out to know."""
        row, tokens = self._rows.get(model_id), self._tokens(model_id)
        if row is None or not self._in_rows or len(self._machine.gpus) < 2:
            return False
        named = [name.upper() for name in self._asked.quants or row["quants"]]
        if not all(name in row["quants"] for name in named):
            return False
        smallest = min(named, key=lambda name: sum(size for _, size in weights(row, name)))
        judge, recipe, workload = self._row_judge(model_id, row), Recipe(smallest, smallest, False), self._workload._replace(context_tokens=tokens)
        if judge.refuses(recipe, workload, self._machine):
            return False
        for device in {device._replace(index=0) for device in self._machine.gpus}:
            alone = self._machine._replace(gpus=(device,))
            need = judge.load(recipe, workload, judge.placement(workload, alone), alone)
            taken, beside = need.gpus[0] + need.gpu_margins[0], need.host + need.host_margin
            reserve = max(reserves(judge, workload, alone, self._asked.reserve_bytes))
            if taken + reserve + _TO_SPARE > device.usable_bytes:
                return False
            if self._machine.host_bytes is not None and _HOST_SHARE * (taken + beside) > self._machine.host_bytes:
                return False
        self.judged += 1
        return True

    def longest(self, fitting: Fitting) -> int:
        """Tokens of one sequence at which that quantization still fits."""
        candidate = self._candidate(fitting.model_id, self._rows.get(fitting.model_id))
        known = candidate.judge.known_contexts(fitting.recipe) if isinstance(candidate.judge, Remembered) else ()
        return longest_context(candidate.judge, fitting.recipe, self._workload._replace(context_tokens=0), self._machine, fitting.left_free, known_tokens=known)

    def _tokens(self, model_id: str) -> int:
        """The context that this model is asked about."""
        native: int = index()[model_id]["context_tokens"]
        if self._asked.contexts is None:
            return min(HEADLINE_TOKENS, native)
        return self._asked.contexts[0] or native

    def _may_fit(self, row: Row | None) -> bool:
        """Whether any quantization's weights alone could lie there."""
        if row is None or self._asked.quants is not None:
            return True
        return not all(self._too_large(row, name) for name in row["quants"])

    def _too_large(self, row: Row | None, quant: str) -> bool:
        """Whether the weights alone are more than the machine has: those that have to lie on GPUs, or on the host where there is none."""
        if row is None or quant not in row["quants"]:
            return False
        machine = self._machine
        taken = sum(size for device, size in weights(row, quant) if (device != HOST) is bool(machine.gpus))
        return machine.usable_bytes is not None and taken > machine.usable_bytes

    def _candidate(self, model_id: str, row: Row | None) -> _Candidate:
        if model_id not in self._candidates:
            named = tuple(name.upper() for name in self._asked.quants or ())
            if self.remembers and row is not None and all(name in row["quants"] for name in named):
                self._candidates[model_id] = self._remembered(model_id, row, named)
            else:
                self._candidates[model_id] = self._opened(model_id)
        return self._candidates[model_id]

    def _row_judge(self, model_id: str, row: Row) -> Remembered:
        runtime, version = row["runtime"], row["version"]
        if (runtime, version) not in self._facts:
            self._facts[runtime, version] = facts(runtime, version)
        return Remembered(row, self._facts[runtime, version], lambda: open_for(bundled(model_id), None, None))

    def _remembered(self, model_id: str, row: Row, named: tuple[str, ...]) -> _Candidate:
        quants = row["quants"]
        recipes = [(Recipe(name, name, False), quants[name][0], quants[name][1]) for name in named or quants]
        return _Candidate(
            judge=self._row_judge(model_id, row),
            runtime=row["runtime"],
            version=row["version"],
            parameters=row["parameters"],
            active_parameters=row["active_parameters"],
            experts=row["experts"],
            recipes=_finest_first(recipes),
        )

    def _opened(self, model_id: str) -> _Candidate:
        """The model in its engine. Raises Problem: the runtime asked for does not load it, or no quantization that was named exists of it."""
        model = bundled(model_id)
        runtime = open_for(model, self._asked.runtime, self._asked.version)
        if reason := does_not_load(model, runtime):
            raise Problem(Code.NOT_COMPUTED, reason)
        parameters, active = counts(model)
        return _Candidate(
            judge=runtime,
            runtime=runtime.id,
            version=runtime.version,
            parameters=parameters,
            active_parameters=active,
            experts=model.text.experts is not None,
            recipes=_finest_first(list(self._recipes(runtime))),
        )

    def _recipes(self, runtime: Runtime) -> Iterator[tuple[Recipe, float, int]]:
        unknown, known = None, False
        for name in self._asked.quants or runtime.usual_quants():
            try:
                recipe = runtime.recipe(name, self._asked.imatrix)
            except Problem as problem:
                unknown = problem
                continue
            known = True
            yield recipe, runtime.bits_per_weight(recipe), runtime.tensor_bytes(recipe)
        if unknown is not None and not known:
            raise unknown

    def _speed(self, candidate: _Candidate, recipe: Recipe, workload: Workload, judged: Judged) -> "Speed | None":
        if judged.laid is None or (not self._machine.gpus and self._machine.host_bandwidth_bytes is None):
            return None
        from runlocal.solve.speed import speed_of

        read = candidate.judge.reads(recipe, workload, judged.laid.placement)
        return speed_of(read, self._machine, has_experts=candidate.experts)


def _finest_first(recipes: list[tuple[Recipe, float, int]]) -> tuple[tuple[Recipe, float, int], ...]:
    return tuple(sorted(recipes, key=lambda one: -one[1]))
