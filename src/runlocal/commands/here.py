"""This computer's devices, with what the catalogue knows where a driver tells no name and macOS no limit."""

from runlocal.catalog.gpus import apple_limit, pci_name
from runlocal.core.machine import Holder
from runlocal.core.units import gib
from runlocal.probes import detect
from runlocal.probes.detected import DetectedGpu, Detection, Host, Process


def detection(*, processes: bool = False) -> Detection:
    """As `probes.detect.detect`."""
    found = detect.detect(processes=processes)
    return found._replace(gpus=tuple(_limited(_named(gpu), found.host) for gpu in found.gpus))


def holders(found: Detection) -> tuple[Holder, ...]:
    """Who holds memory of the GPUs that programs here use, largest first, with the models that they were started with."""
    held: dict[int, list[int | None]] = {}
    processes: dict[int, Process] = {}
    for place, device in enumerate(found.usable):
        for process in device.processes or ():
            processes.setdefault(process.pid, process)
            held.setdefault(process.pid, [0] * len(found.usable))[place] = process.bytes
    listed = [_holder(process, tuple(held[pid])) for pid, process in processes.items()]
    return tuple(sorted(listed, key=lambda holder: (-holder.known_bytes, holder.pid)))


def _holder(process: Process, sizes: tuple[int | None, ...]) -> Holder:
    if not process.models:
        return Holder(process.pid, process.name, sizes)
    from runlocal.catalog.file_names import model_named

    models = [named for text in process.models if (named := model_named(text))]
    files = tuple(text.replace("\\", "/").rsplit("/", 1)[-1] for text in process.models)
    return Holder(process.pid, process.name, sizes, models[0] if models else None, files)


def _named(found: DetectedGpu) -> DetectedGpu:
    name = pci_name(*found.pci) if found.pci else None
    if name is None:
        return found
    return found._replace(
        name=name,
        gpu=found.gpu and found.gpu._replace(name=name),
        problem=found.problem and found.problem.replace(found.name, name),
        left_out=found.left_out and found.left_out.replace(found.name, name),
        notes=tuple(note.replace(found.name, name) for note in found.notes),
    )


def _limited(found: DetectedGpu, host: Host) -> DetectedGpu:
    """An Apple GPU whose limit nobody told, with the usual one for its memory and macOS; else with what the probe took."""
    if found.macos is None or found.gpu is None:
        return found
    total, version = found.gpu.memory_bytes, f"macOS {found.macos}" if found.macos else "an unknown macOS"
    usual = apple_limit(total, found.macos)
    if usual is None:
        note = f"{found.name}: {gib(total - found.gpu.reserved_bytes)} is assumed to be the GPU's limit: two thirds, the smallest share seen."
    else:
        from runlocal.probes.apple import limited

        found = limited(found, usual, host)
        note = f"{found.name}: {gib(usual)} is taken for the GPU's limit: the usual one of {gib(total)} under {version}."
    return found._replace(notes=(*found.notes, note))
