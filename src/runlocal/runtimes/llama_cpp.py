"""llama.cpp: `llama-server` on a GGUF file."""

from runlocal.core.facts import Facts
from runlocal.core.load import Load, load_of
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.part import Part
from runlocal.core.shell import quoted
from runlocal.core.workload import Workload
from runlocal.engines.ggml.draft import Draft, draft_parts, draft_warnings, refuses_draft
from runlocal.engines.ggml.nextn import refuses_next_tokens
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.refusals import refuses_cache
from runlocal.engines.ggml.session import Session
from runlocal.quants.gguf import Recipe

ID = "llama.cpp"
_STATIC_SCALING = (
    "Rotary scaling reaches beyond the model's {native_tokens:,} tokens. It is the same for every text: short ones may be answered worse than without it."
)


def open_model(model: ModelSpec, version: str, facts: Facts) -> "LlamaCpp":
    return LlamaCpp(model, version, facts)


class LlamaCpp(Session):
    """A model in llama.cpp."""

    id = ID

    def __init__(self, model: ModelSpec, version: str, facts: Facts) -> None:
        super().__init__(model, facts)
        self.version = version
        self._draft: Draft | None = None

    def usual_quants(self) -> tuple[str, ...]:
        return self.quants_usual_in(ID)

    def longest_context(self) -> int:
        return self.model.context.extended_tokens or self.model.context.native_tokens

    def take_draft(self, draft: Draft) -> None:
        self._draft = draft

    def _drafts(self, workload: Workload) -> Draft | None:
        return self._draft if workload.drafting else None

    def draft_of(self, workload: Workload) -> str | None:
        draft = self._drafts(workload)
        return draft.name if draft else None

    def warnings(self, workload: Workload) -> tuple[str, ...]:
        draft = self._drafts(workload)
        drafted = draft_warnings(draft, self.model.family, workload.context_tokens) if draft else ()
        scaling = _STATIC_SCALING.format(native_tokens=self.model.context.native_tokens)
        return (*drafted, scaling) if self._stretches(workload) else drafted

    def parts(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> tuple[Part, ...]:
        parts = super().parts(recipe, workload, placement, machine, rough=rough)
        draft = self._drafts(workload)
        return (*parts, *draft_parts(draft, workload, self.settings(workload), placement, machine)) if draft else parts

    def load(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> Load:
        load = super().load(recipe, workload, placement, machine, rough=rough)
        draft = self._drafts(workload)
        return load.plus(load_of(draft_parts(draft, workload, self.settings(workload), placement, machine), placement.gpus)) if draft else load

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        if reason := self.refuses_devices(machine) or refuses_cache(self.caches, workload, self.settings(workload).flash_attention, self.facts.types):
            return f"llama.cpp refuses: {reason}"
        if workload.pool_tokens is None and workload.context_tokens > self.longest_context():
            return _beyond(self.model.context.native_tokens, self.model.context.extended_tokens)
        if (draft := self._drafts(workload)) and (reason := refuses_draft(draft, self.model.text.vocabulary_size, generates=not self.layout.pooling)):
            return reason
        if workload.mtp and workload.drafting:
            return "--draft and --mtp exclude one another: with both, llama.cpp runs the draft model's next-token layers"
        if workload.mtp and (reason := refuses_next_tokens(self.model, self.layout, self.facts)):
            return reason
        if workload.tensor_parallel > 1 or workload.pipeline_parallel > 1:
            return "llama.cpp splits by layers (-sm layer); --tp and --pp are for other runtimes"
        if len(workload.tensor_split or ()) > max(1, len(machine.gpus)):
            return f"--tensor-split names {len(workload.tensor_split or ())} GPUs, and there {'is' if len(machine.gpus) == 1 else 'are'} {len(machine.gpus)}"
        return self.refuses_graph(workload, machine)

    def reserves(self, workload: Workload, machine: Machine) -> tuple[int, ...]:
        return (self.facts.runtime["fit_target_bytes"],) * (len(machine.gpus) or 1)

    def command(self, recipe: Recipe, workload: Workload, placement: Placement) -> str:
        named = ["-m", quoted(self.file(recipe))] if recipe.file is None else ["-hf", f"{recipe.file.repo}:{recipe.file.quant}"]
        words = ["llama-server", *named]
        if self.model.vision is not None:
            words += ["--mmproj", f"mmproj-{self.model.id}-{workload.mmproj_type}.gguf"] if workload.vision else ["--no-mmproj"]
        words += ["-c", str(workload.pool_tokens or workload.context_tokens * workload.sequences), "-np", str(workload.sequences)]
        if workload.unified_kv:
            words.append("--kv-unified")
        words += ["-ngl", "all" if placement.all_on_gpus and placement.gpus else str(placement.gpu_layers)]
        if placement.gpus > 1:
            held = {device: end - start for device, start, end in placement.ranges}
            held[placement.output] = held.get(placement.output, 0) + 1
            words += ["-ts", ",".join(str(held.get(device, 0)) for device in placement.devices())]
        words += self._options(workload)
        if workload.mtp:
            words += ["--spec-type", "draft-mtp"]
        if draft := self._drafts(workload):
            words += ["-md", quoted(draft.file), "--spec-type", "draft-simple", *(["-ngld", "all"] if placement.gpus else [])]
        return " ".join(words)

    def _options(self, workload: Workload) -> list[str]:
        words: list[str] = []
        if workload.flash_attention is not None:
            words += ["-fa", "on" if workload.flash_attention else "off"]
        for option, value in (("-ctk", workload.cache_type_k), ("-ctv", workload.cache_type_v)):
            if value != "f16":
                words += [option, value]
        if self.layout.pooling:
            words.append("--embedding")
        if self.layout.encoder:
            # A text goes through in one step, so the batch has to hold it.
            tokens = str(self.settings(workload).ubatch_tokens)
            words += ["-b", tokens, "-ub", tokens]
        elif workload.batch_tokens:
            words += ["-ub", str(workload.batch_tokens)]
        if workload.cpu_moe:
            words.append("--cpu-moe")
        elif workload.n_cpu_moe:
            words += ["--n-cpu-moe", str(workload.n_cpu_moe)]
        if not workload.kv_offload:
            words.append("--no-kv-offload")
        if workload.swa_full:
            words.append("--swa-full")
        if self._stretches(workload):
            original = self.model.context.original_tokens or self.model.context.native_tokens
            scale = -(-workload.context_tokens // original)
            words += ["--rope-scaling", "yarn", "--rope-scale", str(scale), "--yarn-orig-ctx", str(original)]
        return words

    def _stretches(self, workload: Workload) -> bool:
        return workload.context_tokens > self.model.context.native_tokens and self.model.context.extension == "yarn"


def _beyond(native_tokens: int, extended_tokens: int | None) -> str:
    trained = f"the {native_tokens:,} tokens that the model was trained for"
    if extended_tokens is None:
        return f"llama-server caps a sequence at {trained}"
    return f"rotary scaling takes a sequence from {trained} to {extended_tokens:,}, and no further"
