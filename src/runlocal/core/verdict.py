"""The judge: adds the parts up per device and compares."""

from collections.abc import Sequence
from enum import StrEnum

from runlocal.core.machine import Machine
from runlocal.core.part import HOST, Part, gpu, margin, need


class Answer(StrEnum):
    """Best first. FITS leaves the reserve free on every device; TIGHT does not everywhere; SPILLS needs host memory for part of the model."""

    FITS = "fits"
    TIGHT = "tight"
    SPILLS = "spills"
    DOES_NOT_FIT = "does_not_fit"
    CANNOT_RUN = "cannot_run"


_ORDER = {answer: rank for rank, answer in enumerate(Answer)}


def best(answers: Sequence[Answer]) -> Answer:
    """The best of at least one answer."""
    return min(answers, key=_ORDER.__getitem__)


def is_yes(answer: Answer, *, strict: bool, offload: bool) -> bool:
    """Whether the answer is a yes for the exit code: `tight` unless `strict`, `spills` only with `offload`."""
    match answer:
        case Answer.FITS:
            return True
        case Answer.TIGHT:
            return not strict
        case Answer.SPILLS:
            return offload
        case Answer.DOES_NOT_FIT | Answer.CANNOT_RUN:
            return False


def headroom(parts: Sequence[Part], machine: Machine) -> tuple[int, ...]:
    """Usable less needed bytes of each GPU; of the host where the machine has no GPU and its memory is known.

    A GPU that shares the host's memory pays for what lies on the host too.
    """
    if machine.gpus:
        return tuple(device.usable_bytes - need(parts, gpu(device.index)) - (need(parts, HOST) if device.unified else 0) for device in machine.gpus)
    return (machine.host_bytes - need(parts, HOST),) if machine.host_bytes is not None else ()


def judge(parts: Sequence[Part], machine: Machine, reserves: Sequence[int]) -> Answer:
    """FITS, TIGHT or DOES_NOT_FIT of parts laid on a machine, taking what is estimated at the unsafe end of its range.

    reserves: bytes to leave free on each device, one per GPU (or one for the host). Host memory that the parts need beside the GPUs
    is held against the machine's where it is known.
    """
    devices = [gpu(device.index) for device in machine.gpus] or [HOST]
    left = [free - margin(parts, device) for free, device in zip(headroom(parts, machine), devices, strict=False)]
    host_is_short = bool(machine.gpus) and machine.host_bytes is not None and need(parts, HOST) > machine.host_bytes
    if host_is_short or any(free < 0 for free in left):
        return Answer.DOES_NOT_FIT
    return Answer.FITS if all(free >= reserve for free, reserve in zip(left, reserves, strict=False)) else Answer.TIGHT
