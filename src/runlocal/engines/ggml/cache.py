"""Caches on their devices (llama_kv_cache, llama_kv_cache_iswa, llama_memory_recurrent)."""

from collections.abc import Iterable, Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings
from runlocal.engines.ggml.weights import ALIGNMENT, ROW_PADDING

_F32_BYTES = 4
CACHE_LABELS = {
    CacheKind.FULL: "KV cache",
    CacheKind.SLIDING: "KV cache, sliding window",
    CacheKind.CHUNKED: "KV cache, chunked window",
    CacheKind.LATENT: "latent cache (MLA)",
    CacheKind.INDEXER: "indexer cache",
    CacheKind.COMPRESSED: "KV cache, compressed",
    CacheKind.CROSS: "cross-attention cache",
    CacheKind.RECURRENT: "recurrent state",
}


def layer_bytes(cache: Cache, settings: Settings, device: str) -> int:
    """Bytes that one layer of `cache` takes on `device`, all streams."""
    if cache.kind is CacheKind.RECURRENT:
        return _F32_BYTES * settings.sequences * (1 + settings.snapshots) * (cache.k_values + cache.v_values)
    cells = settings.cells_of(cache) * settings.streams
    return _tensor_bytes(settings.type_k, cache.k_values, cells, device) + _tensor_bytes(settings.type_v, _v_values(cache, settings), cells, device)


def _v_values(cache: Cache, settings: Settings) -> int:
    """Values of V per cell; where keys and values are kept as one, there is no V to widen."""
    return max(cache.v_values, settings.padded_v_values) if cache.v_values or not cache.k_values else 0


def _tensor_bytes(kind: StorageType, values: int, cells: int, device: str) -> int:
    if not values:
        return 0
    size = kind.row_bytes(values) * cells
    if device == HOST:
        return size
    over = values % ROW_PADDING
    return pad(size + (kind.row_bytes(ROW_PADDING - over) if kind.block_elements > 1 and over else 0), ALIGNMENT)


def device_bytes(cache: Cache, settings: Settings, placement: Placement) -> dict[str, int]:
    """Bytes of `cache` on each device: a layer's cache lives with the layer."""
    return {device: count * layer_bytes(cache, settings, device) for device, count in cache_spread(cache, placement).items()}


def cache_spread(cache: Cache, placement: Placement) -> dict[str, int]:
    """How many layers of `cache` each device holds."""
    return {HOST: len(cache.layers)} if placement.cache_on_host else placement.spread(cache.layers)


def formula(cache: Cache, settings: Settings, layers: int) -> str:
    """The bytes of `layers` layers as arithmetic."""
    if cache.kind is CacheKind.RECURRENT:
        kept = f" × {1 + settings.snapshots} states" if settings.snapshots else ""
        return f"{layers} layers × {settings.sequences} sequences{kept} × ({cache.k_values} + {cache.v_values}) values × 4 B"
    widths = f"{settings.type_k.name.lower()} {settings.type_k.row_bytes(cache.k_values)} B"
    if values := _v_values(cache, settings):
        widths = f"(K {widths} + V {settings.type_v.name.lower()} {settings.type_v.row_bytes(values)} B)"
    streams = f" × {settings.streams} sequences" if settings.streams > 1 else ""
    return f"{layers} layers × {settings.cells_of(cache)} cells{streams} × {widths}"


def cache_parts(caches: Iterable[Cache], settings: Settings, placement: Placement, *, vision: bool, source: str) -> Iterator[Part]:
    """The caches on their devices. vision: False leaves those of images out."""
    for cache in caches:
        if (cache.kind is not CacheKind.CROSS or vision) and (cache.k_values or cache.v_values or settings.padded_v_values):
            kind = Kind.STATE if cache.kind is CacheKind.RECURRENT else Kind.CACHE
            for device, count in cache_spread(cache, placement).items():
                size = count * layer_bytes(cache, settings, device)
                yield Part(kind, CACHE_LABELS[cache.kind], device, size, Basis.EXACT, formula(cache, settings, count), source)


def cache_sizes(caches: Iterable[Cache], settings: Settings, placement: Placement, *, vision: bool) -> Iterator[tuple[str, int]]:
    """(device, bytes) of the caches, as in their parts."""
    for cache in caches:
        if cache.kind is not CacheKind.CROSS or vision:
            for device, count in cache_spread(cache, placement).items():
                yield device, count * layer_bytes(cache, settings, device)
