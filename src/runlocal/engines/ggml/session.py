"""One model in ggml: its parts for any quantization, workload and placement. What was laid out once is kept, so a grid costs little more than a cell."""

from runlocal.architectures import layout
from runlocal.core.cache import Cache, CacheKind
from runlocal.core.errors import Code, Problem
from runlocal.core.facts import Facts
from runlocal.core.layout import Layout
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.workload import Workload
from runlocal.engines.ggml.cache import cache_spread, formula, layer_bytes
from runlocal.engines.ggml.compute import F32_BYTES, Buffer, Measured, gpu_buffer, host_buffer
from runlocal.engines.ggml.overhead import overhead_parts
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings, settle
from runlocal.engines.ggml.vision import vision_parts
from runlocal.engines.ggml.weights import Weight, lay
from runlocal.quants.gguf import Recipe, Stored, store

CACHE_LABELS = {
    CacheKind.FULL: "KV cache",
    CacheKind.SLIDING: "KV cache, sliding window",
    CacheKind.CHUNKED: "KV cache, chunked window",
    CacheKind.LATENT: "latent cache (MLA)",
    CacheKind.CROSS: "cross-attention cache",
    CacheKind.RECURRENT: "recurrent state",
}


class Session:
    """A model opened once for many questions."""

    def __init__(self, model: ModelSpec, facts: Facts) -> None:
        self.model, self.facts = model, facts
        self.layout: Layout = layout(model)
        self.caches: tuple[Cache, ...] = self.layout.caches()
        self.tensors = self.layout.tensors()
        self._elements = sum(tensor.elements * tensor.count for tensor in self.tensors)
        self._tensor_bytes: dict[Recipe, int] = {}
        self._vision: dict[tuple[object, ...], tuple[Part, ...]] = {}
        self._stored: dict[Recipe, tuple[Stored, ...]] = {}
        self._weights: dict[tuple[Recipe, Placement], tuple[Weight, ...]] = {}
        self._settings: dict[Workload, Settings] = {}
        self._cached: dict[tuple[Workload, Placement], tuple[Part, ...]] = {}
        self._buffers: dict[tuple[Workload, Placement], tuple[Part, ...]] = {}
        self._overheads: dict[Machine, tuple[Part, ...]] = {}
        self._weight_lines: dict[tuple[Recipe, Placement], tuple[Part, ...]] = {}
        known = facts.compute["models"].get(model.id)
        self._measured = (
            Measured(flash=known["flash"], flash_quantized=known.get("flash_quantized"), plain=known.get("plain"), logits_excess=tuple(known["logits_excess"])) if known else None
        )

    def settings(self, workload: Workload) -> Settings:
        """The context as llama.cpp sets it up for this workload."""
        if workload not in self._settings:
            batch, ubatch = self.batches(workload)
            self._settings[workload] = settle(self.layout, workload, self.facts.types, self.facts.ggml, batch_tokens=batch, ubatch_tokens=ubatch)
        return self._settings[workload]

    def batches(self, workload: Workload) -> tuple[int, int]:
        """(batch, ubatch) in tokens that the runtime asks llama.cpp for; `-b` is raised to `-ub`."""
        batch, ubatch = self.facts.runtime["batch_tokens"], self.facts.runtime["ubatch_tokens"]
        asked = workload.batch_tokens or ubatch
        return max(batch, asked), asked

    def recipe(self, name: str, imatrix: bool | None) -> Recipe:
        """The quantization of that name; `imatrix` None: as published files are made. Raises Problem (unknown_quant)."""
        quants = {key.upper(): key for key, quant in self.facts.quants.items() if quant["format"] == "gguf"}
        typed = name.strip().upper().replace("-", "_")
        found = quants.get({"FP16": "F16", "MXFP4": "MXFP4_MOE"}.get(typed, typed))
        if found is None:
            from difflib import get_close_matches

            raise Problem(Code.UNKNOWN_QUANT, f"{name[:40]!r} is no quantization that llama.cpp makes", hint="known: " + ", ".join(quants.values()), candidates=tuple(get_close_matches(typed, quants)))
        made = self.facts.quants[found].get("imatrix")
        # A type that cannot be made without an importance matrix is priced either way: the recipe is the same.
        return Recipe(found, self.facts.quants[found]["default_type"], made in ("usual", "required") if imatrix is None else imatrix)

    def quants_usual_in(self, runtime_id: str) -> tuple[str, ...]:
        """What published files of this model come in, finest first: experts in MXFP4 only where the checkpoint stores them so."""
        mxfp4 = self.model.checkpoint_type == "MXFP4"
        return tuple(name for name, quant in self.facts.quants.items() if runtime_id in quant.get("usual_in", ()) or (mxfp4 and name == "MXFP4_MOE"))

    def stored(self, recipe: Recipe) -> tuple[Stored, ...]:
        """Every tensor of the file as that recipe stores it."""
        if recipe not in self._stored:
            self._stored[recipe] = store(self.layout, self.tensors, recipe, self.facts.types)
        return self._stored[recipe]

    def tensor_bytes(self, recipe: Recipe) -> int:
        """Bytes of all tensors in the file, without header, tokenizer and padding."""
        if recipe not in self._tensor_bytes:
            self._tensor_bytes[recipe] = sum(stored.tensor_bytes * stored.tensor.count for stored in self.stored(recipe))
        return self._tensor_bytes[recipe]

    def bits_per_weight(self, recipe: Recipe) -> float:
        """Bits per stored value over the whole file."""
        return 8 * self.tensor_bytes(recipe) / self._elements

    def weights(self, recipe: Recipe, placement: Placement) -> tuple[Weight, ...]:
        """Every loaded tensor on its device."""
        key = (recipe, placement)
        if key not in self._weights:
            self._weights[key] = tuple(lay(self.stored(recipe), placement, tied=self.layout.tied))
        return self._weights[key]

    def parts(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine) -> tuple[Part, ...]:
        """Everything that takes memory, on every device."""
        lines = (recipe, placement)
        if lines not in self._weight_lines:
            self._weight_lines[lines] = self._weight_parts(recipe, self.weights(recipe, placement))
        held = (workload, placement)
        if held not in self._cached:
            self._cached[held] = self._cache_parts(workload, placement)
        if machine not in self._overheads:
            self._overheads[machine] = tuple(overhead_parts(machine, self.facts.ggml))
        return (
            *self._weight_lines[lines],
            *self._cached[held],
            *self._buffers_of(recipe, workload, placement),
            *self._vision_parts(workload, placement),
            *self._overheads[machine],
        )

    def _buffers_of(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """Buffers follow the weights only where matrices are copied from the host."""
        if not placement.all_on_gpus or placement.experts_on_host:
            return self._buffer_parts(workload, placement, self.weights(recipe, placement))
        key = (workload, placement)
        if key not in self._buffers:
            self._buffers[key] = self._buffer_parts(workload, placement, ())
        return self._buffers[key]

    def _weight_parts(self, recipe: Recipe, weights: tuple[Weight, ...]) -> tuple[Part, ...]:
        totals: dict[tuple[str, str], int] = {}
        for weight in weights:
            key = (weight.device, weight.group)
            totals[key] = totals.get(key, 0) + weight.bytes
        source = self.facts.quants[recipe.name]["source"]
        return tuple(
            Part(
                kind=Kind.WEIGHTS,
                label=group,
                device=device,
                bytes=size,
                basis=Basis.EXACT,
                because=f"{recipe.name} recipe tensor by tensor, {self.bits_per_weight(recipe):.2f} bits per weight over the file" + ("" if device == HOST else ", rows and tensors padded as CUDA pads them"),
                source=source,
            )
            for (device, group), size in totals.items()
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
            if cache.kind is not CacheKind.CROSS or workload.vision
            for device, count in cache_spread(cache, placement).items()
        )

    def _buffer_parts(self, workload: Workload, placement: Placement, weights: tuple[Weight, ...]) -> tuple[Part, ...]:
        settings = self.settings(workload)
        source = self.facts.compute["source"]["url"]
        parts = []
        for device in placement.devices():
            buffer = gpu_buffer(self.layout, settings, placement, weights, device, self._measured)
            parts.append(self._compute_part(device, buffer, source))
        host = host_buffer(self.layout, settings, placement)
        if not placement.gpus:
            # Without a GPU one buffer on the host holds the whole graph, inputs included.
            whole = gpu_buffer(self.layout, settings, placement._replace(gpus=1), (), "gpu0", self._measured)
            host += whole.bytes
        logits = F32_BYTES * self.layout.vocabulary_size * max(workload.sequences, settings.output_rows)
        parts.append(Part(Kind.COMPUTE_BUFFER, "compute buffer, pinned", HOST, host, Basis.ESTIMATED, f"masks and embeddings of {settings.ubatch_tokens} tokens", source))
        parts.append(
            Part(Kind.COMPUTE_BUFFER, "logits", HOST, logits, Basis.EXACT, f"4 B × {self.layout.vocabulary_size} values × {max(workload.sequences, settings.output_rows)} rows", source)
        )
        return tuple(parts)

    def _compute_part(self, device: str, buffer: Buffer, source: str) -> Part:
        if buffer.measured:
            return Part(Kind.COMPUTE_BUFFER, "compute buffer", device, buffer.bytes, Basis.MEASURED, buffer.because, source)
        percent = self.facts.ggml["compute_margin_percent"]
        because = f"{buffer.because}; from the shape, between 5 % less and {percent} % more"
        return Part(Kind.COMPUTE_BUFFER, "compute buffer", device, buffer.bytes, Basis.ESTIMATED, because, source, margin_bytes=buffer.bytes * percent // 100)

    def _vision_parts(self, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """Tower, projector and image graph, on the first GPU."""
        if self.model.vision is None or not workload.vision:
            return ()
        device = placement.devices()[0] if placement.gpus else HOST
        key = (workload.images, workload.mmproj_type, workload.flash_attention, device)
        if key not in self._vision:
            self._vision[key] = vision_parts(self.model, workload, device, self.facts.types, self.facts.vision)
        return self._vision[key]
