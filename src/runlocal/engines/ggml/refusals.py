"""What every runtime on ggml refuses."""

from collections.abc import Mapping
from typing import Any

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.machine import Backend, Machine
from runlocal.core.tensor import StorageType
from runlocal.core.workload import Workload
from runlocal.engines.ggml.settings import Settings

_KEYS_AND_VALUES_IN_ONE = (CacheKind.LATENT, CacheKind.COMPRESSED)


def most_gpus(ggml: Mapping[str, Any]) -> int:
    """GPUs that one process computes on at most: the host is a backend too. ggml: the engine's facts"""
    backends: int = ggml["graph_room"]["most_backends"]
    return backends - 1


def refuses_device(machine: Machine, most: int) -> str | None:
    """Why ggml cannot use the machine's devices: it has no backend for one, or they are too many."""
    name = next((device.name for device in machine.gpus if device.backend is Backend.HPU), None)
    if name is not None:
        return f"ggml has no backend for {name}"
    return f"ggml computes on {most} GPUs at most, and there are {len(machine.gpus)}" if len(machine.gpus) > most else None


def refuses_uneven_steps(settings: Settings) -> str | None:
    """Why llama.cpp aborts over a step that cannot be cut evenly, of an architecture that wants it so; None where it can."""
    tokens, streams = settings.ubatch_tokens, settings.streams
    if tokens % streams == 0:
        return None
    even = tokens // streams * streams
    what = f"llama.cpp aborts where a step of this architecture cannot be cut evenly: {tokens} tokens for {streams} sequences"
    return what + (f"; --ubatch {even}" if even else "")


def refuses_cache(caches: tuple[Cache, ...], workload: Workload, flash_attention: bool, types: Mapping[str, StorageType]) -> str | None:
    """Why these cache types cannot be had (`llama_init_from_model`): quantized V needs flash attention, and heads must be whole blocks.

    Where keys and values are kept as one, the types are one too.
    """
    growing = [cache for cache in caches if cache.kind is not CacheKind.RECURRENT]
    if workload.cache_type_k != workload.cache_type_v and any(cache.kind in _KEYS_AND_VALUES_IN_ONE for cache in growing):
        return f"keys and values are kept as one, so the K and V caches cannot be {workload.cache_type_k} and {workload.cache_type_v}"
    value_type = types[workload.cache_type_v.upper()]
    if value_type.block_elements > 1 and not flash_attention and growing:
        return f"a {workload.cache_type_v} V cache needs flash attention"
    for side, name in (("K", workload.cache_type_k), ("V", workload.cache_type_v)):
        block = types[name.upper()].block_elements
        for cache in growing:
            width = (cache.k_values if side == "K" else cache.v_values) // cache.heads
            if width % block:
                return f"a {name} {side} cache stores {block} values at a time, which do not divide a head of {width}"
    return None
