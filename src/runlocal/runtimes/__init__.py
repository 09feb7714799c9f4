"""What people name: a version's defaults and refusals on top of an engine."""

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from runlocal.core.facts import Facts
from runlocal.core.load import Load
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.part import Part
from runlocal.core.workload import Workload
from runlocal.engines.ggml.draft import Draft
from runlocal.engines.ggml.files import OwnTensors
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.session import Pieces
from runlocal.quants.gguf import Recipe

RUNTIMES = {"llama.cpp": "llama_cpp", "ollama": "ollama"}


class Judgeable(Protocol):
    """What the judge asks of a model in a runtime."""

    def __hash__(self) -> int:
        """One open model is one thing: answers may be remembered by it."""

    def longest_context(self) -> int:
        """Tokens of one sequence that the runtime serves, by a setting where it has one."""

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        """Why it would not run that, one sentence; None where it would."""

    def placement(self, workload: Workload, machine: Machine, shares: Sequence[float] | None = None) -> Placement:
        """Layers on devices as the runtime splits them; shares replace its own split."""

    def reserves(self, workload: Workload, machine: Machine) -> tuple[int, ...]:
        """Bytes that the runtime itself leaves free on each device."""

    def load(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> Load:
        """Everything that takes memory, summed per device. rough: compute buffers near enough for a search over placements."""

    def straight_from(self, workload: Workload, placement: Placement, most_tokens: int) -> int | None:
        """Context from which to `most_tokens` the load is the straight line through it and twice as much, rounded down; None where it may not be."""

    def layer_bytes(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[int, ...]:
        """Bytes that each layer and, last, the output take on a GPU; what the placement keeps on the host whatever the layer is left out."""


class Runtime(Judgeable, Protocol):
    """One model in one version of a runtime."""

    id: str
    version: str
    model: ModelSpec

    def adopt(self, own: OwnTensors) -> None:
        """Takes a file's own tensors in place of a recipe."""

    def take_draft(self, draft: Draft) -> None:
        """Takes a draft model, which runs beside where a workload says so. Raises Problem (not_computed) where this runtime's is not priced."""

    def draft_of(self, workload: Workload) -> str | None:
        """The draft model and its quantization; None without one."""

    def most_gpus(self) -> int:
        """GPUs that one process computes on at most."""

    def warnings(self, workload: Workload) -> tuple[str, ...]:
        """What the reader should know although it runs, a sentence each."""

    def recipe(self, name: str, imatrix: bool | None) -> Recipe:
        """The quantization of that name. Raises Problem (unknown_quant)."""

    def usual_quants(self) -> tuple[str, ...]:
        """What is asked about when nobody names a quantization, finest first."""

    def parts(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> tuple[Part, ...]:
        """Everything that takes memory. rough: compute buffers near enough for a search over placements."""

    def pieces(self, recipe: Recipe, workload: Workload, placement: Placement) -> Pieces:
        """What `load` sums of a recipe, before a machine moves or doubts any of it."""

    def reads(self, recipe: Recipe, workload: Workload, placement: Placement) -> dict[str, int] | None:
        """Bytes that each device reads for one token of one sequence with its context full; None where that is not known.

        What is cached on the host stands apart, under `core.speed.HOST_CACHE`.
        """

    def file(self, recipe: Recipe) -> str:
        """The model's file."""

    def tensor_bytes(self, recipe: Recipe) -> int:
        """Bytes of the language model's tensors in the file."""

    def bits_per_weight(self, recipe: Recipe) -> float:
        """Bits per stored value."""

    def image_tokens(self, images: int, image_size: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """(least, most) tokens of context that so many images of that size take; None where the tower is not known."""

    def step(self, workload: Workload, placement: Placement) -> tuple[int, bool]:
        """(tokens per step, whether flash attention is on)."""

    def command(self, recipe: Recipe, workload: Workload, placement: Placement) -> str:
        """What a person types to start it so."""


def is_priced(runtime_id: str) -> bool:
    """Whether this version of ours computes what the runtime takes; of the others, what they refuse is known at most."""
    return runtime_id in RUNTIMES


def open_runtime(runtime_id: str, version: str, model: ModelSpec, facts: Facts) -> Runtime:
    """The model in that version of the runtime. Raises Problem (not_computed) for a version that is not priced of one that is.

    Of a runtime that is not priced, whatever has to be computed raises it once it is asked for.
    """
    if not is_priced(runtime_id):
        unpriced: Runtime = import_module("runlocal.runtimes.unpriced").Unpriced(runtime_id, version, model, facts, tuple(RUNTIMES))
        return unpriced
    opened: Runtime = import_module(f"runlocal.runtimes.{RUNTIMES[runtime_id]}").open_model(model, version, facts)
    return opened
