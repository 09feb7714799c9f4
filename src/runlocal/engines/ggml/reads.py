"""What a step of one token reads from memory, which bounds how fast tokens come."""

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.layout import Layout, is_expert
from runlocal.core.part import HOST
from runlocal.core.speed import HOST_CACHE
from runlocal.engines.ggml.cache import device_bytes
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings
from runlocal.quants.gguf import Stored


def weight_reads(layout: Layout, stored: tuple[Stored, ...], placement: Placement, experts_used: int) -> dict[str, int]:
    """Bytes of weights that each device reads for one token: `Layout.active_parameters` as stored."""
    idle = layout.idle_layers()
    read: dict[str, int] = {}
    for one in stored:
        tensor = one.tensor
        if tensor.skipped or not layout.reads(tensor):
            continue
        size = one.tensor_bytes * experts_used // layout.experts if is_expert(tensor) else one.tensor_bytes
        if not tensor.layers:
            # A tied embedding that has no second copy is multiplied with where it is looked up.
            device = HOST if layout.single_embedding and tensor.role == "token_embd" else placement.output
            read[device] = read.get(device, 0) + size
            continue
        awake = tuple(layer for layer in tensor.layers if layer not in idle) if idle else tensor.layers
        if is_expert(tensor) and placement.host_experts:
            kept = sum(layer < placement.host_experts for layer in awake)
            read[HOST] = read.get(HOST, 0) + size * kept
            awake = awake[kept:]
        for device, count in placement.spread(awake).items():
            read[device] = read.get(device, 0) + size * count
    return read


def cache_reads(caches: tuple[Cache, ...], settings: Settings, placement: Placement) -> dict[str, int]:
    """Bytes of caches and states that each device reads for one token of one sequence whose context is full.

    Caches on the host stand apart, under `HOST_CACHE`; recurrent states are read like weights.

    settings: of that one sequence
    """
    read: dict[str, int] = {}
    for cache in caches:
        if cache.kind is CacheKind.CROSS:
            continue
        for device, size in device_bytes(cache, settings, placement).items():
            place = HOST_CACHE if device == HOST and cache.kind is not CacheKind.RECURRENT else device
            read[place] = read.get(place, 0) + size
    return read
