"""How many layers go on the GPUs, and how they are shared out."""

from typing import NamedTuple

from runlocal.core.machine import Machine
from runlocal.core.part import Kind, Part, gpu
from runlocal.core.verdict import headroom
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime

_SPLIT_ATTEMPTS = 4


class Laid(NamedTuple):
    """A placement and the parts it makes."""

    placement: Placement
    parts: tuple[Part, ...]


def most_layers(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine) -> Laid | None:
    """As many layers on the GPUs as fit; None where not even none do (buffers of their own are too large)."""
    total = len(runtime.placement(workload, machine).layers) + 1
    least, most, found = 0, total - 1, None
    while least <= most:
        middle = (least + most) // 2
        asked = workload._replace(gpu_layers=middle)
        placement = runtime.placement(asked, machine)
        parts = runtime.parts(recipe, asked, placement, machine)
        if all(free >= 0 for free in headroom(parts, machine)):
            least, found = middle + 1, Laid(placement, parts)
        else:
            most = middle - 1
    return found


def best_split(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, laid: Laid) -> Laid:
    """Another share-out of the layers where the runtime's own overfills a GPU: each GPU gets layers by what its buffers leave of it."""
    best = laid
    shares = [float(device.usable_bytes) for device in machine.gpus]
    for _ in range(_SPLIT_ATTEMPTS):
        fixed = [sum(part.bytes for part in best.parts if part.device == gpu(device.index) and not _follows_layers(part)) for device in machine.gpus]
        adjusted = [max(1.0, device.usable_bytes - taken) for device, taken in zip(machine.gpus, fixed, strict=True)]
        if adjusted == shares:
            break
        shares = adjusted
        placement = runtime.placement(workload, machine, shares)
        candidate = Laid(placement, runtime.parts(recipe, workload, placement, machine))
        if min(headroom(candidate.parts, machine)) > min(headroom(best.parts, machine)):
            best = candidate
    return best


def _follows_layers(part: Part) -> bool:
    return part.kind in (Kind.CACHE, Kind.STATE) or (part.kind is Kind.WEIGHTS and not part.label.startswith("output"))
