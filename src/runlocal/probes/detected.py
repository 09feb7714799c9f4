"""What a probe finds."""

from collections.abc import Mapping
from pathlib import Path
from sys import executable

from runlocal.core.machine import Gpu
from runlocal.core.noun import NamedTuple


class Surroundings(NamedTuple):
    """The parts of the outside world that the probes look at.

    environ: environment variables
    platform: as `sys.platform` says
    proc, sys, dev, share: where the kernel's file systems, the devices and the system's tables are
    libraries: where libnvidia-ml.so.1 may lie when the loader's own search does not find it
    python: the interpreter that asks what may crash a process
    """

    environ: Mapping[str, str]
    platform: str
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    share: Path = Path("/usr/share")
    # WSL's and NixOS's: both keep the driver outside the loader's path.
    libraries: tuple[str, ...] = ("/usr/lib/wsl/lib/libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1")
    python: str = executable


class Host(NamedTuple):
    """Memory and processor of the computer.

    total_bytes: what may be used at most: the computer's, or the container's limit where that is less; None where not known
    available_bytes: what can be had now without swapping; None where not known
    physical_bytes: the computer's memory, whatever the container's limit
    limit_bytes: the container's limit; None without one
    cpu: name of the processor; None where not known
    cores: physical cores; None where not known
    notes: what went wrong, a sentence each
    """

    total_bytes: int | None = None
    available_bytes: int | None = None
    physical_bytes: int | None = None
    limit_bytes: int | None = None
    cpu: str | None = None
    cores: int | None = None
    notes: tuple[str, ...] = ()


class Process(NamedTuple):
    """A process that holds memory of a GPU.

    pid: its number, the host's where we run in a container
    name: its program, without arguments; None where it cannot be read
    bytes: what it holds; None where the driver does not say (Windows, WSL)
    models: files, repositories and tags of models that its command line names, where it is a program that runs models
    """

    pid: int
    name: str | None
    bytes: int | None
    models: tuple[str, ...] = ()


class DetectedGpu(NamedTuple):
    """One device that a driver reported: a card, or a slice of one.

    driver_index: the driver's number of the card, which a slice shares with its card
    name: as the driver prints it
    gpu: the device as the rest of the program knows it, numbered as the driver does; None where it cannot be used
    problem: why it cannot be used, a sentence; None where it can
    found_by: where its memory figures are from
    uuid: the driver's; None where it has none
    free_bytes: what the driver says is free; None where it does not say
    visible_index: its number in a program started here; None where such a program does not see it
    processes: who holds its memory; None where not asked for or not known
    ecc: error correction is on; None where the device has none
    card_uuid: the card's UUID, which a slice shares with its card
    mig_slice: a MIG slice of a card
    mig_profile: of a slice: `1g.10gb`; None for a card, and where the driver does not say
    instances: of a slice: its GPU instance and compute instance
    vgpu: a share of a card, handed to a virtual machine
    board: of a unified-memory machine: what the firmware calls the board
    integrated: it has no memory chips of its own
    left_out: why a model is not judged on it though programs see it, a sentence; None where it is
    pci: of a card whose driver gives no name: vendor, device and revision, in hexadecimal digits
    macos: of an Apple GPU whose limit nobody told: the first number of macOS's version, 0 where not known; None elsewhere
    notes: what the reader should know of it, a sentence each
    why_no_processes: why nobody can say who holds its memory, a sentence; None where somebody can, or was not asked
    """

    driver_index: int
    name: str
    gpu: Gpu | None
    problem: str | None = None
    found_by: str = "NVML"
    uuid: str | None = None
    free_bytes: int | None = None
    visible_index: int | None = None
    processes: tuple[Process, ...] | None = None
    ecc: bool | None = None
    card_uuid: str | None = None
    mig_slice: bool = False
    mig_profile: str | None = None
    instances: tuple[int, int] | None = None
    vgpu: bool = False
    board: str | None = None
    integrated: bool = False
    left_out: str | None = None
    pci: tuple[str, str, str] | None = None
    macos: int | None = None
    notes: tuple[str, ...] = ()
    why_no_processes: str | None = None


class Found(NamedTuple):
    """What one vendor's probe found.

    gpus: its devices in the driver's order
    notes: why something was not found or went wrong, a sentence each
    driver_version: `580.95.05`; None where not known
    cuda_version: the newest CUDA the driver runs, `13.0`; None elsewhere
    absent: that there is no such card here, a sentence, of use only where no other vendor's is found
    """

    gpus: tuple[DetectedGpu, ...] = ()
    notes: tuple[str, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
    absent: str | None = None


class Reading(NamedTuple):
    """A raw answer, for a report of a fault: the way it was asked, what, and what came back."""

    way: str
    what: str
    value: str


class Detection(NamedTuple):
    """This computer.

    gpus: every device that a driver reported, unreadable and hidden ones too
    host: memory and processor
    notes: why devices were not found or what went wrong with them, a sentence each; the host's are in `host`
    driver_version, cuda_version: as in `Found`
    absent: what is not here, a sentence each, where there is a device all the same
    """

    gpus: tuple[DetectedGpu, ...]
    host: Host
    notes: tuple[str, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
    absent: tuple[str, ...] = ()

    @property
    def visible(self) -> tuple[Gpu, ...]:
        """The devices that a program started here can use, in the order and with the numbers it sees them."""
        return tuple(found.gpu._replace(index=place) for place, found in enumerate(self.usable) if found.gpu is not None)

    @property
    def usable(self) -> tuple["DetectedGpu", ...]:
        """What was found of those devices, in the same order."""
        seen = [(found.visible_index, found) for found in self.gpus if found.visible_index is not None and found.gpu is not None]
        return tuple(found for _, found in sorted(seen, key=lambda pair: pair[0]))

    @property
    def why_no_gpu(self) -> str:
        """One line: why no device can be used; empty where one can."""
        if self.visible:
            return ""
        return " ".join((*self.notes, *(found.problem for found in self.gpus if found.problem))) or "No GPU was found."
