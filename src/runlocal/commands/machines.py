"""The machines that the options name, or this computer."""

from runlocal.catalog.gpus import match_driver, unlisted_context
from runlocal.catalog.machines import parse_budget, parse_machine
from runlocal.commands.options import MOST_PID, Options, bandwidth, size, within
from runlocal.core.errors import Code, Problem
from runlocal.core.machine import Backend, Gpu, Machine
from runlocal.core.noun import NamedTuple


class Asked(NamedTuple):
    """A machine and how it was named.

    options: the options with this machine alone
    hint: what to say on stderr about how it was found
    """

    machine: Machine
    options: Options
    hint: str = ""


def machines(options: Options) -> tuple[Asked, ...]:
    """Every machine asked for; this computer if none. Raises Problem."""
    ram = size("--ram", options.ram)
    alone = options._replace(gpu=(), vram=None)
    named = [Asked(_named(spec, ram), alone._replace(gpu=(spec,))) for spec in options.gpu]
    if options.vram is not None:
        named.append(Asked(_with_contexts(parse_budget(options.vram))._replace(host_bytes=ram), alone._replace(vram=options.vram)))
    found = tuple(named) or (_here(options, ram),)
    rate = bandwidth("--ram-bandwidth", options.ram_bandwidth)
    return found if rate is None else tuple(one._replace(machine=one.machine._replace(host_bandwidth_bytes=rate)) for one in found)


def one_machine(options: Options, who: str) -> Asked:
    """The one machine asked for. Raises Problem where `who` was asked about several."""
    asked = machines(options)
    if len(asked) > 1:
        raise Problem(Code.BAD_VALUE, f"{who} is asked about one machine", hint="ask once per --gpu, or name 2x3090 for several cards in one")
    return asked[0]


def _named(spec: str, ram: int | None) -> Machine:
    machine = parse_machine(spec)
    if not machine.gpus and ram is None:
        raise Problem(Code.BAD_VALUE, f"--gpu {spec} has host memory alone, and how much is not said", hint=f"--gpu {spec} --ram 64GB")
    return noted(machine._replace(host_bytes=ram))


def noted(machine: Machine) -> Machine:
    """A machine that was named, with what to know where it has host memory alone."""
    told = "CPU only: all of that memory counts as free; what the system and other programs hold is not taken off."
    return machine if machine.gpus else machine._replace(notes=(told,))


def _here(options: Options, ram: int | None) -> Asked:
    from runlocal.commands.here import detection as detect
    from runlocal.commands.here import holders
    from runlocal.probes.detect import machine

    # Who holds memory does not matter where all of it counts as free.
    detection = detect(processes=not options.idle)
    here = machine(detection)._replace(holders=holders(detection))
    if not here.gpus and options.require_gpu:
        raise Problem(Code.NO_GPU, "no usable GPU was found on this computer", hint=detection.why_no_gpu or "`runlocal gpus` says what was tried")
    if options.idle:
        here = here._replace(gpus=tuple(gpu._replace(in_use_bytes=0) for gpu in here.gpus))
    ignored = tuple(within("--ignore-pid", pid, 1, MOST_PID) for pid in options.ignore_pid)
    hints = [] if here.gpus else [" ".join(dict.fromkeys(("No GPU was found.", detection.why_no_gpu)))]
    if hints:  # why is said there, once
        here = here._replace(notes=tuple(note for note in here.notes if note not in detection.why_no_gpu))
    hints += [] if options.idle else [hint for pid in dict.fromkeys(ignored) if (hint := _not_ignored(pid, here))]
    here = _with_contexts(here.without(ignored))
    if ram is not None:
        here = here._replace(host_bytes=ram)
    return Asked(here, options, " ".join(hints))


def _not_ignored(pid: int, machine: Machine) -> str:
    """Why ignoring a process changes nothing, a sentence; empty where it does."""
    holder = next((holder for holder in machine.holders if holder.pid == pid), None)
    if holder is None:
        return f"--ignore-pid {pid}: no process of that number is known to hold memory of a GPU here; `runlocal gpus` lists those that do."
    if None in holder.bytes:
        return f"--ignore-pid {pid}: the driver does not say how much that process holds; --idle counts all that is in use as free."
    return ""


def _with_contexts(machine: Machine) -> Machine:
    """What the catalogue knows of a card that the driver does not tell: its id, its bandwidth, what a context takes."""
    return machine._replace(gpus=tuple(_completed(gpu) for gpu in machine.gpus))


def _completed(gpu: Gpu) -> Gpu:
    if gpu.context_bytes is not None:
        return gpu
    entry = match_driver(gpu.name, gpu.memory_bytes)
    if entry is None and gpu.backend is Backend.METAL:
        return gpu  # the working-set limit leaves room for it
    if entry is None:
        return gpu._replace(context_bytes=unlisted_context(gpu.memory_bytes))
    known = entry.gpu(gpu.index)
    return gpu._replace(
        id=entry.id,
        context_bytes=known.context_bytes,
        context_measured=known.context_measured,
        bandwidth_bytes=gpu.bandwidth_bytes or known.bandwidth_bytes,
        memory_type=known.memory_type,
    )
