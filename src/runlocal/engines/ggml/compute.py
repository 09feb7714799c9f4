"""What computing takes beside weights and caches: the buffers of the model's graph, of images and speech, of tokens guessed ahead."""

from typing import TYPE_CHECKING

from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.model import ModelSpec
from runlocal.core.part import HOST, Part
from runlocal.core.workload import Workload
from runlocal.engines.ggml.contexts import Contexts
from runlocal.engines.ggml.nextn import NextTokens
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe

if TYPE_CHECKING:
    from runlocal.engines.ggml.buffers import BufferLines


class Compute(Contexts):
    """A model's graphs, whose buffers are kept between questions. What only some models or placements have is loaded with the first of them."""

    def __init__(self, model: ModelSpec, facts: Facts) -> None:
        super().__init__(model, facts)
        self._lines: BufferLines | None = None
        self._vision: dict[tuple[object, ...], tuple[Part, ...]] = {}
        self._next: dict[tuple[Recipe, Workload, Placement], tuple[Part, ...]] = {}

    def straight_from(self, workload: Workload, placement: Placement, most_tokens: int) -> int | None:
        """Context from which to `most_tokens` what a workload takes is a straight line in the context, rounded down per device.

        A line through that context and twice as much; None where none is known. Batches only ever grow with the context, so where they are
        the same at both ends they are between.
        """
        one_stream_each = workload.sequences == 1 or not workload.unified_kv
        if workload.mtp or workload.drafting or self.copies_weights(placement) or not one_stream_each or any(cache.ratio > 1 for cache in self.caches):
            return None
        long = self.settings_on(workload._replace(context_tokens=most_tokens), placement)
        start = self._buffer_lines().straight_from(long, placement)
        if start is None or 2 * start > most_tokens:
            return None
        short = self.settings_on(workload._replace(context_tokens=start), placement)
        return start if short._replace(cells=long.cells) == long else None

    def copies_weights(self, placement: Placement) -> bool:
        """Whether a step copies weights from the host to a GPU."""
        from runlocal.engines.ggml.graph import copies_weights  # Ollama's own engine has no use for llama.cpp's graphs

        return copies_weights(self.layout.architecture, placement)

    def lay_buffers(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """The graph's buffers, laid out by the rules of ggml's allocator."""
        from runlocal.engines.ggml.buffer_parts import buffer_parts
        from runlocal.engines.ggml.graph import NotModelled

        settings, finest = self.settings_on(workload, placement), finest_of(recipe)
        copied = self._copied(finest, placement)
        try:
            buffers = grown = self._buffer_lines().of(settings, placement, copied)
            if self.layout.architecture in self.facts.ggml["growing_architectures"]:
                grown = self._buffer_lines().when_full(settings, placement, copied)
        except NotModelled as error:
            if self.layout.architecture in self.facts.ggml["without_graph"]:
                return ()
            raise Problem(Code.NOT_COMPUTED, f"{error} is not computed in this version") from error
        copied_as = finest.default_type if copied is not None and recipe.file is not None else None
        return tuple(buffer_parts(self.layout, settings, placement, (buffers, grown), self.facts.ggml, sequences=workload.sequences, copied_as=copied_as))

    def _copied(self, recipe: Recipe, placement: Placement) -> dict[tuple[str, int | None], int] | None:
        """Bytes of the weights that a step copies to a GPU; None where it copies none."""
        if not self.copies_weights(placement):
            return None
        from runlocal.engines.ggml.graph import copy_bytes

        return copy_bytes(self.stored(recipe), tied=self.layout.tied, architecture=self.layout.architecture)

    def _next_parts(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """What next-token layers take, where there are such and they guess ahead."""
        if not self.drafted(workload) or not workload.mtp or self.layout.stored_layers == self.layout.layers:
            return ()
        if recipe.file is not None:
            why = f"how {recipe.name} of {self.model.id} stores its next-token layers is not known"
            raise Problem(Code.NOT_COMPUTED, why, hint="leave --mtp out, or name a recipe")
        key = (recipe, workload, placement)
        if key not in self._next:
            from runlocal.engines.ggml.graph import NotModelled

            stored, copied = self.stored(recipe), self._copied(recipe, placement)
            try:
                self._next[key] = tuple(
                    NextTokens(self.layout, self.facts, self.batches(workload)).parts(stored, workload, self.settings(workload), placement, copied)
                )
            except NotModelled as error:
                raise Problem(Code.NOT_COMPUTED, f"{error} is not computed in this version") from error
        return self._next[key]

    def _buffer_lines(self) -> "BufferLines":
        if self._lines is None:
            from runlocal.engines.ggml.buffers import BufferLines

            self._lines = BufferLines(self.layout)
        return self._lines

    def image_tokens(self, images: int, image_size: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """(least, most) tokens of context that so many images of that size take; None where the tower is not known."""
        if self.model.vision is None:
            return None
        from runlocal.engines.ggml.vision import image_tokens  # text models have no use for towers

        try:
            tokens = image_tokens(self.model.vision, images, self.facts.vision, image_size)
        except Problem:
            return None
        return tokens.least, tokens.most

    def tower_on(self, workload: Workload, placement: Placement) -> str:
        """The device that holds what sees and hears: the first GPU."""
        return placement.devices()[0] if placement.gpus else HOST

    def _vision_parts(self, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """Tower, projector and image graph, speech encoder and its graph."""
        if self.model.vision is None or not workload.vision:
            return ()
        device = self.tower_on(workload, placement)
        from runlocal.engines.ggml.speech import speech_parts  # text models have no use for towers
        from runlocal.engines.ggml.vision import vision_parts

        key = (workload.images, workload.image_size, workload.mmproj_type, workload.flash_attention, device)
        if key not in self._vision:
            wanted = (self.model, workload, device, self.facts.types, self.facts.vision)
            self._vision[key] = (*vision_parts(*wanted), *speech_parts(*wanted))
        return self._vision[key]


def finest_of(recipe: Recipe) -> Recipe:
    """A recipe; for a published file one that stores every matrix as fine as that may."""
    if recipe.file is None:
        return recipe
    finest = "BF16" if recipe.default_type in ("Q8_0", "BF16") else "Q8_0"
    return Recipe(finest, finest, False)
