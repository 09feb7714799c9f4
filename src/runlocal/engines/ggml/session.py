"""One model in ggml: its parts for any quantization, workload and placement. What was laid out once is kept, so a grid costs little more than a cell."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from runlocal.architectures import layout
from runlocal.core.cache import Cache, CacheKind
from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.layout import Layout
from runlocal.core.load import Load, load_of, summed
from runlocal.core.machine import Backend, Machine
from runlocal.core.model import ModelSpec, PublishedFile
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, Basis, Kind, Part, gpu
from runlocal.core.units import mib
from runlocal.core.workload import Workload
from runlocal.engines.ggml.cache import cache_spread, formula, layer_bytes
from runlocal.engines.ggml.nextn import NextTokens
from runlocal.engines.ggml.overhead import overhead_parts
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.settings import Settings, settle
from runlocal.engines.ggml.weights import EMBEDDING, OUTPUT, Sized, Weight, lay, measure
from runlocal.quants.gguf import DYNAMIC, Recipe, Stored, store, typed_name

if TYPE_CHECKING:
    from runlocal.engines.ggml.buffers import BufferLines

_F32_BYTES = 4
CACHE_LABELS = {
    CacheKind.FULL: "KV cache",
    CacheKind.SLIDING: "KV cache, sliding window",
    CacheKind.CHUNKED: "KV cache, chunked window",
    CacheKind.LATENT: "latent cache (MLA)",
    CacheKind.INDEXER: "indexer cache (DSA)",
    CacheKind.COMPRESSED: "KV cache, compressed",
    CacheKind.CROSS: "cross-attention cache",
    CacheKind.RECURRENT: "recurrent state",
}


class OwnTensors(NamedTuple):
    """The tensors that a file really holds, what its quantization calls itself, and where it lies."""

    path: str
    quant: str
    stored: tuple[Stored, ...]


_Kind = tuple[bool, Backend]  # whether there is one memory for both, and the first GPU's backend


class _Spot(NamedTuple):
    """What is known of one placement.

    spread: layers or experts lie on the host
    copies: a step copies weights
    weights: sums by recipe and kind of machine
    others: sums of what goes with the workload, by everything that they follow
    """

    spread: bool
    copies: bool
    weights: dict[tuple[Recipe, _Kind | None], Load]
    others: dict[tuple[Workload, Recipe | None, _Kind | None, bool], Load]


class Session:
    """A model opened once for many questions."""

    def __init__(self, model: ModelSpec, facts: Facts) -> None:
        self.model, self.facts = model, facts
        self.layout: Layout = layout(model)
        self.caches: tuple[Cache, ...] = self.layout.caches()
        self.tensors = self.layout.tensors()
        self._lines: BufferLines | None = None
        self._elements = sum(tensor.elements * tensor.count for tensor in self.tensors)
        self._own: OwnTensors | None = None
        self._tensor_bytes: dict[Recipe, int] = {}
        self._vision: dict[tuple[object, ...], tuple[Part, ...]] = {}
        self._sized: dict[Recipe, Sized] = {}
        self._stored: dict[Recipe, tuple[Stored, ...]] = {}
        self._weights: dict[tuple[Recipe, Placement], tuple[Weight, ...]] = {}
        self._settings: dict[Workload, Settings] = {}
        self._kept_flash: dict[tuple[Settings, Placement], bool] = {}
        self._cached: dict[tuple[Workload, Placement], tuple[Part, ...]] = {}
        self._buffers: dict[tuple[Settings, Placement, Recipe | None], tuple[Part, ...]] = {}
        self._overheads: dict[Machine, tuple[Part, ...]] = {}
        self._next: dict[tuple[Recipe, Workload, Placement], tuple[Part, ...]] = {}
        self._weight_lines: dict[tuple[Recipe, Placement, bool], tuple[Part, ...]] = {}
        self._beside: dict[Machine, tuple[_Kind | None, Load]] = {}
        self._spots: dict[Placement, _Spot] = {}

    def settings(self, workload: Workload) -> Settings:
        """The context as llama.cpp sets it up for this workload."""
        if workload not in self._settings:
            batch, ubatch = self.batches(workload)
            settled = settle(self.layout, workload, self.facts.types, self.facts.ggml, batch_tokens=batch, ubatch_tokens=ubatch, drafted=self.drafted(workload))
            if workload.mtp:
                rolls_back = self.layout.architecture in self.facts.ggml["rollback_architectures"]
                settled = settled._replace(snapshots=self.drafted(workload) if rolls_back else 0, hidden_kept=True)
            self._settings[workload] = settled
        return self._settings[workload]

    def _settings_on(self, workload: Workload, placement: Placement) -> Settings:
        """Those settings where layers lie so: `auto` may turn flash attention off once the caches stand, where layers have a state or read others' caches.

        Heads that only the host has a kernel for turn it off where a layer lies on a GPU, and nowhere else.
        """
        settings = self.settings(workload)
        if settings.v_in_rows and set(placement.layers) == {HOST}:
            return settings._replace(flash_attention=True, v_in_rows=False, flash_on_host=True)
        mixed = len({cache.kind is CacheKind.RECURRENT for cache in self.caches}) > 1 or self.model.text.shared_kv_layers > 0
        asked = workload.flash_attention is not None or settings.type_v.block_elements > 1  # a quantized V asks for it
        if asked or not settings.flash_attention or not mixed or placement.nothing_on_host:
            return settings
        from runlocal.engines.ggml.graph import NotModelled, keeps_flash_attention

        key = (settings, placement)
        if key not in self._kept_flash:
            try:
                self._kept_flash[key] = keeps_flash_attention(self.layout, settings, placement)
            except NotModelled:
                self._kept_flash[key] = True
        return settings if self._kept_flash[key] else settings._replace(flash_attention=False, v_in_rows=True)

    def batches(self, workload: Workload) -> tuple[int, int]:
        """(batch, ubatch) in tokens that the runtime asks llama.cpp for; `-b` is raised to `-ub`."""
        batch, ubatch = self.facts.runtime["batch_tokens"], self.facts.runtime["ubatch_tokens"]
        asked = workload.batch_tokens or (_pool_tokens(workload) if self.layout.encoder else ubatch)
        return max(batch, asked), asked

    def drafted(self, workload: Workload) -> int:
        """Tokens per sequence that are guessed ahead."""
        return self.facts.runtime.get("draft_tokens", 0) if workload.drafting or workload.mtp else 0

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
        from difflib import get_close_matches

        shown = repr(name[:40])
        published = {typed_name(file.quant, ()): file.quant for file in self.model.files}
        mixture = typed.startswith(f"{DYNAMIC}_") or typed.endswith("_XL") or "QAT" in typed
        # A recipe that is called nearly like it is another size: of a mixture, only other mixtures are near.
        names = published if mixture else {**quants, **published}
        candidates = tuple(names[one] for one in get_close_matches(typed, names))
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

    def weights(self, recipe: Recipe, placement: Placement) -> tuple[Weight, ...]:
        """Every loaded tensor on its device."""
        key = (recipe, placement)
        if key not in self._weights:
            self._expect_kernels(recipe, placement)
            if recipe not in self._sized:
                self._sized[recipe] = measure(self.stored(recipe))
            copied = self.layout.tied and not self.layout.single_embedding
            self._weights[key] = tuple(lay(self._sized[recipe], placement, tied=copied, twice=self.layout.two_embeddings))
        return self._weights[key]

    def placement(self, workload: Workload, machine: Machine, shares: Sequence[float] | None = None) -> Placement:
        """Layers in proportion to what each GPU can use (llama.cpp's default `--tensor-split`); `shares` replace that."""
        free = tuple(float(device.usable_bytes) for device in machine.gpus) if shares is None else tuple(shares)
        free = free if len(free) > 1 else (1.0,) * len(free)  # one GPU takes all, whatever its size
        return place(
            self.layout.stored_layers,
            workload.gpu_layers,
            free,
            experts_on_host=workload.cpu_moe and self.layout.experts > 0,
            cache_on_host=not workload.kv_offload,
        )

    def step(self, workload: Workload, placement: Placement) -> tuple[int, bool]:
        """(tokens per step, whether flash attention is on)."""
        settings = self._settings_on(workload, placement)
        return settings.ubatch_tokens, settings.flash_attention

    def parts(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> tuple[Part, ...]:
        """Everything that takes memory, on every device. rough: compute buffers near enough for a search over placements."""
        held = (workload, placement)
        if held not in self._cached:
            self._cached[held] = self._cache_parts(workload, placement)
        parts = (
            *self._weight_parts_on(recipe, placement, machine),
            *self._cached[held],
            *self._buffers_of(recipe, workload, placement, rough=rough),
            *self._vision_parts(workload, placement),
            *self._next_parts(recipe, workload, placement),
            *self._overhead_of(machine),
        )
        return parts if _kind(machine) is None else tuple(self._elsewhere(part, machine) for part in parts)

    def load(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> Load:
        """Those parts summed per device: weights, what goes with the workload and what goes with the machine are each summed once."""
        if machine not in self._beside:
            overhead = load_of(self._overhead_of(machine), placement.gpus)
            self._beside[machine] = _kind(machine), overhead
        kind, overhead = self._beside[machine]
        if placement not in self._spots:
            self._spots[placement] = _Spot(_is_spread(placement), self._copies_weights(placement), {}, {})
        spot = self._spots[placement]
        if (recipe, kind) not in spot.weights:
            if recipe.file is None:
                found = ((weight.device, weight.bytes, not weight.group.startswith(OUTPUT)) for weight in self.weights(recipe, placement))
                spot.weights[recipe, kind] = _exact_load(found, placement, kind)
            else:
                spot.weights[recipe, kind] = self._summed(self._weight_parts_on(recipe, placement, machine), placement, machine)
        near = rough and spot.spread
        key = (workload, recipe if near or spot.copies or workload.mtp else None, kind, near)
        if key not in spot.others:
            held = ((device, size, True) for device, size in self._cache_sizes(workload, placement))
            others = (
                *self._buffers_of(recipe, workload, placement, rough=rough),
                *self._vision_parts(workload, placement),
                *self._next_parts(recipe, workload, placement),
            )
            spot.others[key] = _exact_load(held, placement, kind).plus(self._summed(others, placement, machine))
        return spot.weights[recipe, kind].plus(spot.others[key]).plus(overhead)

    def _weight_parts_on(self, recipe: Recipe, placement: Placement, machine: Machine) -> tuple[Part, ...]:
        lines = (recipe, placement, recipe.file is not None and any(device.unified for device in machine.gpus))
        if lines not in self._weight_lines:
            self._weight_lines[lines] = (
                self._weight_parts(recipe, self.weights(recipe, placement)) if recipe.file is None else self._mixture_parts(recipe.file, *lines[1:])
            )
        return self._weight_lines[lines]

    def _summed(self, parts: tuple[Part, ...], placement: Placement, machine: Machine) -> Load:
        return load_of(parts if _kind(machine) is None else (self._elsewhere(part, machine) for part in parts), placement.gpus)

    def straight_from(self, workload: Workload, placement: Placement, most_tokens: int) -> int | None:
        """Context from which to `most_tokens` what a workload takes is a straight line in the context, rounded down per device.

        A line through that context and twice as much; None where none is known. Batches only ever grow with the context, so where they are
        the same at both ends they are between.
        """
        one_stream_each = workload.sequences == 1 or not workload.unified_kv
        if workload.mtp or workload.drafting or self._copies_weights(placement) or not one_stream_each or any(cache.ratio > 1 for cache in self.caches):
            return None
        long = self._settings_on(workload._replace(context_tokens=most_tokens), placement)
        start = self._buffer_lines().straight_from(long, placement)
        if start is None or 2 * start > most_tokens:
            return None
        short = self._settings_on(workload._replace(context_tokens=start), placement)
        return start if short._replace(cells=long.cells) == long else None

    def _overhead_of(self, machine: Machine) -> tuple[Part, ...]:
        if machine not in self._overheads:
            self._overheads[machine] = tuple(overhead_parts(machine, self.facts.ggml))
        return self._overheads[machine]

    def _elsewhere(self, part: Part, machine: Machine) -> Part:
        """The part on a machine that is not a CUDA card beside a host: one memory for both, or a backend whose allocator is not modelled."""
        if any(device.unified for device in machine.gpus) and part.device == HOST:
            part = part._replace(device=gpu(0), label=f"{part.label} (in the same memory)")
        backend = machine.gpus[0].backend
        if backend is not Backend.CUDA and part.kind in (Kind.COMPUTE_BUFFER, Kind.VISION_BUFFER) and part.basis is not Basis.ESTIMATED:
            percent = self.facts.ggml["other_backend_margin_percent"]
            because = f"{part.because}; as CUDA lays it out, {backend.value}'s allocator is not modelled: up to {percent} % more"
            part = part._replace(basis=Basis.ESTIMATED, because=because, margin_bytes=part.bytes * percent // 100)
        return part

    def _buffers_of(self, recipe: Recipe, workload: Workload, placement: Placement, *, rough: bool) -> tuple[Part, ...]:
        """Buffers follow the weights only where a step copies some."""
        if rough and _is_spread(placement):
            return self._rough_buffers(recipe, workload, placement)
        key = (self._settings_on(workload, placement), placement, recipe if self._copies_weights(placement) else None)
        if key not in self._buffers:
            self._buffers[key] = self._buffer_parts(recipe, workload, placement)
        return self._buffers[key]

    def _copies_weights(self, placement: Placement) -> bool:
        from runlocal.engines.ggml.graph import copies_weights  # Ollama's own engine has no use for llama.cpp's graphs

        return copies_weights(self.layout.architecture, placement)

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

    def _weight_parts(self, recipe: Recipe, weights: tuple[Weight, ...]) -> tuple[Part, ...]:
        totals: dict[tuple[str, str], int] = {}
        for weight in weights:
            key = (weight.device, weight.group)
            totals[key] = totals.get(key, 0) + weight.bytes
        own = self._own is not None and recipe.name == self._own.quant
        source = "the file's own list of tensors" if own else self.facts.quants[recipe.name]["source"]
        rule = "the tensors that the file holds" if own else f"{_described(recipe)} tensor by tensor"
        return tuple(
            Part(
                kind=Kind.WEIGHTS,
                label=group,
                device=device,
                bytes=size,
                basis=Basis.EXACT,
                because=f"{rule}, {self.bits_per_weight(recipe):.2f} bits per weight over the file"
                + ("" if device == HOST else ", rows and tensors padded as CUDA pads them"),
                source=source,
            )
            for (device, group), size in totals.items()
        )

    def _mixture_parts(self, file: PublishedFile, placement: Placement, one_memory: bool) -> tuple[Part, ...]:
        """A published file on its devices, each at the most that it may get."""
        from runlocal.engines.ggml.mixture import shares, whole_because

        found = shares(
            self.tensors,
            file,
            placement,
            self.facts.types,
            tied=self.layout.tied and not self.layout.single_embedding,
            twice=self.layout.two_embeddings,
            margin_percent=self.facts.ggml["mixture_layer_margin_percent"],
            one_memory=one_memory,
        )
        because = whole_because(file)
        return tuple(
            Part(
                kind=Kind.WEIGHTS,
                label=EMBEDDING if share.embedding_only else "tensors of the file",
                device=share.device,
                bytes=share.bytes,
                basis=Basis.MEASURED if share.certain else Basis.ESTIMATED,
                because=because + ("" if share.certain else "; which tensor has which type is not known: the most that this device may get of it"),
                source=file.url,
            )
            for share in found
        )

    def _cache_parts(self, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        settings = self.settings(workload)
        return tuple(
            Part(
                kind=Kind.STATE if cache.kind is CacheKind.RECURRENT else Kind.CACHE,
                label=CACHE_LABELS[cache.kind],
                device=device,
                bytes=count * layer_bytes(cache, settings, device),
                basis=Basis.EXACT,
                because=formula(cache, settings, count),
                source=self.facts.ggml["sources"]["context"]["url"],
            )
            for cache in self.caches
            if (cache.kind is not CacheKind.CROSS or workload.vision) and (cache.k_values or cache.v_values or settings.padded_v_values)
            for device, count in cache_spread(cache, placement).items()
        )

    def _cache_sizes(self, workload: Workload, placement: Placement) -> Iterator[tuple[str, int]]:
        """(device, bytes) of the caches, as in their parts."""
        settings = self.settings(workload)
        for cache in self.caches:
            if cache.kind is not CacheKind.CROSS or workload.vision:
                for device, count in cache_spread(cache, placement).items():
                    yield device, count * layer_bytes(cache, settings, device)

    def _buffer_parts(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """The graph's buffers, laid out by the rules of ggml's allocator."""
        from runlocal.engines.ggml.graph import NotModelled, copy_bytes

        settings = self._settings_on(workload, placement)
        source = self.facts.ggml["sources"]["allocator"]["url"]
        copied = None
        if self._copies_weights(placement):
            copied = copy_bytes(self.stored(_finest(recipe)), tied=self.layout.tied, architecture=self.layout.architecture)
        try:
            buffers = grown = self._buffer_lines().of(settings, placement, copied)
            if self.layout.architecture in self.facts.ggml["growing_architectures"]:
                grown = self._buffer_lines().of(settings._replace(positions=settings.cells), placement, copied)
        except NotModelled as error:
            if self.layout.architecture in self.facts.ggml["without_graph"]:
                return ()
            raise Problem(Code.NOT_COMPUTED, f"{error} is not computed in this version") from error
        because = f"ggml's allocator over the graph of {settings.ubatch_tokens} tokens, {settings.cells} cells, {_rows(settings.output_rows)} of logits"
        basis, percent = Basis.EXACT, 0
        if copied is not None and recipe.file is not None:
            basis = Basis.ESTIMATED
            because += f"; weights that a step copies counted as {_finest(recipe).default_type}"
        if doubt := self.facts.ggml["graph_doubts"].get(self.layout.architecture):
            basis, percent = Basis.ESTIMATED, doubt["margin_percent"]
            because += f"; {doubt['because']}: up to {percent} % more"
        more = max(after - before for after, before in zip((*grown.gpus, grown.host), (*buffers.gpus, buffers.host), strict=True))
        if more > 0:
            basis = Basis.ESTIMATED
            because += f"; reserved for the first {settings.positions} positions and enlarged as the context fills: up to {mib(more)} more when it is full"
        devices = ((*placement.devices(), HOST), (*buffers.gpus, buffers.host), (*grown.gpus, grown.host))
        parts = [
            Part(
                Kind.COMPUTE_BUFFER,
                "compute buffer, host" if device == HOST else "compute buffer",
                device,
                size,
                basis,
                because,
                source,
                size * percent // 100 + max(0, most - size),
            )
            for device, size, most in zip(*devices, strict=True)
        ]
        rows = max(workload.sequences, settings.output_rows)
        # With embeddings asked for, a row of them lies behind the logits, which are set aside all the same.
        values = self.layout.vocabulary_size + (self.layout.hidden_size if self.layout.pooling else 0)
        because = f"4 B × {values} values × {_rows(rows)}"
        parts.append(Part(Kind.COMPUTE_BUFFER, "logits", HOST, _F32_BYTES * values * rows, Basis.EXACT, because, source))
        return tuple(parts)

    def _next_parts(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """What next-token layers take, where there are such and they guess ahead."""
        if not self.drafted(workload) or not workload.mtp or self.layout.stored_layers == self.layout.layers:
            return ()
        if recipe.file is not None:
            why = f"how {recipe.name} of {self.model.id} stores its next-token layers is not known"
            raise Problem(Code.NOT_COMPUTED, why, hint="leave --mtp out, or name a recipe")
        key = (recipe, workload, placement)
        if key not in self._next:
            from runlocal.engines.ggml.graph import NotModelled, copy_bytes

            stored, copied = self.stored(recipe), None
            if self._copies_weights(placement):
                copied = copy_bytes(stored, tied=self.layout.tied, architecture=self.layout.architecture)
            try:
                self._next[key] = tuple(NextTokens(self.layout, self.facts).parts(stored, workload, self.settings(workload), placement, copied))
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

    def _vision_parts(self, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """Tower, projector and image graph, on the first GPU."""
        if self.model.vision is None or not workload.vision:
            return ()
        device = placement.devices()[0] if placement.gpus else HOST
        from runlocal.engines.ggml.vision import vision_parts  # text models have no use for towers

        key = (workload.images, workload.image_size, workload.mmproj_type, workload.flash_attention, device)
        if key not in self._vision:
            self._vision[key] = vision_parts(self.model, workload, device, self.facts.types, self.facts.vision)
        return self._vision[key]


def _kind(machine: Machine) -> _Kind | None:
    """What a machine is that is not CUDA cards beside a host: whether it has one memory for both, and its backend."""
    if all(device.backend is Backend.CUDA and not device.unified for device in machine.gpus):
        return None
    return any(device.unified for device in machine.gpus), machine.gpus[0].backend


def _exact_load(sizes: Iterable[tuple[str, int, bool]], placement: Placement, kind: _Kind | None) -> Load:
    """The sums over (device, bytes, whether it follows the layers); where there is one memory for both, the host's part of it is the GPU's."""
    one_memory = kind is not None and kind[0]
    # What moves over from the host stays itself: it follows the layers or not, and takes the same bytes.
    return summed(((gpu(0) if one_memory and device == HOST else device, size, 0, follows) for device, size, follows in sizes), placement.gpus)


def _is_spread(placement: Placement) -> bool:
    return not placement.all_on_gpus or placement.experts_on_host


def _described(recipe: Recipe) -> str:
    if recipe.rules is None:
        return f"{recipe.name} recipe"
    matrices = (("embedding", recipe.embedding_type), ("output", recipe.output_type))
    options = " and ".join(f"the {matrix} in {kind}" for matrix, kind in matrices if kind)
    return f"{recipe.name} recipe ({recipe.rules} with {options})"


def _finest(recipe: Recipe) -> Recipe:
    """A recipe; for a published file one that stores every matrix as fine as that may."""
    if recipe.file is None:
        return recipe
    finest = "BF16" if recipe.default_type in ("Q8_0", "BF16") else "Q8_0"
    return Recipe(finest, finest, False)


def _pool_tokens(workload: Workload) -> int:
    return workload.pool_tokens or workload.context_tokens * workload.sequences


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
