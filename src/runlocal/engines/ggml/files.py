"""A model as files: which quantizations there are of it, and what a file of each holds."""

from collections.abc import Mapping

from runlocal.architectures import layout
from runlocal.core.cache import Cache
from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec, PublishedFile
from runlocal.core.noun import NamedTuple
from runlocal.quants.gguf import DYNAMIC, Recipe, Stored, store, typed_name

_NAMES_SHOWN = 5


class OwnTensors(NamedTuple):
    """The tensors that a file really holds, what its quantization calls itself, and where it lies."""

    path: str
    quant: str
    stored: tuple[Stored, ...]


class Files:
    """A model and every file of it that can be named."""

    def __init__(self, model: ModelSpec, facts: Facts) -> None:
        self.model, self.facts = model, facts
        self.layout: Layout = layout(model)
        self.caches: tuple[Cache, ...] = self.layout.caches()
        self.tensors = self.layout.tensors()
        self._elements = sum(tensor.elements * tensor.count for tensor in self.tensors)
        self._own: OwnTensors | None = None
        self._tensor_bytes: dict[Recipe, int] = {}
        self._stored: dict[Recipe, tuple[Stored, ...]] = {}

    def adopt(self, own: OwnTensors) -> None:
        """Takes a file's own tensors in place of a recipe: what it holds is known, and other quantizations are asked about by name."""
        self._own = own
        recipe = Recipe(own.quant, own.quant, False)
        self._stored[recipe] = own.stored
        self._elements = sum(stored.tensor.elements * stored.tensor.count for stored in own.stored)

    def recipe(self, name: str, imatrix: bool | None) -> Recipe:
        """The quantization of that name; `imatrix` None: as published files are made. Raises Problem (unknown_quant)."""
        if self._own is not None and name == self._own.quant:
            return Recipe(name, name, False)
        architecture = self.layout.architecture
        quants = {
            key.upper(): key
            for key, quant in self.facts.quants.items()
            if quant["format"] == "gguf" and architecture in quant.get("architectures", (architecture,))
        }
        files = {typed_name(file.quant, ()): file for file in self.model.files}
        typed = typed_name(name, {**quants, **files})
        found = quants.get({"FP16": "F16", "MXFP4": "MXFP4_MOE"}.get(typed, typed))
        if found is None and typed in files:
            return self._mixture(files[typed])
        if found is None:
            raise self._unknown(name, typed, quants)
        row = self.facts.quants[found]
        made = row.get("imatrix")
        # A type that cannot be made without an importance matrix is priced either way: the recipe is the same.
        return Recipe(
            name=found,
            default_type=row["default_type"],
            imatrix=made in ("usual", "required") if imatrix is None else imatrix,
            rules=row.get("as"),
            embedding_type=row.get("embedding_type"),
            output_type=row.get("output_type"),
        )

    def _mixture(self, file: PublishedFile) -> Recipe:
        """A published file; its default type stands for the types of its tensors where one is needed."""
        from runlocal.engines.ggml.mixture import tensor_bytes, type_at_least

        return Recipe(file.quant, type_at_least(8 * tensor_bytes(file) / self._loaded_elements(), self.facts.types), False, file=file)

    def _unknown(self, name: str, typed: str, quants: Mapping[str, str]) -> Problem:
        """Why there is no quantization of that name, and which there are."""
        shown = repr(name[:40])
        published = {typed_name(file.quant, ()): file.quant for file in self.model.files}
        mixture = typed.startswith(f"{DYNAMIC}_") or typed.endswith("_XL") or "QAT" in typed
        # A recipe that is called nearly like it is another size: of a mixture, only other mixtures are near.
        names = published if mixture else {**quants, **published}
        candidates = self._near(typed, names)
        if other := next((quant["format"] for key, quant in self.facts.quants.items() if quant["format"] != "gguf" and key.upper() == typed), None):
            return Problem(
                Code.UNKNOWN_QUANT, f"{shown} is a type of {other}, which no runtime here loads", hint="name one of llama.cpp's", candidates=candidates
            )
        if not mixture:
            hint = "known: " + ", ".join(names.values())
            return Problem(Code.UNKNOWN_QUANT, f"{shown} is no quantization that llama.cpp makes", hint=hint, candidates=candidates)
        known = f"sizes known of it: {', '.join(published.values())}" if published else "no published file of it is known"
        return Problem(
            Code.UNKNOWN_QUANT,
            f"{shown} is no recipe of llama.cpp but a publisher's own mixture, and no size of it is known for {self.model.id}",
            hint=f"{known}; give the path of a .gguf to price that file",
            candidates=candidates,
        )

    def _near(self, typed: str, names: Mapping[str, str]) -> tuple[str, ...]:
        """The names nearest to what was typed: those that begin so (`Q4`, `q4km`), the usual ones first; then those that look alike."""
        from difflib import get_close_matches

        squeezed = typed.replace("_", "")
        begin = [key for key in names if squeezed and key.replace("_", "").startswith(squeezed)]
        begin.sort(key=lambda key: not self.facts.quants.get(names[key], {}).get("usual_in"))
        return tuple(names[key] for key in dict.fromkeys([*begin, *get_close_matches(typed, names)]))[:_NAMES_SHOWN]

    def quants_usual_in(self, runtime_id: str) -> tuple[str, ...]:
        """What published files of this model come in, finest first. A checkpoint in MXFP4 gains nothing from more bits than it has."""
        if self._own is not None:
            return (self._own.quant,)
        usual = tuple(name for name, quant in self.facts.quants.items() if runtime_id in quant.get("usual_in", ()))
        if self.model.checkpoint_type != "MXFP4":
            return usual
        most = self.bits_per_weight(self.recipe("MXFP4_MOE", None))
        return ("MXFP4_MOE", *(name for name in usual if self.bits_per_weight(self.recipe(name, None)) < most))

    def stored(self, recipe: Recipe) -> tuple[Stored, ...]:
        """Every tensor of the file as that recipe stores it."""
        if recipe not in self._stored:
            self._stored[recipe] = store(self.layout, self.tensors, recipe, self.facts.types)
        return self._stored[recipe]

    def file(self, recipe: Recipe) -> str:
        """The model's file: the one that was opened, else what such files are called."""
        return self._own.path if self._own is not None and recipe.name == self._own.quant else f"{self.model.id}-{recipe.name}.gguf"

    def tensor_bytes(self, recipe: Recipe) -> int:
        """Bytes of all tensors in the file, without header, tokenizer and padding."""
        if recipe.file is not None:
            from runlocal.engines.ggml.mixture import tensor_bytes

            return tensor_bytes(recipe.file)
        if recipe not in self._tensor_bytes:
            self._tensor_bytes[recipe] = sum(stored.tensor_bytes * stored.tensor.count for stored in self.stored(recipe))
        return self._tensor_bytes[recipe]

    def bits_per_weight(self, recipe: Recipe) -> float:
        """Bits per stored value over the whole file."""
        return 8 * self.tensor_bytes(recipe) / (self._elements if recipe.file is None else self._loaded_elements())

    def _loaded_elements(self) -> int:
        """Values of a published mixture: files without the layers that no loader takes are the rule."""
        return sum(tensor.elements * tensor.count for tensor in self.tensors if not tensor.skipped)

    def origin(self, recipe: Recipe) -> tuple[str, str]:
        """(how the types of its tensors are known, where from)."""
        if self._own is not None and recipe.name == self._own.quant:
            return "the tensors that the file holds", "the file's own list of tensors"
        return f"{_described(recipe)} tensor by tensor", self.facts.quants[recipe.name]["source"]


def _described(recipe: Recipe) -> str:
    if recipe.rules is None:
        return f"{recipe.name} recipe"
    matrices = (("embedding", recipe.embedding_type), ("output", recipe.output_type))
    options = " and ".join(f"the {matrix} in {kind}" for matrix, kind in matrices if kind)
    return f"{recipe.name} recipe ({recipe.rules} with {options})"
