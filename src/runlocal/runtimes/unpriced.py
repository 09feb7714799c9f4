"""A runtime that is known and not priced: what its own rules forbid is a no, and whatever would have to be computed is said not to be."""

from importlib import import_module
from typing import Any, NoReturn

from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.workload import Workload
from runlocal.engines.ggml.draft import Draft
from runlocal.engines.ggml.files import OwnTensors
from runlocal.quants.gguf import Recipe

RULES = {"vllm": "runlocal.engines.vllm.known"}
"""What is known of each: `refuses(model, workload, gpus, facts)`, and in words what of it could be priced, `weights(model, workload, facts)`."""


class Unpriced:
    """One model in one version of such a runtime. What of `runlocal.runtimes.Runtime` is not below raises Problem (not_computed)."""

    def __init__(self, runtime_id: str, version: str, model: ModelSpec, facts: Facts, priced: tuple[str, ...]) -> None:
        self.id, self.version, self.model = runtime_id, version, model
        self._facts, self._priced = facts, priced
        self._own: OwnTensors | None = None
        self._draft: Draft | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._not_computed()

    def _not_computed(self, what: str | None = None) -> NoReturn:
        raise Problem(
            Code.NOT_COMPUTED,
            f"what {self.id} takes is not computed in this version" if what is None else what,
            hint=f"`runlocal show {self.model.id}` says what is known; computed: {', '.join(self._priced)}",
        )

    def adopt(self, own: OwnTensors) -> None:
        """Raises Problem (not_computed) where the runtime is known to load no GGUF files."""
        if "quantizations" in self._facts.runtime:
            raise Problem(Code.NOT_COMPUTED, f"{self.id} {self.version} loads no GGUF files", hint="name the model, or the folder of its checkpoint")
        self._own = own

    def take_draft(self, draft: Draft) -> None:
        self._draft = draft

    def draft_of(self, workload: Workload) -> str | None:
        return self._draft.name if self._draft and workload.drafting else None

    def longest_context(self) -> int:
        return self.model.context.extended_tokens or self.model.context.native_tokens

    def usual_quants(self) -> tuple[str, ...]:
        return (self._own.quant if self._own else self.model.checkpoint_type,)

    def recipe(self, name: str, imatrix: bool | None) -> Recipe:
        """The quantization of that name. Raises Problem: unknown_quant; not_computed where nobody read which there are."""
        named = self._facts.runtime.get("quantizations")
        known = {_plain(one): one for one in (*(named or ()), *self.usual_quants())}
        typed = _plain(name)
        if typed not in known and named is None:
            self._not_computed(f"which quantizations {self.id} {self.version} takes is not known here")
        if typed not in known:
            from difflib import get_close_matches

            near = tuple(known[one] for one in get_close_matches(typed, known))
            what = f"{name[:40]!r} is no quantization that {self.id} takes"
            raise Problem(Code.UNKNOWN_QUANT, what, hint="known: " + ", ".join(known.values()), candidates=near)
        if imatrix is not None and named is not None:
            raise Problem(Code.BAD_VALUE, "an importance matrix belongs to GGUF files", hint=f"leave --imatrix and --no-imatrix out with -r {self.id}")
        return Recipe(known[typed], known[typed], False)

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        """Why it would not run that, one sentence. Raises Problem (not_computed) where nothing known here forbids it."""
        if self.id not in RULES:
            self._not_computed()
        rules = import_module(RULES[self.id])
        reason: str | None = rules.refuses(self.model, workload, len(machine.gpus), self._facts)
        if reason:
            return reason
        held: str | None = rules.weights(self.model, workload, self._facts) if recipe.name == self.model.checkpoint_type else None
        self._not_computed(f"what {self.id} takes is not computed in this version" + (f"; {held}" if held else ""))


def _plain(name: str) -> str:
    """A quantization as it is compared, however it is written."""
    plain = name.strip().upper().replace("-", "_")
    return {"FP16": "F16"}.get(plain, plain)
