"""Ollama: since 0.30.0 llama-server with its own batch sizes and reserves; to 0.24.0 an engine of its own, priced for Llama 3.2 Vision."""

from typing import Any

from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.part import HOST
from runlocal.core.shell import quoted
from runlocal.core.workload import Workload
from runlocal.engines.ggml.draft import Draft
from runlocal.engines.ggml.nextn import refuses_next_tokens
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.refusals import refuses_cache
from runlocal.engines.ggml.session import Session
from runlocal.engines.ggml.settings import Settings
from runlocal.engines.ollama_own import OwnEngineSession
from runlocal.quants.gguf import Recipe

ID = "ollama"
_NOT_LOOKED_AT = "Whether the file in Ollama's library holds next-token layers was not looked at; files of llama.cpp's converter do."
_LIBRARY_QUANT = "Q4_K_M"  # what a tag without a quantization is


def open_model(model: ModelSpec, version: str, facts: Facts) -> "OllamaServer | OllamaOwn":
    """Raises Problem (not_computed) for versions to 0.24.0 and other models than mllama: their engine is not priced."""
    if facts.runtime["engine"] == "llama-server":
        return OllamaServer(model, version, facts)
    if model.architecture == "mllama":
        return OllamaOwn(model, version, facts)
    raise Problem(
        Code.NOT_COMPUTED,
        f"Ollama {version} ran {model.architecture} in an engine of its own, which this version does not compute",
        hint="-r ollama takes the newest version",
    )


class _Ollama(Session):
    """What both kinds of version share."""

    id = ID

    def __init__(self, model: ModelSpec, version: str, facts: Facts) -> None:
        super().__init__(model, facts)
        self.version = version
        self._draft: Draft | None = None

    def take_draft(self, draft: Draft) -> None:
        self._draft = draft

    def draft_of(self, workload: Workload) -> str | None:
        return self._draft.name if self._draft and workload.drafting else None

    def warnings(self, workload: Workload) -> tuple[str, ...]:
        return (_NOT_LOOKED_AT,) if workload.mtp else ()

    def usual_quants(self) -> tuple[str, ...]:
        return self.quants_usual_in(ID)

    def longest_context(self) -> int:
        return self.model.context.native_tokens

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        if workload.drafting:
            return "Ollama drafts with next-token layers or DFlash files alone; a draft model beside the model is for llama.cpp"
        if workload.mtp and (reason := refuses_next_tokens(self.model, self.layout, self.facts)):
            return reason
        if workload.cache_type_k != workload.cache_type_v:
            return "Ollama sets one type for the whole cache (OLLAMA_KV_CACHE_TYPE)"
        if reason := self.refuses_devices(machine) or refuses_cache(self.caches, workload, self.settings(workload).flash_attention, self.facts.types):
            return f"Ollama refuses: {reason}"
        if workload.pool_tokens is None and workload.context_tokens > self.longest_context():
            return f"Ollama clips the context to the {self.longest_context():,} tokens that the model was trained for"
        if workload.tensor_parallel > 1 or workload.pipeline_parallel > 1:
            return "Ollama splits by layers; --tp and --pp are for other runtimes"
        if workload.sequences > 1 and self.layout.architecture in self.facts.runtime["single_sequence_architectures"]:
            return "Ollama runs this architecture with one sequence at a time"
        if workload.tensor_split is not None:
            return "Ollama shares the layers out itself; --tensor-split is for llama.cpp"
        return _no_switch(workload)

    def reserves(self, workload: Workload, machine: Machine) -> tuple[int, ...]:
        """Free memory per GPU; the projector's own on the first."""
        least = self.facts.runtime["least_free_bytes"]
        projector = self.facts.runtime.get("projector_headroom_bytes", 0) if self.model.vision is not None and workload.vision else 0
        return tuple(least + (projector if index == 0 else 0) for index in range(len(machine.gpus) or 1))

    def command(self, recipe: Recipe, workload: Workload, placement: Placement) -> str:
        settings = [f"OLLAMA_CONTEXT_LENGTH={workload.context_tokens}"]
        if workload.sequences > 1:
            settings.append(f"OLLAMA_NUM_PARALLEL={workload.sequences}")
        if workload.flash_attention is not None or workload.cache_type_k != "f16":
            settings.append(f"OLLAMA_FLASH_ATTENTION={int(workload.flash_attention is not False)}")
        if workload.cache_type_k != "f16":
            settings.append(f"OLLAMA_KV_CACHE_TYPE={workload.cache_type_k}")
        served = f"{' '.join(settings)} ollama serve &"
        known, parameters = self._published(recipe, workload), self._parameters(workload)
        if known and not parameters:
            return f"{served} ollama run {known}"
        # Ollama makes few quantizations itself and takes the file of any.
        made = f"{self.model.id}-{'mtp' if workload.mtp else recipe.name.lower()}"
        lines = (f"FROM {known or _from_here(self.file(recipe))}", *(f"PARAMETER {name} {value}" for name, value in parameters.items()))
        written = " ".join(map(quoted, lines))
        return f"{served} printf '%s\\n' {written} > Modelfile && ollama create {made} -f Modelfile && ollama run {made}"

    def _published(self, recipe: Recipe, workload: Workload) -> str | None:
        """The name under which Ollama fetches that model; None where a file of one's own has to do."""
        if recipe.file is not None:
            return f"hf.co/{recipe.file.repo}:{recipe.file.quant}"
        library = _LIBRARY_QUANT if _LIBRARY_QUANT in self.usual_quants() else self.usual_quants()[0]
        tag = next((alias.name for alias in self.model.aliases if alias.kind == "ollama" and alias.variant == self.model.variant), None)
        return tag if recipe.name == library else None

    def _parameters(self, workload: Workload) -> dict[str, int]:
        """What a Modelfile sets of it, by the names of api/types.go; next-token layers are used once the number of guesses is set."""
        asked = {
            "num_batch": workload.batch_tokens,
            "num_gpu": workload.gpu_layers,
            "draft_num_predict": self.drafted(workload) if workload.mtp else None,
        }
        return {name: value for name, value in asked.items() if value is not None}


def _no_switch(workload: Workload) -> str | None:
    """What llama-server could be told and Ollama, which starts it, cannot."""
    asked = {
        "keeps experts on the host": workload.cpu_moe or workload.n_cpu_moe > 0,
        "keeps the cache on the host": not workload.kv_offload,
        "keeps the whole context in layers with a window": workload.swa_full,
        "lets sequences share one cache": workload.unified_kv and workload.sequences > 1,
    }
    return next((f"Ollama has no switch that {does}" for does, wanted in asked.items() if wanted), None)


def _from_here(path: str) -> str:
    """A path that Ollama does not take for the name of a model."""
    return path if path.startswith(("/", "./", "../")) else f"./{path}"


class OllamaServer(_Ollama):
    """Ollama since 0.30.0: llama-server does the work."""

    def __init__(self, model: ModelSpec, version: str, facts: Facts) -> None:
        if model.vision is not None and model.architecture in facts.runtime["image_least_architectures"]:
            facts = facts._replace(vision={**facts.vision, "image_least_tokens": facts.runtime["image_least_tokens"]})
        super().__init__(model, version, facts)

    def batches(self, workload: Workload) -> tuple[int, int]:
        """Batch and ubatch are one number that follows the context (`automaticGenerationBatch`, server/sched.go)."""
        pool = workload.pool_tokens or workload.context_tokens
        if self.layout.pooling and workload.batch_tokens is None:
            tokens = min(self.facts.runtime["embedding_batch_tokens"], pool)
            return tokens, tokens
        tiers: Any = self.facts.runtime["batch_tiers_tokens"]
        tokens = workload.batch_tokens or next(batch for least, batch in tiers if pool >= least)
        return tokens, tokens

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        return super().refuses(recipe, workload, machine) or self.refuses_graph(workload, machine)

    def tower_on(self, workload: Workload, placement: Placement) -> str:
        """With fewer layers named than there are, the projector stays on the host (`shouldDisableMMProjOffload`, llm/llama_server.go)."""
        some = workload.gpu_layers is not None and workload.gpu_layers < len(placement.layers) + 1
        return HOST if some else super().tower_on(workload, placement)

    def _published(self, recipe: Recipe, workload: Workload) -> str | None:
        """As any, but what Ollama fetches comes with its projector."""
        return None if self.model.vision is not None and not workload.vision else super()._published(recipe, workload)


class OllamaOwn(_Ollama, OwnEngineSession):
    """Ollama to 0.24.0, for mllama: one image, one sequence, no flash attention."""

    def batches(self, workload: Workload) -> tuple[int, int]:
        tokens = workload.batch_tokens or self.facts.runtime["batch_tokens"]
        return tokens, tokens

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        most = self.facts.runtime["mllama_images"]
        if workload.vision and workload.images > most:
            return f"Ollama runs this model with {most} image at a time, {workload.images} were asked for"
        if any(self.facts.types[name.upper()].block_elements > 1 for name in (workload.cache_type_k, workload.cache_type_v)):
            return "Ollama's own engine runs this model without flash attention, which a quantized cache needs"
        if workload.flash_attention:
            return "Ollama's own engine runs this model without flash attention"
        return super().refuses(recipe, workload, machine)

    def settings(self, workload: Workload) -> Settings:
        return super().settings(workload._replace(flash_attention=False))
