"""What the driver and the CUDA libraries take beside ggml's own buffers."""

from collections.abc import Iterator, Mapping
from typing import Any

from runlocal.core.machine import Backend, Gpu, Machine
from runlocal.core.part import Basis, Kind, Part, gpu
from runlocal.core.units import MIB, mib


def overhead_parts(machine: Machine, facts: Mapping[str, Any]) -> Iterator[Part]:
    """The context of every GPU the process touches, and the kernels' scratch.

    facts: `context_classes` (rows of up_to_bytes, bytes, most_bytes), `scratch_bytes`, `scratch_most_bytes` and their sources
    """
    for device in machine.gpus:
        if device.backend is not Backend.CUDA:
            continue
        yield _context(device, facts)
        yield Part(
            kind=Kind.RUNTIME,
            label="cuBLAS and kernel scratch",
            device=gpu(device.index),
            bytes=facts["scratch_bytes"],
            basis=Basis.ESTIMATED,
            because=f"workspaces outside ggml's buffers, {mib(facts['scratch_bytes'])} to {mib(facts['scratch_most_bytes'])} seen",
            source=facts["sources"]["scratch"]["url"],
            margin_bytes=facts["scratch_most_bytes"] - facts["scratch_bytes"],
        )


def _context(device: Gpu, facts: Mapping[str, Any]) -> Part:
    if device.context_bytes is not None:
        return Part(Kind.RUNTIME, "CUDA context", gpu(device.index), device.context_bytes, Basis.MEASURED, f"measured on this kind of card: {mib(device.context_bytes)}", facts["sources"]["context_overhead"]["url"])
    row = next(row for row in facts["context_classes"] if device.memory_bytes <= row["up_to_mib"] * MIB)
    return Part(
        kind=Kind.RUNTIME,
        label="CUDA context",
        device=gpu(device.index),
        bytes=row["mib"] * MIB,
        basis=Basis.ESTIMATED,
        because=f"rule for cards of this size, {row['least_mib']} to {row['most_mib']} MiB seen; it grows with the number of multiprocessors",
        source=facts["sources"]["context_overhead"]["url"],
        margin_bytes=(row["most_mib"] - row["mib"]) * MIB,
    )
