"""How many layers go on the GPUs, and how they are shared out."""

from collections.abc import Sequence

from runlocal.core.load import Load
from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.verdict import headroom, slack
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.search import last_that_fits

_SPLIT_ATTEMPTS = 4


class Laid(NamedTuple):
    """A workload on a placement, and what it takes."""

    workload: Workload
    placement: Placement
    load: Load


def lay(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, *, rough: bool = False) -> Laid:
    """The workload as the runtime places it."""
    placement = runtime.placement(workload, machine)
    return Laid(workload, placement, runtime.load(recipe, workload, placement, machine, rough=rough))


def lay_best(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, left_free: Sequence[int]) -> Laid:
    """As the runtime places it; where that leaves a GPU less than its reserve, shared out so that the fullest has most left."""
    laid = lay(runtime, recipe, workload, machine)
    if len(machine.gpus) > 1 and slack(laid.load, machine, left_free) < 0:
        return _best_split(runtime, recipe, workload, machine, laid)
    return laid


def most_layers(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, full: Laid) -> int | None:
    """As many layers on the GPUs as fit, where `full` does not; None where not even none do (buffers of their own are too large).

    The search takes the rough size of the compute buffer; `with_layers` says what it takes exactly.
    """

    def left(layers: int) -> int:
        return _least_left(with_layers(runtime, recipe, workload, machine, layers, rough=True), machine)

    total = len(full.placement.layers) + 1
    if (with_all := _least_left(full, machine)) >= 0:
        return total  # it is host memory that is short
    if (without := left(0)) < 0:
        return None
    return last_that_fits(0, total, left, without, with_all)


def with_layers(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, layers: int, *, rough: bool = False) -> Laid:
    """That many layers on the GPUs, the output layer counted as one."""
    return lay(runtime, recipe, workload._replace(gpu_layers=layers), machine, rough=rough)


def with_experts_on_host(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine) -> Laid | None:
    """Every layer on the GPUs but the experts; None where the model has none or the runtime cannot."""
    moved = workload._replace(cpu_moe=True)
    if workload.cpu_moe or runtime.refuses(recipe, moved, machine) or not runtime.placement(moved, machine).host_experts:
        return None
    return lay(runtime, recipe, moved, machine)


def _least_left(laid: Laid, machine: Machine) -> int:
    """What the fullest GPU has left, taking what is estimated at the unsafe end of its range."""
    return min(free - margin for free, margin in zip(headroom(laid.load, machine), laid.load.gpu_margins, strict=True))


def _best_split(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, laid: Laid) -> Laid:
    """Another share-out of the layers where the runtime's own overfills a GPU: each GPU gets layers by what its buffers leave of it."""
    best = laid
    shares = [float(device.usable_bytes) for device in machine.gpus]
    for _ in range(_SPLIT_ATTEMPTS):
        adjusted = [max(1.0, device.usable_bytes - taken) for device, taken in zip(machine.gpus, best.load.fixed, strict=True)]
        if adjusted == shares:
            break
        shares = adjusted
        placement = runtime.placement(workload, machine, shares)
        candidate = Laid(workload, placement, runtime.load(recipe, workload, placement, machine))
        if _least_left(candidate, machine) > _least_left(best, machine):
            best = candidate
    return best
