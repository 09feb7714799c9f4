"""What a model takes, computed beforehand: a row of a table that gives a `Load` on any machine by the engine's own rules, without a graph.

A row holds the pieces of `Session.load` at some contexts, for all layers on one GPU or all on the host. Between its points a straight line
gives the rest where that was proven when the row was made; what a row does not hold is asked of the engine.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runlocal.architectures import counts
from runlocal.core.facts import Facts
from runlocal.core.load import Load, load_of
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, Basis, Kind, Part, gpu
from runlocal.core.workload import Workload
from runlocal.engines.ggml.buffer_parts import doubt_bytes, doubt_percent
from runlocal.engines.ggml.elsewhere import exact_load, kind_of, parts_on
from runlocal.engines.ggml.overhead import overhead_parts
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.refusals import most_gpus, refuses_device
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.asked import HEADLINE_TOKENS, USUAL_CONTEXTS

Row = dict[str, Any]
"""A row as JSON has it, one kind of placement of one model.

runtime, version: what loads the model
longest: tokens that it serves
layers: stored layers
reserve: bytes that the runtime leaves free
parameters, active_parameters, experts: of the model; whether it has any
quants: by name: bits per weight, bytes of the tensors, bytes of the loaded weights by place, and what a token reads of the GPU at the first point, null
where it is not known
points: by quantization where its weights are copied in a step, else by the empty name: tokens, (place, bytes) of the caches, other parts, and how much
more than at the first point a token reads
doubt: by how many percent the graph's buffers may be larger, as it is not known whole
joined: between any two points the pieces are the straight line through them, rounded down
beyond: context from which on they are the line through it and twice as much; null where they are not
"""

_STEP_TOKENS = 256
_EVERY_STEP_TO = 32 * _STEP_TOKENS  # up to so long a context every step is looked at
_KINDS, _BASES = tuple(Kind), tuple(Basis)
_DEVICES = (gpu(0), HOST)
_LARGEST = 1 << 60


class Point(NamedTuple):
    """The pieces at one context, weights apart.

    caches: (device, bytes)
    others: all other parts; their words are not kept
    more_read: bytes that a token reads beyond those at the first point
    """

    tokens: int
    caches: tuple[tuple[str, int], ...]
    others: tuple[Part, ...]
    more_read: int


class Remembered:
    """A model that answers the judge from a row. `open_model` opens it in its engine for what the row does not hold."""

    def __init__(self, row: Row, facts: Facts, open_model: Callable[[], Runtime]) -> None:
        self.row, self._facts = row, facts
        self._open_model = open_model
        self._opened: Runtime | None = None
        self._others: dict[tuple[str, int, Machine], Load | None] = {}

    def opened(self) -> Runtime:
        """The model in its engine."""
        if self._opened is None:
            self._opened = self._open_model()
        return self._opened

    def longest_context(self) -> int:
        longest: int = self.row["longest"]
        return longest

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        if workload.context_tokens > self.longest_context():
            return self.opened().refuses(self._own(recipe), workload, machine)
        return refuses_device(machine, most_gpus(self._facts.ggml))

    def placement(self, workload: Workload, machine: Machine, shares: Sequence[float] | None = None) -> Placement:
        return place(self.row["layers"], None, (1.0,) * len(machine.gpus))

    def reserves(self, workload: Workload, machine: Machine) -> tuple[int, ...]:
        return (self.row["reserve"],)

    def load(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> Load:
        quant = recipe.name if recipe.name in self.row["points"] else ""
        key = (quant, workload.context_tokens, machine)
        if key not in self._others:
            found = point_at(self.row, quant, workload.context_tokens)
            self._others[key] = found and self._load_of(found, placement, machine)
        others = self._others[key]
        if others is None:
            return self.opened().load(self._own(recipe), workload, placement, machine, rough=rough)
        return exact_load(weights(self.row, recipe.name), placement, kind_of(machine)).plus(others)

    def _load_of(self, point: Point, placement: Placement, machine: Machine) -> Load:
        kind = kind_of(machine)
        caches = exact_load(point.caches, placement, kind)
        others = load_of(parts_on(point.others, kind, self._facts.ggml), placement.gpus)
        return caches.plus(others).plus(load_of(overhead_parts(machine, self._facts.ggml), placement.gpus))

    def layer_bytes(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[int, ...]:
        return self.opened().layer_bytes(self._own(recipe), workload, placement)

    def straight_from(self, workload: Workload, placement: Placement, most_tokens: int) -> int | None:
        start: int | None = self.row["beyond"]
        return start

    def known_contexts(self, recipe: Recipe) -> tuple[int, ...]:
        """Contexts that the row holds itself."""
        points = self.row["points"]
        return tuple(point[0] for point in points[recipe.name if recipe.name in points else ""])

    def reads(self, recipe: Recipe, workload: Workload, placement: Placement) -> dict[str, int] | None:
        """As the engine has it. A row knows what a GPU reads alone."""
        if not placement.gpus:
            return self.opened().reads(self._own(recipe), workload, placement)
        quant = recipe.name if recipe.name in self.row["points"] else ""
        found = point_at(self.row, quant, workload.context_tokens) if recipe.name in self.row["quants"] else None
        if found is None:
            return self.opened().reads(self._own(recipe), workload, placement)
        read = self.row["quants"][recipe.name][3]
        return None if read is None else {gpu(0): read + found.more_read}

    def _own(self, recipe: Recipe) -> Recipe:
        return self.opened().recipe(recipe.name, None)


def weights(row: Row, quant: str) -> Iterator[tuple[str, int]]:
    """(device, bytes) of the loaded weights."""
    return ((device, size) for device, size in zip(_DEVICES, row["quants"][quant][2], strict=True) if size)


def point_at(row: Row, quant: str, tokens: int) -> Point | None:
    """The pieces at a context; None where the row does not give them.

    quant: the one whose points they are; empty: those of all
    """
    points = row["points"][quant]
    after = bisect_left(points, tokens, key=lambda point: int(point[0]))
    if after < len(points) and points[after][0] == tokens:
        return _read(points[after])
    if tokens % _STEP_TOKENS:
        return None  # a step of fewer tokens may be shorter
    start = row["beyond"]
    if start is not None and start < tokens <= row["longest"]:
        by_tokens = {point[0]: point for point in points}
        return _on_line(_read(by_tokens[start]), _read(by_tokens[2 * start]), tokens, row["doubt"])
    if row["joined"] and 0 < after < len(points):
        return _on_line(_read(points[after - 1]), _read(points[after]), tokens, row["doubt"])
    return None


def _read(point: Sequence[Any]) -> Point:
    tokens, caches, others, more_read = point
    return Point(
        tokens,
        tuple((_DEVICES[place], size) for place, size in caches),
        tuple(Part(_KINDS[kind], "", _DEVICES[place], size, _BASES[basis], "", "", margin) for kind, place, size, basis, margin in others),
        more_read,
    )


def _written(point: Point) -> list[Any]:
    return [
        point.tokens,
        [[_DEVICES.index(device), size] for device, size in point.caches],
        [[_KINDS.index(part.kind), _DEVICES.index(part.device), part.bytes, _BASES.index(part.basis), part.margin_bytes] for part in point.others],
        point.more_read,
    ]


def _on_line(low: Point, high: Point, tokens: int, doubt: int) -> Point | None:
    """What lies on the line through two points, rounded down; None where a margin that changes is not that of a doubt about the graph, in percent."""
    steps, base = tokens - low.tokens, high.tokens - low.tokens
    others = []
    for part, more in zip(low.others, high.others, strict=True):
        margin = part.margin_bytes
        size = part.bytes + (more.bytes - part.bytes) * steps // base
        if margin != more.margin_bytes:
            if (margin, more.margin_bytes) != (doubt_bytes(part.bytes, doubt), doubt_bytes(more.bytes, doubt)):
                return None
            margin = doubt_bytes(size, doubt)
        others.append(part._replace(bytes=size, margin_bytes=margin))
    return Point(
        tokens,
        tuple((device, size + (more - size) * steps // base) for (device, size), (_, more) in zip(low.caches, high.caches, strict=True)),
        tuple(others),
        low.more_read + (high.more_read - low.more_read) * steps // base,
    )


def remember(runtime: Runtime, ggml: Mapping[str, Any], *, gpus: int, vision: bool) -> Row:
    """The row of a model with all layers on one GPU, or with none: all on the host.

    ggml: the engine's facts
    vision: with its tower and one image
    """
    doubt = doubt_percent(runtime.model.architecture, ggml)
    machine = _unlimited(gpus)
    longest = runtime.longest_context()
    headline = min(HEADLINE_TOKENS, runtime.model.context.native_tokens)
    workload = Workload(context_tokens=headline, vision=vision)
    placement = runtime.placement(workload, machine)
    recipes = {name: runtime.recipe(name, None) for name in runtime.usual_quants()}
    pieces = {name: runtime.pieces(recipe, workload, placement) for name, recipe in recipes.items()}
    alike = not any(found.by_recipe for found in pieces.values())
    beyond = runtime.straight_from(workload, placement, longest // _STEP_TOKENS * _STEP_TOKENS)
    joined = beyond is None and longest <= _EVERY_STEP_TO

    contexts = _contexts(headline, longest, beyond, every=joined)
    contexts = [tokens for tokens in contexts if runtime.refuses(next(iter(recipes.values())), workload._replace(context_tokens=tokens), machine) is None]

    def read_at(recipe: Recipe, tokens: int) -> int | None:
        found = runtime.reads(recipe, workload._replace(context_tokens=tokens), placement)
        return found[gpu(0)] if found and set(found) == {gpu(0)} else None

    def looked_at(recipe: Recipe) -> list[Point]:
        found, at_first = [], read_at(recipe, contexts[0]) or 0
        for tokens in contexts:
            laid = runtime.pieces(recipe, workload._replace(context_tokens=tokens), placement)
            others = tuple(part._replace(label="", because="", source="") for part in laid.others)
            found.append(Point(tokens, laid.caches, others, (read_at(recipe, tokens) or 0) - at_first))
        return corners(found, doubt) if joined else found

    parameters, active = counts(runtime.model)
    names = list(recipes)[:1] if alike else list(recipes)
    return {
        "runtime": runtime.id,
        "version": runtime.version,
        "longest": longest,
        "layers": len(placement.layers),
        "reserve": runtime.reserves(workload, machine)[0],
        "parameters": parameters,
        "active_parameters": active,
        "experts": runtime.model.text.experts is not None,
        "quants": {
            name: [runtime.bits_per_weight(recipe), runtime.tensor_bytes(recipe), _summed(pieces[name].weights), read_at(recipe, contexts[0])]
            for name, recipe in recipes.items()
        },
        "points": {("" if alike else name): [_written(point) for point in looked_at(recipes[name])] for name in names},
        "doubt": doubt,
        "joined": joined,
        "beyond": beyond,
    }


def _unlimited(gpus: int) -> Machine:
    devices = tuple(Gpu(index=index, id=None, name="any", memory_bytes=_LARGEST) for index in range(gpus))
    return Machine(origin=Origin.UNLIMITED, label="any", gpus=devices)


def _contexts(headline: int, longest: int, beyond: int | None, *, every: bool) -> list[int]:
    """The contexts that a row is made of."""
    whole = longest // _STEP_TOKENS * _STEP_TOKENS
    asked = {headline, longest}
    if every:
        return sorted({*range(_STEP_TOKENS, whole + 1, _STEP_TOKENS), *asked})
    if beyond is not None:
        on_line = {tokens for tokens in asked if tokens >= beyond and tokens % _STEP_TOKENS == 0}
        return sorted({beyond, 2 * beyond, *asked} - (on_line - {beyond, 2 * beyond}))
    return sorted({tokens for tokens in USUAL_CONTEXTS if tokens <= whole} | {whole, *asked} - {0})


def corners(points: Sequence[Point], doubt: int = 0) -> list[Point]:
    """As few of the points as give all the others by straight lines; every step between the first and the last is among them."""
    kept = list(points[:1])
    while kept and kept[-1] is not points[-1]:
        first = points.index(kept[-1])
        last = first + 1
        while last + 1 < len(points) and _is_line(points[first : last + 2], doubt):
            last += 1
        kept.append(points[last])
    return kept


def _is_line(points: Sequence[Point], doubt: int) -> bool:
    low, *between, high = points
    return all(point.tokens % _STEP_TOKENS == 0 and _on_line(low, high, point.tokens, doubt) == point for point in between)


def _summed(sizes: Sequence[tuple[str, int]]) -> list[int]:
    return [sum(size for device, size in sizes if device == place) for place in _DEVICES]
