"""Machines: what a model would run on."""

from collections.abc import Collection, Sequence
from enum import StrEnum

from runlocal.core.noun import NamedTuple

MOST_DEVICES = 64
"""Devices of one machine, more than any program here computes with."""


class Origin(StrEnum):
    HERE = "here"
    NAMED = "named"
    BUDGET = "budget"
    UNLIMITED = "unlimited"


class Backend(StrEnum):
    CUDA = "cuda"
    ROCM = "rocm"
    METAL = "metal"
    SYCL = "sycl"
    HPU = "hpu"
    VULKAN = "vulkan"
    CPU = "cpu"


class Gpu(NamedTuple):
    """One device: a card, a MIG slice, the GPU of a unified-memory machine, or a budget.

    index: its place among the machine's devices, 0 first
    id: id of the catalogue entry, None where the catalogue has none
    name: as the driver prints it
    memory_bytes: the driver's total (NVML v1 total)
    reserved_bytes: what the driver keeps for itself; 0 for a budget
    in_use_bytes: what other processes hold now; None for a machine that is not here
    context_bytes: what the driver takes for one process's context; None where neither measured nor assumed
    context_measured: that figure was measured on this kind of card
    backend: the allocator behind it
    compute_capability: CUDA's, (8, 9); None elsewhere
    unified: the memory is the host's own
    uuid: the driver's, None where not here
    bandwidth_bytes: bytes per second, None where not known
    memory_type: `GDDR6X`, None where not known
    """

    index: int  # type: ignore[assignment]  # the field hides tuple.index, which nothing here needs
    id: str | None
    name: str
    memory_bytes: int
    reserved_bytes: int = 0
    in_use_bytes: int | None = None
    context_bytes: int | None = None
    context_measured: bool = False
    backend: Backend = Backend.CUDA
    compute_capability: tuple[int, int] | None = None
    unified: bool = False
    uuid: str | None = None
    bandwidth_bytes: int | None = None
    memory_type: str | None = None

    @property
    def usable_bytes(self) -> int:
        """What a process can allocate there now: total, less the driver's reserve, less what others hold."""
        return max(0, self.memory_bytes - self.reserved_bytes - (self.in_use_bytes or 0))


class Holder(NamedTuple):
    """A process that holds memory of a machine's GPUs.

    pid: its number
    name: its program; None where not known
    bytes: what it holds of each GPU, in the machine's order; None where the driver does not say
    model: id of the bundled model that it was started with; None where it runs none, or one that nobody here knows
    files: names of the files and repositories that it was started with, without their folders
    """

    pid: int
    name: str | None
    bytes: tuple[int | None, ...]
    model: str | None = None
    files: tuple[str, ...] = ()

    @property
    def known_bytes(self) -> int:
        """What it holds on all GPUs together, as far as the driver says."""
        return sum(size or 0 for size in self.bytes)


class Machine(NamedTuple):
    """Devices and host memory that a model is judged against.

    origin: how we know of it
    label: as a person would name it: `2 x RTX 3090`
    gpus: its devices; empty: CPU only
    host_bytes: host memory that may be used; None: enough for what always stays on the host, nothing may be offloaded
    notes: what the reader should know about how it was found, a sentence each
    holders: who holds memory of its GPUs, largest first; empty for a machine that is not here, and where nobody says
    host_bandwidth_bytes: bytes per second of host memory; None where nobody says
    """

    origin: Origin
    label: str
    gpus: tuple[Gpu, ...]
    host_bytes: int | None = None
    notes: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    host_bandwidth_bytes: int | None = None

    @property
    def usable_bytes(self) -> int | None:
        """What a process can allocate on all GPUs together; without one, in host memory, None where that is not known."""
        return sum(device.usable_bytes for device in self.gpus) if self.gpus else self.host_bytes

    def without(self, pids: Collection[int]) -> "Machine":
        """The machine as it is when those processes have ended, as far as the driver says what they hold."""
        ended = [holder for holder in self.holders if holder.pid in pids]
        return self._replace(
            gpus=tuple(
                device
                if device.in_use_bytes is None
                else device._replace(in_use_bytes=max(0, device.in_use_bytes - sum(holder.bytes[place] or 0 for holder in ended)))
                for place, device in enumerate(self.gpus)
            ),
            holders=tuple(holder for holder in self.holders if holder not in ended),
        )

    def holding(self, gpu_bytes: Sequence[int], host_bytes: int) -> "Machine":
        """The machine when so much more of each GPU, and of the host's memory, is in use."""
        return self._replace(
            gpus=tuple(device._replace(in_use_bytes=(device.in_use_bytes or 0) + size) for device, size in zip(self.gpus, gpu_bytes, strict=True)),
            host_bytes=None if self.host_bytes is None else max(0, self.host_bytes - host_bytes),
        )
