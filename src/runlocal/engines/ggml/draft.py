"""A draft model beside the model: a second llama.cpp context that guesses tokens ahead (`--spec-type draft-simple`).

https://github.com/ggml-org/llama.cpp/blob/0c1e57098/common/speculative.cpp (common_base_params_to_speculative, common_speculative_init_result)
"""

from collections.abc import Sequence
from typing import Protocol

from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.core.part import DRAFT, Kind, Part
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings
from runlocal.quants.gguf import Recipe

_MOST_VOCABULARY_DIFFERENCE = 128  # SPEC_VOCAB_MAX_SIZE_DIFFERENCE


class Opened(Protocol):
    """What is asked of an open model that drafts."""

    model: ModelSpec

    def placement(self, workload: Workload, machine: Machine, shares: Sequence[float] | None = None) -> Placement:
        """Layers on devices; shares replace the memory of each GPU."""

    def parts(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> tuple[Part, ...]:
        """Everything that takes memory."""


class Draft(NamedTuple):
    """A draft model.

    opened: the model, opened in the same runtime
    recipe: its quantization
    file: its file, as the runtime's command line names it
    refusal: why the runtime does not load it, None where it does
    """

    opened: Opened
    recipe: Recipe
    file: str
    refusal: str | None

    @property
    def name(self) -> str:
        """`llama-3.2-1b@Q4_K_M`."""
        return f"{self.opened.model.id}@{self.recipe.name}"


def draft_parts(draft: Draft, workload: Workload, settings: Settings, placement: Placement, machine: Machine) -> tuple[Part, ...]:
    """What the draft model takes: weights, a cache in f16 for the same context and sequences, and buffers of its own; the driver's context is shared.

    settings, placement: those of the model that it drafts for
    """
    own = _workload(workload, settings)
    # All its layers go to the GPUs, by the list of `-ts` that the model's own are split by; a list of zeros is none.
    held = {device: end - start for device, start, end in placement.ranges}
    held[placement.output] = held.get(placement.output, 0) + 1
    counts = tuple(float(held.get(device, 0)) for device in placement.devices())
    laid = draft.opened.placement(own, machine, counts if any(counts) else None)
    parts = draft.opened.parts(draft.recipe, own, laid, machine)
    return tuple(part._replace(label=DRAFT + part.label) for part in parts if part.kind is not Kind.RUNTIME)


def _workload(workload: Workload, settings: Settings) -> Workload:
    """The draft context's workload: the model's whole context, one row of logits per sequence, no option that has a twin for drafts."""
    streams = 1 if workload.unified_kv else workload.sequences
    return workload._replace(
        pool_tokens=settings.cells * streams,
        cache_type_k="f16",
        cache_type_v="f16",
        output_tokens=workload.sequences,
        gpu_layers=None,
        cpu_moe=False,
        n_cpu_moe=0,
        vision=False,
        images=0,
        drafting=False,
    )


def refuses_draft(draft: Draft, vocabulary_size: int, *, generates: bool) -> str | None:
    """Why the model does not run with that draft; None where it does.

    vocabulary_size: of the model that it drafts for
    generates: whether that model generates tokens
    """
    if draft.refusal:
        return f"draft: {draft.refusal}"
    if not generates or draft.opened.model.text.pooling:
        return "an embedding model generates no tokens, so there is nothing to draft"
    own = draft.opened.model.text.vocabulary_size
    if abs(own - vocabulary_size) > _MOST_VOCABULARY_DIFFERENCE:
        return (
            f"llama.cpp does not draft with {draft.opened.model.id}: its vocabulary of {own:,} tokens and the model's of {vocabulary_size:,} "
            f"differ by more than {_MOST_VOCABULARY_DIFFERENCE}"
        )
    return None


def draft_warnings(draft: Draft, family: str, context_tokens: int) -> tuple[str, ...]:
    """What the shapes do not tell: whether the tokens are the same; and a context that the draft was not trained for.

    family: of the model that it drafts for
    """
    model, found = draft.opened.model, []
    if model.family != family:
        found.append(f"llama.cpp drafts only where both vocabularies hold the same tokens; that {model.id} has them was not looked at.")
    if context_tokens > model.context.native_tokens:
        found.append(f"The draft model was trained for {model.context.native_tokens:,} tokens; its guesses get worse behind them.")
    return tuple(found)
