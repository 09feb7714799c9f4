"""How many layers go on the GPUs, and how they are shared out."""


from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
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


def most_layers(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, full: Laid) -> Laid | None:
    """As many layers on the GPUs as fit, where `full` does not; None where not even none do (buffers of their own are too large).

    What is left of the fullest GPU falls almost evenly from layer to layer, so a straight line between two tries finds the place.
    """
    fewest, most = _with_layers(runtime, recipe, workload, machine, 0), len(full.placement.layers) + 1
    left, short = _least_left(fewest, machine), _least_left(full, machine)
    if left < 0:
        return None
    found, least = fewest, 0
    while most - least > 1:
        middle = min(max(least + int((most - least) * left / max(1, left - short)), least + 1), most - 1)
        tried = _with_layers(runtime, recipe, workload, machine, middle)
        if (free := _least_left(tried, machine)) >= 0:
            found, least, left = tried, middle, free
        else:
            most, short = middle, free
    return found


def _with_layers(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, layers: int) -> Laid:
    asked = workload._replace(gpu_layers=layers)
    placement = runtime.placement(asked, machine)
    return Laid(placement, runtime.parts(recipe, asked, placement, machine))


def _least_left(laid: Laid, machine: Machine) -> int:
    return min(headroom(laid.parts, machine))


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
        if _least_left(candidate, machine) > _least_left(best, machine):
            best = candidate
    return best


def _follows_layers(part: Part) -> bool:
    return part.kind in (Kind.CACHE, Kind.STATE) or (part.kind is Kind.WEIGHTS and not part.label.startswith("output"))
