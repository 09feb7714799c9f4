"""One model in ggml: its parts for any quantization, workload and placement. What was laid out once is kept, so a grid costs little more than a cell."""

from collections.abc import Iterable, Iterator

from runlocal.core.cache import CacheKind
from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.load import Load, load_of
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, Part, gpu
from runlocal.core.workload import Workload
from runlocal.engines.ggml.cache import cache_parts, cache_sizes
from runlocal.engines.ggml.cache import layer_bytes as cache_layer_bytes
from runlocal.engines.ggml.compute import Compute, finest_of
from runlocal.engines.ggml.elsewhere import MachineKind, exact_load, kind_of, parts_on
from runlocal.engines.ggml.overhead import overhead_parts
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.settings import Settings
from runlocal.engines.ggml.weight_parts import mixture_parts, weight_parts
from runlocal.engines.ggml.weights import EMBEDDING, Sized, Weight, lay, layer_weights, measure
from runlocal.quants.gguf import Recipe


class _Spot(NamedTuple):
    """What is known of one placement.

    spread: layers or experts lie on the host
    copies: a step copies weights
    weights: sums by recipe and kind of machine
    others: sums of what goes with the workload, by everything that they follow
    """

    spread: bool
    copies: bool
    weights: dict[tuple[Recipe, MachineKind | None], Load]
    others: dict[tuple[Workload, Recipe | None, MachineKind | None, bool], Load]


class Pieces(NamedTuple):
    """What `Session.load` sums, before a machine moves or doubts any of it; what the machine itself adds is not in it.

    weights, caches: (device, bytes)
    others: buffers, and what goes with images and guessed tokens
    by_recipe: they follow the recipe
    """

    weights: tuple[tuple[str, int], ...]
    caches: tuple[tuple[str, int], ...]
    others: tuple[Part, ...]
    by_recipe: bool


class Session(Compute):
    """A model opened once for many questions.

    Another engine on ggml's storage has its own `lay_caches` with `cache_bytes`, `lay_buffers`, `copies_weights` and `straight_from`.
    """

    def __init__(self, model: ModelSpec, facts: Facts) -> None:
        super().__init__(model, facts)
        self._sized: dict[Recipe, Sized] = {}
        self._weights: dict[tuple[Recipe, Placement], tuple[Weight, ...]] = {}
        self._cached: dict[tuple[Workload, Placement], tuple[Part, ...]] = {}
        self._buffers: dict[tuple[Settings, Placement, Recipe | None], tuple[Part, ...]] = {}
        self._overheads: dict[Machine, tuple[Part, ...]] = {}
        self._weight_lines: dict[tuple[Recipe, Placement, bool], tuple[Part, ...]] = {}
        self._beside: dict[Machine, tuple[MachineKind | None, Load]] = {}
        self._spots: dict[Placement, _Spot] = {}
        self._weight_reads: dict[tuple[Recipe, Placement], dict[str, int]] = {}
        self._cache_reads: dict[tuple[Workload, Placement], dict[str, int]] = {}

    def weights(self, recipe: Recipe, placement: Placement) -> tuple[Weight, ...]:
        """Every loaded tensor on its device."""
        key = (recipe, placement)
        if key not in self._weights:
            self._expect_kernels(recipe, placement)
            self._weights[key] = tuple(lay(self._measured(recipe), placement, tied=self._copied_embedding, twice=self.layout.two_embeddings))
        return self._weights[key]

    def layer_bytes(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[int, ...]:
        """Bytes that each layer and, last, the output take on a GPU: weights, but experts that stay on the host, and caches, if they go there.

        Of a published mixture, whose types are not known layer by layer, as if all were of one type: near enough to share layers out by.
        """
        sizes = layer_weights(self._measured(finest_of(recipe)), placement, tied=self._copied_embedding)
        if recipe.file is not None:
            whole = sum(sizes)
            sizes = [size * recipe.file.bytes // whole for size in sizes]
        settings = self.settings(workload)
        for cache in self.caches:
            if not placement.cache_on_host and (cache.kind is not CacheKind.CROSS or workload.vision):
                each = cache_layer_bytes(cache, settings, gpu(0))
                for layer in cache.layers:
                    sizes[layer] += each
        return tuple(sizes)

    @property
    def _copied_embedding(self) -> bool:
        return self.layout.tied and not self.layout.single_embedding

    def _measured(self, recipe: Recipe) -> Sized:
        if recipe not in self._sized:
            self._sized[recipe] = measure(self.stored(recipe))
        return self._sized[recipe]

    def parts(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> tuple[Part, ...]:
        """Everything that takes memory, on every device. rough: compute buffers near enough for a search over placements."""
        held = (workload, placement)
        if held not in self._cached:
            self._cached[held] = self.lay_caches(workload, placement)
        parts = (
            *self._weight_parts_on(recipe, placement, machine),
            *self._cached[held],
            *self._others(recipe, workload, placement, rough=rough),
            *self._overhead_of(machine),
        )
        return tuple(self._on(machine, parts))

    def load(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> Load:
        """Those parts summed per device: weights, what goes with the workload and what goes with the machine are each summed once."""
        if machine not in self._beside:
            overhead = load_of(self._overhead_of(machine), placement.gpus)
            self._beside[machine] = kind_of(machine), overhead
        kind, overhead = self._beside[machine]
        if placement not in self._spots:
            self._spots[placement] = _Spot(_is_spread(placement), self.copies_weights(placement), {}, {})
        spot = self._spots[placement]
        if (recipe, kind) not in spot.weights:
            if recipe.file is None:
                spot.weights[recipe, kind] = exact_load(self._weight_sizes(recipe, placement), placement, kind)
            else:
                spot.weights[recipe, kind] = load_of(self._on(machine, self._weight_parts_on(recipe, placement, machine)), placement.gpus)
        near = rough and spot.spread
        key = (workload, recipe if near or spot.copies or workload.mtp else None, kind, near)
        if key not in spot.others:
            others = self._others(recipe, workload, placement, rough=rough)
            spot.others[key] = exact_load(self.cache_bytes(workload, placement), placement, kind).plus(load_of(self._on(machine, others), placement.gpus))
        return spot.weights[recipe, kind].plus(spot.others[key]).plus(overhead)

    def pieces(self, recipe: Recipe, workload: Workload, placement: Placement) -> Pieces:
        """What `load` sums of a recipe."""
        return Pieces(
            tuple(self._weight_sizes(recipe, placement)),
            tuple(self.cache_bytes(workload, placement)),
            self._others(recipe, workload, placement, rough=False),
            self.copies_weights(placement) or workload.mtp,
        )

    def _weight_sizes(self, recipe: Recipe, placement: Placement) -> Iterator[tuple[str, int]]:
        return ((weight.device, weight.bytes) for weight in self.weights(recipe, placement))

    def _others(self, recipe: Recipe, workload: Workload, placement: Placement, *, rough: bool) -> tuple[Part, ...]:
        return (
            *self._buffers_of(recipe, workload, placement, rough=rough),
            *self._vision_parts(workload, placement),
            *self._next_parts(recipe, workload, placement),
        )

    def _on(self, machine: Machine, parts: tuple[Part, ...]) -> Iterable[Part]:
        return parts_on(parts, kind_of(machine), self.facts.ggml)

    def _weight_parts_on(self, recipe: Recipe, placement: Placement, machine: Machine) -> tuple[Part, ...]:
        one_memory = recipe.file is not None and any(device.unified for device in machine.gpus)
        key = (recipe, placement, one_memory)
        if key not in self._weight_lines:
            found = (
                weight_parts(self, recipe, self.weights(recipe, placement))
                if recipe.file is None
                else mixture_parts(self, recipe.file, placement, one_memory=one_memory)
            )
            self._weight_lines[key] = tuple(found)
        return self._weight_lines[key]

    def lay_caches(self, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """Every cache on its device."""
        source = self.facts.ggml["sources"]["context"]["url"]
        return tuple(cache_parts(self.caches, self.settings(workload), placement, vision=workload.vision, source=source))

    def cache_bytes(self, workload: Workload, placement: Placement) -> Iterator[tuple[str, int]]:
        """(device, bytes) of the same caches, without what a report says of them."""
        return cache_sizes(self.caches, self.settings(workload), placement, vision=workload.vision)

    def reads(self, recipe: Recipe, workload: Workload, placement: Placement) -> dict[str, int] | None:
        """Bytes that each device reads for one token, caches on the host under `HOST_CACHE`.

        None where that is not known: a published mixture, guessed tokens, a model that writes no text.
        """
        if recipe.file is not None or self.drafted(workload) or self.layout.encoder or self.layout.pooling:
            return None
        from runlocal.engines.ggml.reads import cache_reads, weight_reads  # most questions are about memory alone

        kept = (recipe, placement)
        if kept not in self._weight_reads:
            used = self.model.text.experts.used if self.model.text.experts else 0
            self._weight_reads[kept] = weight_reads(self.layout, self.stored(recipe), placement, used)
        alone = workload._replace(sequences=1, pool_tokens=None, unified_kv=False)
        held = (alone, placement)
        if held not in self._cache_reads:
            self._cache_reads[held] = cache_reads(self.caches, self.settings(alone), placement)
        read = dict(self._weight_reads[kept])
        for where, size in self._cache_reads[held].items():
            read[where] = read.get(where, 0) + size
        return read

    def _overhead_of(self, machine: Machine) -> tuple[Part, ...]:
        if machine not in self._overheads:
            self._overheads[machine] = tuple(overhead_parts(machine, self.facts.ggml))
        return self._overheads[machine]

    def _buffers_of(self, recipe: Recipe, workload: Workload, placement: Placement, *, rough: bool) -> tuple[Part, ...]:
        """Buffers follow the weights only where a step copies some."""
        if rough and _is_spread(placement):
            return self._rough_buffers(recipe, workload, placement)
        key = (self.settings_on(workload, placement), placement, recipe if self.copies_weights(placement) else None)
        if key not in self._buffers:
            self._buffers[key] = self.lay_buffers(recipe, workload, placement)
        return self._buffers[key]

    def _rough_buffers(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """What a GPU that holds everything takes, and on the first the largest matrix that is copied there from the host."""
        whole = place(len(placement.layers), None, (1.0,) * placement.gpus)
        largest = max((weight.largest_bytes for weight in self.weights(recipe, placement) if weight.device == HOST and weight.group != EMBEDDING), default=0)
        copied = placement.devices()[0] if placement.gpus else None
        full = self._buffers_of(recipe, workload._replace(gpu_layers=None), whole, rough=False)
        return tuple(part._replace(bytes=part.bytes + largest) if part.device == copied else part for part in full)

    def _expect_kernels(self, recipe: Recipe, placement: Placement) -> None:
        """Matrices that CUDA cannot multiply stay on the host, a copy of their operands with every step. Raises Problem (not_computed)."""
        without = sorted({stored.type.name for stored in self.stored(recipe)} & set(self.facts.ggml["types_without_cuda_kernel"])) if placement.gpus else ()
        if without:
            why = f"CUDA has no kernel for {', '.join(without)}, so llama.cpp keeps those matrices on the host; what that takes is not computed in this version"
            raise Problem(Code.NOT_COMPUTED, why, hint='without a GPU it is: `--batch` with "gpus": 0')


def _is_spread(placement: Placement) -> bool:
    return not placement.all_on_gpus or placement.host_experts > 0
