"""The cheapest changes that would make a no a yes, each tried with the same engine before it is offered."""

from collections.abc import Callable, Iterator

from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.report import Advice, Cell
from runlocal.core.units import context_text
from runlocal.core.verdict import Answer
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime
from runlocal.solve.asked import Asked
from runlocal.solve.cell import judge_cell

MOST_ADVICE = 5
_LEAST_USEFUL_CONTEXT = 2048
_SMALLER_CACHES = ("q8_0", "q4_0")

Opener = Callable[[str], tuple[ModelSpec, Runtime] | None]


def advice(runtime: Runtime, headline: Cell, asked: Asked, machine: Machine, where: tuple[str, ...], open_twin: Opener) -> tuple[Advice, ...]:
    """At most five changes, cheapest first: what costs the least in quality comes before what costs more.

    where: the words that name the machine on the command line
    open_twin: opens another bundled model in what loads it; None where nothing priced does
    """
    if headline.answer in (Answer.FITS, Answer.TIGHT) or headline.answer is None:
        return ()
    tried = _Trial(runtime, headline, asked, machine, where)
    found = [*tried.caches(), *tried.contexts(), *tried.quants(), *tried.without_vision(open_twin), *tried.fewer_sequences(), *tried.more_cards()]
    return tuple(found[:MOST_ADVICE])


class _Trial:
    """One headline cell, and what would change it."""

    def __init__(self, runtime: Runtime, headline: Cell, asked: Asked, machine: Machine, where: tuple[str, ...]) -> None:
        self.runtime, self.headline, self.asked, self.machine, self.where = runtime, headline, asked, machine, where
        self.workload = asked.workload._replace(context_tokens=headline.context_tokens, cache_type_k=headline.cache_type_k, cache_type_v=headline.cache_type_v)

    def caches(self) -> Iterator[Advice]:
        if self.headline.answer is Answer.CANNOT_RUN:
            return
        for kind in _SMALLER_CACHES:
            changed = self.workload._replace(cache_type_k=kind, cache_type_v=kind)
            if found := self._try(f"--kv {kind}", self.headline.quant, changed, kv=kind):
                yield found
                return

    def contexts(self) -> Iterator[Advice]:
        longest = self.headline.fits_context_tokens or (self.runtime.longest_context() if self.headline.answer is Answer.CANNOT_RUN else 0)
        if not _LEAST_USEFUL_CONTEXT <= longest < self.headline.context_tokens:
            return
        tokens = longest if longest < 2 * _LEAST_USEFUL_CONTEXT else 1 << (longest.bit_length() - 1)
        if found := self._try(f"--ctx {context_text(tokens)}", self.headline.quant, self.workload._replace(context_tokens=tokens), context=tokens):
            yield found

    def quants(self) -> Iterator[Advice]:
        names = self.runtime.usual_quants()
        finer = {self.runtime.recipe(name, self.asked.imatrix): self.runtime.bits_per_weight(self.runtime.recipe(name, self.asked.imatrix)) for name in names}
        for recipe in sorted(finer, key=lambda recipe: -finer[recipe]):
            if finer[recipe] < (self.headline.bits_per_weight or 0) and (found := self._try(f"--quant {recipe.name}", recipe.name, self.workload)):
                yield found
                return

    def without_vision(self, open_twin: Opener) -> Iterator[Advice]:
        model = self.runtime.model
        if model.vision is None or not self.workload.vision:
            return
        if found := self._try("--no-vision (text only)", self.headline.quant, self.workload._replace(vision=False), extra=("--no-vision",)):
            yield found
        if model.text_twin and (opened := open_twin(model.text_twin)):
            twin, runtime = opened
            change = f"{twin.id}: the same text weights without the image part, where images are not needed"
            if found := self._try(change, self.headline.quant, self.workload, runtime=runtime, name=twin.id):
                yield found

    def fewer_sequences(self) -> Iterator[Advice]:
        if self.workload.sequences > 1 and (found := self._try("--parallel 1", self.headline.quant, self.workload._replace(sequences=1))):
            yield found

    def more_cards(self) -> Iterator[Advice]:
        gpus = self.machine.gpus
        if len(gpus) != 1 or not gpus[0].id or gpus[0].unified:
            return
        for count in (2, 4):
            several = self.machine._replace(gpus=tuple(gpus[0]._replace(index=index) for index in range(count)), label=f"{count} × {self.machine.label}")
            where = ("--gpu", f"{count}x{gpus[0].id}")
            if found := self._try(f"{count} × {gpus[0].name}", self.headline.quant, self.workload, machine=several, where=where):
                yield found
                return

    def _try(
        self,
        change: str,
        quant: str,
        workload: Workload,
        *,
        runtime: Runtime | None = None,
        machine: Machine | None = None,
        where: tuple[str, ...] | None = None,
        name: str | None = None,
        kv: str | None = None,
        context: int | None = None,
        extra: tuple[str, ...] = (),
    ) -> Advice | None:
        runtime = runtime or self.runtime
        cell = judge_cell(runtime, runtime.recipe(quant, self.asked.imatrix), workload, machine or self.machine, self.asked.reserve_bytes)
        if cell.answer not in (Answer.FITS, Answer.TIGHT) or (self.asked.strict and cell.answer is Answer.TIGHT):
            return None
        words = ["runlocal check", name or runtime.model.id, "-q", quant, "-c", context_text(context or workload.context_tokens)]
        words += ["-k", kv] if kv else ["-k", workload.cache_type_k] if workload.cache_type_k != "f16" and name is None else []
        words += ["-n", str(workload.sequences)] if workload.sequences > 1 else []
        words += [*(self.where if where is None else where), *extra]
        if self.asked.runtime and name is None:
            words += ["-r", f"{self.asked.runtime}@{self.asked.version}" if self.asked.version else self.asked.runtime]
        saves = (self.headline.need_bytes or 0) - (cell.need_bytes or 0)
        return Advice(saves_bytes=max(0, saves), change=change, answer=cell.answer, command=" ".join(words))
