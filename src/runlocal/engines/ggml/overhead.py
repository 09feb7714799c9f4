"""What the driver and the CUDA libraries take beside ggml's own buffers."""

from collections.abc import Iterator, Mapping
from typing import Any

from runlocal.core.machine import Backend, Gpu, Machine
from runlocal.core.part import Basis, Kind, Part, gpu
from runlocal.core.units import mib


def overhead_parts(machine: Machine, facts: Mapping[str, Any]) -> Iterator[Part]:
    """The context of every GPU the process touches, and the kernels' scratch.

    facts: `scratch_bytes`, `scratch_most_bytes` and their sources
    """
    for device in machine.gpus:
        if device.context_bytes is None:
            continue  # Metal: what the system keeps is in the working-set limit
        yield _context(device, facts)
        yield Part(
            kind=Kind.RUNTIME,
            label="cuBLAS and kernel scratch" if device.backend is Backend.CUDA else "kernel scratch",
            device=gpu(device.index),
            bytes=facts["scratch_bytes"],
            basis=Basis.ESTIMATED,
            because=f"workspaces outside ggml's buffers, {mib(facts['scratch_bytes'])} to {mib(facts['scratch_most_bytes'])} seen",
            source=facts["sources"]["scratch"]["url"],
            margin_bytes=facts["scratch_most_bytes"] - facts["scratch_bytes"],
        )


def _context(device: Gpu, facts: Mapping[str, Any]) -> Part:
    """The driver's context: it grows with the number of multiprocessors, and a card whose own was not measured takes the rule for its class."""
    size = device.context_bytes or 0
    return Part(
        kind=Kind.RUNTIME,
        label="CUDA context" if device.backend is Backend.CUDA else "driver context",
        device=gpu(device.index),
        bytes=size,
        basis=Basis.MEASURED if device.context_measured else Basis.ESTIMATED,
        because=f"measured on this kind of card: {mib(size)}" if device.context_measured else f"the rule for cards of its class, {mib(size)}",
        source=facts["sources"]["context_overhead"]["url"],
    )
