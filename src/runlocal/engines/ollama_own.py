"""Ollama's own engine (0.4 to 0.24) for Llama 3.2 Vision: ggml's storage, its own caches and graph sizes (fs/ggml/ggml.go, model/models/mllama)."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.units import mib
from runlocal.core.workload import Workload
from runlocal.engines.ggml.cache import CACHE_LABELS, cache_spread, formula, layer_bytes
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.session import Session
from runlocal.quants.gguf import Recipe

_F32_BYTES = 4


class OwnEngineSession(Session):
    """A model in Ollama's own engine: caches and buffers of its own, and no step copies weights."""

    def lay_caches(self, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        growing = [part for cache in self.caches if cache.kind is not CacheKind.CROSS for part in self._growing_parts(cache, workload, placement)]
        crossing = [part for cache in self.caches if cache.kind is CacheKind.CROSS and workload.vision for part in self._cross_parts(cache, placement)]
        return (*growing, *crossing)

    def cache_bytes(self, workload: Workload, placement: Placement) -> Iterator[tuple[str, int]]:
        return ((part.device, part.bytes) for part in self.lay_caches(workload, placement))

    def _growing_parts(self, cache: Cache, workload: Workload, placement: Placement) -> list[Part]:
        settings = self.settings(workload)
        return [
            Part(
                Kind.CACHE,
                CACHE_LABELS[cache.kind],
                device,
                count * layer_bytes(cache, settings, device),
                Basis.EXACT,
                formula(cache, settings, count),
                self._source("cache"),
            )
            for device, count in cache_spread(cache, placement).items()
        ]

    def _cross_parts(self, cache: Cache, placement: Placement) -> list[Part]:
        """The image's keys and values: f32 whatever the cache type, and a whole image's tokens whatever the context."""
        one = _F32_BYTES * (cache.k_values + cache.v_values) * (cache.cells or 0)
        parts = []
        for device, count in cache_spread(cache, placement).items():
            because = f"{count} layers × {cache.cells} image tokens × ({cache.k_values} + {cache.v_values}) values × 4 B (f32), whatever the context"
            parts.append(Part(Kind.CACHE, CACHE_LABELS[cache.kind], device, count * one, Basis.EXACT, because, self._source("cross_cache")))
        return parts

    def straight_from(self, workload: Workload, placement: Placement, most_tokens: int) -> int | None:
        return None

    def copies_weights(self, placement: Placement) -> bool:
        return False

    def lay_buffers(self, recipe: Recipe, workload: Workload, placement: Placement) -> tuple[Part, ...]:
        """The text graph, as the loader sizes it for every device that holds layers: attention scores in f32, without flash attention."""
        settings, text = self.settings(workload), self.model.text
        scores = 2 + 3 * text.hidden_size + text.head_dim * text.heads + settings.cells * (1 + text.heads)
        logits = text.hidden_size + text.vocabulary_size
        size = _F32_BYTES * settings.ubatch_tokens * max(scores, logits)
        because = (
            f"4 B × {settings.ubatch_tokens} tokens × max(2 + 3 × {text.hidden_size} + {text.head_dim} × {text.heads} + {settings.cells} × (1 + {text.heads}), "
            f"{text.hidden_size} + {text.vocabulary_size}): what the loader sets aside; between {mib(size // 2)} and this"
        )
        devices = placement.devices() or (HOST,)
        return tuple(Part(Kind.COMPUTE_BUFFER, "compute buffer", device, size, Basis.ESTIMATED, because, self._source("graph")) for device in devices)

    def _source(self, key: str) -> str:
        return str(self.facts.ggml["sources"][f"ollama_{key}"]["url"])
