"""Next-token layers that guess ahead (`--spec-type draft-mtp`): a second llama.cpp context over the same file.

https://github.com/ggml-org/llama.cpp/blob/0c1e57098/common/speculative.cpp (common_speculative_init_result, common_speculative_impl_draft_mtp)
"""

from collections.abc import Iterable, Iterator

from runlocal.core.facts import Facts
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.workload import Workload
from runlocal.engines.ggml.cache import cache_spread, formula, layer_bytes
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings, settle
from runlocal.engines.ggml.weights import Weight, lay, measure
from runlocal.quants.gguf import Stored

LABEL = "next tokens: "
_F32_BYTES = 4
_SEVERAL = ("step35", "mimo2")  # llama.cpp runs one such layer after the other; of all others a single one
_SAMPLED = 3  # of every vocabulary row, beside the logits: sampled logits, probabilities and candidates


def refuses_next_tokens(model: ModelSpec, layout: Layout, facts: Facts) -> str | None:
    """Why the model's next-token layers do not guess ahead in llama.cpp; None where they do."""
    count = layout.stored_layers - layout.layers
    if not count:
        return f"GGUF files of {model.id} hold no next-token layers" if model.text.next_tokens else f"{model.id} has no next-token layers"
    if layout.architecture not in facts.ggml["next_token_architectures"]:
        return f"llama.cpp does not run the next-token layers of {layout.architecture}"
    if count > 1 and layout.architecture not in _SEVERAL:
        return f"llama.cpp runs a single next-token layer of {layout.architecture}, and the file holds {count}"
    return None


class NextTokens:
    """The next-token layers of one model."""

    def __init__(self, layout: Layout, facts: Facts, batches: tuple[int, int]) -> None:
        """batches: (batch, ubatch) in tokens, as of the model's own context."""
        from runlocal.engines.ggml.graph.nextn import next_layout

        self._whole, self._layout, self._facts = layout, next_layout(layout), facts
        self._batch, self._ubatch = batches

    def parts(
        self, stored: tuple[Stored, ...], workload: Workload, settings: Settings, placement: Placement, copied: dict[tuple[str, int | None], int] | None
    ) -> Iterator[Part]:
        """Their weights, a cache in f16 for the same context, buffers of their own, and what is handed over from the model.

        stored: every tensor of the file
        settings: those of the model's own context
        copied: as `compute_buffers` wants it
        """
        own = self._settings(workload, settings)
        yield from self._weights(stored, placement)
        yield from self._caches(own, placement)
        yield from self._buffers(own, placement, copied)
        yield from self._rows(workload, settings)

    def _settings(self, workload: Workload, settings: Settings) -> Settings:
        streams = 1 if workload.unified_kv else workload.sequences
        asked = workload._replace(pool_tokens=settings.cells * streams, cache_type_k="f16", cache_type_v="f16", output_tokens=workload.sequences)
        return settle(self._layout, asked, self._facts.types, self._facts.ggml, batch_tokens=self._batch, ubatch_tokens=self._ubatch)

    def _weights(self, stored: tuple[Stored, ...], placement: Placement) -> Iterator[Part]:
        skipped = tuple(one._replace(tensor=one.tensor._replace(skipped=False)) for one in stored if one.tensor.skipped)
        for device, size in _by_device(lay(measure(skipped), placement, tied=False)):
            because = "the tensors of the layers behind the last, which are loaded for this alone"
            yield Part(Kind.WEIGHTS, f"{LABEL}weights", device, size, Basis.EXACT, because, self._source("context"))

    def _caches(self, settings: Settings, placement: Placement) -> Iterator[Part]:
        for cache in self._layout.caches():
            for device, count in cache_spread(cache, placement).items():
                size = count * layer_bytes(cache, settings, device)
                yield Part(Kind.CACHE, f"{LABEL}cache", device, size, Basis.EXACT, formula(cache, settings, count), self._source("context"))

    def _buffers(self, settings: Settings, placement: Placement, copied: dict[tuple[str, int | None], int] | None) -> Iterator[Part]:
        from runlocal.engines.ggml.graph import next_token_buffers

        buffers = next_token_buffers(self._whole, settings, placement, copied)
        because = f"ggml's allocator over the graph of the first of these layers, {settings.ubatch_tokens} tokens, {settings.cells} cells"
        basis, percent = Basis.EXACT, 0
        if doubt := self._facts.ggml["graph_doubts"].get(self._layout.architecture):
            basis, percent = Basis.ESTIMATED, doubt["margin_percent"]
            because += f"; {doubt['because']}: up to {percent} % more"
        for device, size in zip((*placement.devices(), HOST), (*buffers.gpus, buffers.host), strict=True):
            label = f"{LABEL}compute buffer" + (", host" if device == HOST else "")
            yield Part(Kind.COMPUTE_BUFFER, label, device, size, basis, because, self._source("allocator"), size * percent // 100)

    def _rows(self, workload: Workload, settings: Settings) -> Iterator[Part]:
        width, rows, sequences = self._layout.hidden_size, self._layout.vocabulary_size, workload.sequences
        batch = min(workload.pool_tokens or workload.context_tokens * sequences, self._batch)
        because = f"4 B × {width} values × {batch} tokens of a batch, which the model hands over"
        yield Part(Kind.COMPUTE_BUFFER, f"{LABEL}hidden states", HOST, _F32_BYTES * width * batch, Basis.EXACT, because, self._source("context"))
        values = rows * (1 + _SAMPLED) + width + 1
        because = f"4 B × {sequences} rows × (logits and 3 × {rows} for what is picked on the device + {width} + 1)"
        yield Part(Kind.COMPUTE_BUFFER, f"{LABEL}logits", HOST, _F32_BYTES * values * sequences, Basis.EXACT, because, self._source("context"))

    def _source(self, name: str) -> str:
        url: str = self._facts.ggml["sources"][name]["url"]
        return url


def _by_device(weights: Iterable[Weight]) -> Iterable[tuple[str, int]]:
    totals: dict[str, int] = {}
    for weight in weights:
        totals[weight.device] = totals.get(weight.device, 0) + weight.bytes
    return totals.items()
