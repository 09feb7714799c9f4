"""Machines that are not CUDA cards beside a host: one memory for both, or a backend whose allocator is not modelled."""

from collections.abc import Iterable, Mapping
from typing import Any

from runlocal.core.load import Load, summed
from runlocal.core.machine import Backend, Machine
from runlocal.core.part import HOST, Basis, Kind, Part, gpu
from runlocal.engines.ggml.placement import Placement

MachineKind = tuple[bool, Backend]
"""Whether there is one memory for both, and the backend: of GPUs of several, the first that is not CUDA, whose buffers are less sure."""


def kind_of(machine: Machine) -> MachineKind | None:
    """What a machine is; None for CUDA cards beside a host, and for a host alone."""
    if all(device.backend is Backend.CUDA and not device.unified for device in machine.gpus):
        return None
    others = (device.backend for device in machine.gpus if device.backend is not Backend.CUDA)
    return any(device.unified for device in machine.gpus), next(others, Backend.CUDA)


def elsewhere(part: Part, kind: MachineKind, margin_percent: int) -> Part:
    """The part on such a machine.

    margin_percent: how much more than CUDA's buffers another allocator's may take
    """
    one_memory, backend = kind
    if one_memory and part.device == HOST:
        part = part._replace(device=gpu(0), label=f"{part.label} (in the same memory)")
    if backend is not Backend.CUDA and part.kind in (Kind.COMPUTE_BUFFER, Kind.VISION_BUFFER) and part.basis is not Basis.ESTIMATED:
        because = f"{part.because}; as CUDA lays it out, {backend.value}'s allocator is not modelled: up to {margin_percent} % more"
        part = part._replace(basis=Basis.ESTIMATED, because=because, margin_bytes=part.bytes * margin_percent // 100)
    elif backend is not Backend.CUDA and part.kind is Kind.COMPUTE_BUFFER:
        # What is a range already has the other allocator on top.
        most = part.bytes + part.margin_bytes
        because = f"{part.because}; {backend.value}'s allocator is not modelled: up to {margin_percent} % more again"
        part = part._replace(because=because, margin_bytes=part.margin_bytes + most * margin_percent // 100)
    return part


def parts_on(parts: Iterable[Part], kind: MachineKind | None, facts: Mapping[str, Any]) -> Iterable[Part]:
    """The parts on such a machine. facts: `other_backend_margin_percent`"""
    return parts if kind is None else (elsewhere(part, kind, facts["other_backend_margin_percent"]) for part in parts)


def exact_load(sizes: Iterable[tuple[str, int]], placement: Placement, kind: MachineKind | None) -> Load:
    """The sums over (device, bytes) of weights and caches, whose bytes are the same anywhere."""
    one_memory = kind is not None and kind[0]
    return summed(((gpu(0) if one_memory and device == HOST else device, size, 0) for device, size in sizes), placement.gpus)
