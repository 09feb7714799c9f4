"""The judge: compares what is needed on each device with what it has."""

from collections.abc import Sequence
from enum import StrEnum

from runlocal.core.load import Load
from runlocal.core.machine import Machine


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


def headroom(load: Load, machine: Machine) -> tuple[int, ...]:
    """Usable less needed bytes of each GPU; of the host where the machine has no GPU and its memory is known."""
    if machine.gpus:
        return tuple(device.usable_bytes - taken for device, taken in zip(machine.gpus, load.gpus, strict=True))
    return (machine.host_bytes - load.host,) if machine.host_bytes is not None else ()


def slack(load: Load, machine: Machine, reserves: Sequence[int]) -> int:
    """What the fullest device has left beyond its reserve, taking what is estimated at the unsafe end of its range; negative where it lacks some.

    reserves: bytes to leave free on each device, one per GPU (or one for the host). Host memory that is needed beside the GPUs
    counts as a device where it is known. A machine of unknown size has room for anything.
    """
    margins = load.gpu_margins if machine.gpus else (load.host_margin,)
    left = [free - margin - reserve for free, margin, reserve in zip(headroom(load, machine), margins, reserves, strict=False)]
    if machine.gpus and machine.host_bytes is not None:
        left.append(machine.host_bytes - load.host - load.host_margin)
    return min(left, default=0)


def judge(load: Load, machine: Machine, reserves: Sequence[int]) -> Answer:
    """FITS, TIGHT or DOES_NOT_FIT of a load on a machine; reserves as in `slack`."""
    if slack(load, machine, reserves) >= 0:
        return Answer.FITS
    return Answer.TIGHT if slack(load, machine, (0,) * len(reserves)) >= 0 else Answer.DOES_NOT_FIT
