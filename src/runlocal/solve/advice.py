"""The cheapest changes that would make a no a yes, each tried with the same engine before it is offered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runlocal.core.errors import Problem
from runlocal.core.machine import Backend, Gpu, Holder, Machine, Origin
from runlocal.core.model import ModelSpec
from runlocal.core.report import Advice, Cell
from runlocal.core.units import GIB, context_text, size_text
from runlocal.core.verdict import Answer, is_yes
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime
from runlocal.solve.asked import Asked
from runlocal.solve.beside import alike, alone
from runlocal.solve.cell import answer_of, judge_cell
from runlocal.solve.support import does_not_load

MOST_ADVICE = 5
_MOST_CLOSED = 8  # a list of more processes is no advice
_LEAST_USEFUL_CONTEXT = 2048
_PLAIN_CACHE = "f16"  # what a refused quantized cache leaves
_SMALLER_CACHES = ("q8_0", "q4_0")
_MEMORY_SIZES = tuple(size * GIB for size in (16, 32, 64, 128, 256, 512, 1024))

_PLACES: dict[str, Any] = {"tensor_split": None, "gpu_layers": None, "n_cpu_moe": 0, "cpu_moe": False, "kv_offload": True}
"""Where layers, experts and the cache go, as a workload says it, and what it says where nobody did."""

Opener = Callable[[str], tuple[ModelSpec, Runtime] | None]
Speller = Callable[[Mapping[str, Any], str | None], str]


def advice(runtime: Runtime, headline: Cell, asked: Asked, machine: Machine, spell: Speller, open_twin: Opener) -> tuple[Advice, ...]:
    """At most five changes, cheapest first: what costs the least in quality comes before what costs more.

    spell: the command line with some options of `check` changed, or for another model
    open_twin: opens another bundled model in what loads it; None where nothing priced does
    """
    if headline.answer is None or is_yes(headline.answer, strict=asked.strict, offload=asked.offload):
        return ()
    tried = _Trial(runtime, headline, asked, machine, spell)
    found = [
        *tried.closing(),
        *tried.as_it_chooses(),
        *tried.fewer_cards(),
        *tried.caches(),
        *tried.contexts(),
        *tried.quants(),
        *tried.without_draft(),
        *tried.without_others(),
        *tried.without_next_tokens(),
        *tried.without_vision(open_twin),
        *tried.fewer_sequences(),
        *tried.host_memory(),
        *tried.more_cards(),
    ]
    return tuple(found[:MOST_ADVICE])


class _Trial:
    """One headline cell, and what would change it."""

    def __init__(self, runtime: Runtime, headline: Cell, asked: Asked, machine: Machine, spell: Speller) -> None:
        self.runtime, self.headline, self.asked, self.machine, self.spell = runtime, headline, asked, machine, spell
        self.workload = asked.workload._replace(context_tokens=headline.context_tokens, cache_type_k=headline.cache_type_k, cache_type_v=headline.cache_type_v)
        cache = headline.cache_type_k if headline.cache_type_k == headline.cache_type_v else f"{headline.cache_type_k}:{headline.cache_type_v}"
        self.options = {"quant": headline.quant, "ctx": context_text(headline.context_tokens), "kv": None if cache == _PLAIN_CACHE else cache}

    def closing(self) -> Iterator[Advice]:
        """Other processes end: as few as will do, the largest first."""
        holders = [holder for holder in self.machine.holders if holder.known_bytes][:_MOST_CLOSED]
        if not holders or self.headline.answer is Answer.CANNOT_RUN:
            return
        least = next((count for count in range(1, len(holders) + 1) if self._without(holders[:count])), None)
        if least is None:
            return
        # Of several GPUs a large process may hold none of the one that is short.
        closed = holders[:least]
        for holder in closed[:-1]:
            if self._without(fewer := [one for one in closed if one is not holder]):
                closed = fewer
        if found := self._without(closed):
            yield found

    def _without(self, holders: Sequence[Holder]) -> Advice | None:
        pids = tuple(holder.pid for holder in holders)
        held = ", ".join(f"{holder.name or 'a process'} (pid {holder.pid}, {size_text(holder.known_bytes)})" for holder in holders)
        return self._try(f"close {held}", self.workload, {"ignore_pid": pids}, machine=self.machine.without(pids))

    def as_it_chooses(self) -> Iterator[Advice]:
        """What somebody said of where layers and experts go, left to the runtime."""
        named = {field: default for field, default in _PLACES.items() if getattr(self.workload, field) != default}
        if named and (found := self._try(f"without {' '.join(map(_option, named))}", self.workload._replace(**named), named)):
            yield found

    def fewer_cards(self) -> Iterator[Advice]:
        """Without the fullest of several GPUs: a process takes some memory of each that it computes on, and a share of the layers."""
        gpus, split = self.machine.gpus, self.workload.tensor_split
        named, here = self.machine.origin is Origin.NAMED, self.machine.origin is Origin.HERE
        known = all(gpu.id for gpu in gpus) if named else here and all(gpu.uuid and gpu.backend is Backend.CUDA for gpu in gpus)
        if len(gpus) < 2 or not known or split is not None or self.headline.answer is Answer.CANNOT_RUN:
            return
        fullest = sorted(gpus, key=lambda gpu: gpu.usable_bytes)
        for count in range(1, len(gpus)):
            left_out = fullest[:count]
            kept = [gpu for gpu in gpus if gpu not in left_out]
            if sum(gpu.usable_bytes for gpu in kept) < (self.headline.tensor_bytes or 0):
                return
            machine = self.machine._replace(gpus=tuple(gpu._replace(index=index) for index, gpu in enumerate(kept)), holders=())
            options = {"gpu": ("+".join(str(gpu.id) for gpu in kept),)} if named else {}
            if found := self._try(_without_gpus(left_out, kept, here=here), self.workload, options, machine=machine):
                visible = ",".join(str(gpu.uuid) for gpu in kept)
                yield found if named else found._replace(command=f"CUDA_VISIBLE_DEVICES={visible} {found.command}")
                return

    def caches(self) -> Iterator[Advice]:
        refused = self.headline.answer is Answer.CANNOT_RUN
        if refused and self.options["kv"] is None:
            return
        for kind in (_PLAIN_CACHE,) if refused else _SMALLER_CACHES:
            changed = self.workload._replace(cache_type_k=kind, cache_type_v=kind)
            if found := self._try(f"--kv {kind}", changed, {"kv": kind}):
                yield found
                return

    def contexts(self) -> Iterator[Advice]:
        refused = self.headline.answer is Answer.CANNOT_RUN
        longest = self.headline.fits_context_tokens or (self.runtime.longest_context() if refused else 0)
        if not _LEAST_USEFUL_CONTEXT <= longest < self.headline.context_tokens:
            return
        usual = longest if longest < 2 * _LEAST_USEFUL_CONTEXT else 1 << (longest.bit_length() - 1)
        # What the runtime caps is first asked about at the cap.
        for tokens in dict.fromkeys((longest, usual) if refused else (usual,)):
            text = context_text(tokens)
            if found := self._try(f"--ctx {text}", self.workload._replace(context_tokens=tokens), {"ctx": text}):
                yield found
                return

    def quants(self) -> Iterator[Advice]:
        recipes = [self.runtime.recipe(name, self.asked.imatrix) for name in self.runtime.usual_quants()]
        for recipe in sorted(recipes, key=lambda recipe: -self.runtime.bits_per_weight(recipe)):
            fewer = self.runtime.bits_per_weight(recipe) < (self.headline.bits_per_weight or 0)
            if fewer and (found := self._try(f"--quant {recipe.name}", self.workload, {"quant": recipe.name}, quant=recipe.name)):
                yield found
                return

    def without_draft(self) -> Iterator[Advice]:
        if self.workload.drafting and (found := self._try("without the draft model (slower)", self.workload._replace(drafting=False), {"draft": None})):
            yield found

    def without_others(self) -> Iterator[Advice]:
        names = " and ".join(one.name for one in self.headline.beside)
        if (runtime := alone(self.runtime)) and (found := self._try(f"without {names} beside it", self.workload, {"beside": ()}, runtime=runtime)):
            yield found

    def without_next_tokens(self) -> Iterator[Advice]:
        if self.workload.mtp and (found := self._try("without --mtp (slower)", self.workload._replace(mtp=False), {"mtp": False})):
            yield found

    def without_vision(self, open_twin: Opener) -> Iterator[Advice]:
        model = self.runtime.model
        if model.vision is None or not self.workload.vision:
            return
        if found := self._try("--no-vision (text only)", self.workload._replace(vision=False), {"vision": False}):
            yield found
        if model.text_twin and (opened := open_twin(model.text_twin)):
            twin, runtime = opened[0], alike(self.runtime, opened[1])
            change = f"{twin.id}: the same text weights without the image part, where images are not needed"
            if found := self._try(
                change, self.workload._replace(drafting=False, mtp=False), {"runtime": None, "draft": None, "mtp": False}, runtime=runtime, other=twin.id
            ):
                yield found

    def fewer_sequences(self) -> Iterator[Advice]:
        """As many as fit."""
        fewest, most = 1, self.workload.sequences
        best = self._with_sequences(1) if most > 1 else None
        if best is None:
            return
        while most - fewest > 1:
            middle = (fewest + most) // 2
            if found := self._with_sequences(middle):
                best, fewest = found, middle
            else:
                most = middle
        yield best

    def _with_sequences(self, count: int) -> Advice | None:
        return self._try(f"--parallel {count}", self.workload._replace(sequences=count), {"parallel": count})

    def host_memory(self) -> Iterator[Advice]:
        """What does not fit goes to host memory, in steps that memory is sold in."""
        given, gpus = self.machine.host_bytes, self.machine.gpus
        fixed = given is not None and self.machine.origin is Origin.HERE
        if fixed or not gpus or self.headline.answer in (Answer.CANNOT_RUN, Answer.SPILLS):
            return
        least = (self.headline.tensor_bytes or 0) - sum(gpu.usable_bytes for gpu in gpus)
        for size in _MEMORY_SIZES:
            if size <= max(given or 0, least):
                continue
            machine = self.machine._replace(host_bytes=size)
            if found := self._try("", self.workload, {"ram": f"{size // GIB}GB", "offload": True}, machine=machine, spilling=True):
                yield found
                return

    def more_cards(self) -> Iterator[Advice]:
        gpus = self.machine.gpus
        if len(gpus) != 1 or not gpus[0].id or gpus[0].unified or self.machine.origin is not Origin.NAMED:
            return
        for count in (2, 3, 4):
            several = self.machine._replace(
                gpus=tuple(gpus[0]._replace(index=index, in_use_bytes=None) for index in range(count)), label=f"{count} × {self.machine.label}"
            )
            if found := self._try(f"{count} × {self.machine.label}", self.workload, {"gpu": (f"{count}x{gpus[0].id}",)}, machine=several):
                yield found
                return

    def _try(
        self,
        change: str,
        workload: Workload,
        options: Mapping[str, Any],
        *,
        quant: str | None = None,
        runtime: Runtime | None = None,
        machine: Machine | None = None,
        other: str | None = None,
        spilling: bool = False,
    ) -> Advice | None:
        """The change as advice where it makes a yes; None where it makes none, and where what it would take is not computed or not to be had."""
        runtime, machine = runtime or self.runtime, machine or self.machine
        refusal = does_not_load(runtime.model, runtime)
        offload = self.asked.offload or spilling
        try:
            recipe = runtime.recipe(quant or self.headline.quant, self.asked.imatrix)
            if not offload:
                # A verdict is enough: what spills is no yes.
                judged = answer_of(runtime, recipe, workload, machine, self.asked.reserve_bytes, refusal)
                answer, need = judged.answer, judged.laid and (sum(judged.laid.load.gpus) if machine.gpus else judged.laid.load.host)
            else:
                cell = judge_cell(runtime, recipe, workload, machine, self.asked.reserve_bytes, refusal)
                answer, need = cell.answer, cell.need_bytes
        except Problem:
            return None
        if answer is None or not is_yes(answer, strict=self.asked.strict, offload=offload):
            return None
        if spilling:
            change = f"--ram {options['ram']} --offload: {cell.reason}"
        saves = (self.headline.need_bytes or 0) - (need or 0)
        return Advice(saves_bytes=max(0, saves), change=change, answer=answer, command=self.spell({**self.options, **options}, other))


def _option(field: str) -> str:
    """How the command line spells a field of a workload."""
    return "--no-kv-offload" if field == "kv_offload" else f"--{field.replace('_', '-')}"


def _without_gpus(left_out: Sequence[Gpu], kept: Sequence[Gpu], *, here: bool) -> str:
    if not here:
        return f"{' + '.join(gpu.name for gpu in kept)} alone"
    numbers = [str(gpu.index) for gpu in sorted(left_out, key=lambda gpu: gpu.index)]
    return f"leave GPU {numbers[0]} out" if len(numbers) == 1 else f"leave GPUs {', '.join(numbers[:-1])} and {numbers[-1]} out"
