"""How many layers go on the GPUs, and how they are shared out."""

from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.part import Kind, Part, gpu
from runlocal.core.verdict import headroom
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.search import last_that_fits

_SPLIT_ATTEMPTS = 4


class Laid(NamedTuple):
    """A placement and the parts it makes."""

    placement: Placement
    parts: tuple[Part, ...]


def most_layers(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, full: Laid) -> int | None:
    """As many layers on the GPUs as fit, where `full` does not; None where not even none do (buffers of their own are too large).

    The search takes the rough size of the compute buffer; `with_layers` says what it takes exactly.
    """

    def left(layers: int) -> int:
        return _least_left(with_layers(runtime, recipe, workload, machine, layers, rough=True), machine)

    if (without := left(0)) < 0:
        return None
    return last_that_fits(0, len(full.placement.layers) + 1, left, without, _least_left(full, machine))


def with_layers(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, layers: int, *, rough: bool = False) -> Laid:
    """That many layers on the GPUs, the output layer counted as one."""
    asked = workload._replace(gpu_layers=layers)
    placement = runtime.placement(asked, machine)
    return Laid(placement, runtime.parts(recipe, asked, placement, machine, rough=rough))


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
