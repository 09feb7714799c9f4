"""How fast tokens come, one sequence at a time: the memory's bandwidth over what a token reads, and the part of it that runtimes were seen to reach."""

from collections.abc import Mapping, Sequence

from runlocal.catalog.speed import HOST_MEMORY, Band, Measured, host_cache_least, measured, mixed_most_of_host
from runlocal.core.machine import Backend, Machine
from runlocal.core.part import HOST, gpu
from runlocal.core.speed import HOST_CACHE, Speed
from runlocal.core.units import GB
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime


def speed(runtime: Runtime, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine) -> Speed | None:
    """The speed with the layers placed so; None where it is not known."""
    found = estimate(runtime, recipe, workload, placement, machine)
    return found if isinstance(found, Speed) else None


def estimate(runtime: Runtime, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine) -> Speed | str:
    """The speed with the layers placed so, or why it is not known, in words that follow a colon."""
    read = runtime.reads(recipe, workload, placement)
    if read is not None and any(read.values()):
        return _estimate(read, machine, has_experts=runtime.model.text.experts is not None)
    if recipe.file is not None:
        return f"which tensors of {recipe.name} have which type is not known"
    if workload.mtp or workload.drafting:
        return "how many of the tokens that are guessed ahead are right is not known"
    return "the model writes no text"


def speed_of(read: Mapping[str, int] | None, machine: Machine, *, has_experts: bool) -> Speed | None:
    """The same, from the bytes that each device reads for a token."""
    found = _estimate(read, machine, has_experts=has_experts) if read and any(read.values()) else None
    return found if isinstance(found, Speed) else None


def _estimate(read: Mapping[str, int], machine: Machine, *, has_experts: bool) -> Speed | str:
    shares: list[tuple[float, Measured]] = []
    for index, card in enumerate(machine.gpus):
        if not (size := read.get(gpu(index), 0)):
            continue
        if card.bandwidth_bytes is None:
            return f"the bandwidth of GPU {index}'s memory is not known"
        runs = measured(card.backend, card.memory_type, has_experts)
        if runs is None:
            return f"no measured run was found of models {'with' if has_experts else 'without'} experts on such a GPU"
        shares.append((size / card.bandwidth_bytes, runs))
    kept, cached = read.get(HOST, 0), read.get(HOST_CACHE, 0)
    host: Measured | None = None
    if kept or cached:
        host = measured(Backend.CPU, HOST_MEMORY, has_experts)
        if machine.host_bandwidth_bytes is None or host is None:
            return "a token reads host memory, whose bandwidth is not known; --ram-bandwidth takes it"
    # The cards and the processor work one after another, each on its own layers.
    seconds = sum(taken for taken, _ in shares)
    slow, quick = _group([(taken, runs.bands) for taken, runs in shares]) if shares else (0.0, 0.0)
    if host is not None and machine.host_bandwidth_bytes is not None:
        taken = [size / machine.host_bandwidth_bytes for size in (kept, cached)]
        seconds += sum(taken)
        slow += taken[1] / host_cache_least() + (_group([(taken[0], host.bands)])[0] if kept else 0.0)
        alone = _group([(sum(taken), host.bands)])[1]
        # Beside a GPU, which does the rest, a processor reaches more of its memory's bandwidth than alone.
        quick += min(alone, sum(taken) / mixed_most_of_host()) if machine.gpus else alone
    sources = dict.fromkeys(url for runs in (*(runs for _, runs in shares), *((host,) if host else ())) for url in runs.sources)
    return Speed(1 / slow, 1 / quick, _because(read, 1 / seconds, (1 / slow, 1 / quick)), sources=tuple(sources))


def _group(shares: list[tuple[float, tuple[Band, ...]]]) -> tuple[float, float]:
    """(most, least) seconds for a token where each device of a group reads for so many seconds, one after another.

    By the rate that the group alone would allow, so that no device gets slower because one of another group is faster.
    """
    if len(shares) == 1:
        ((seconds, runs),) = shares
        low, high = _reached(runs, 1 / seconds)
        return 1 / low, 1 / high
    ceiling = 1 / sum(seconds for seconds, _ in shares)
    reached = [(seconds, _reached(runs, ceiling)) for seconds, runs in shares]
    return sum(seconds / (low / ceiling) for seconds, (low, _) in reached), sum(seconds / (high / ceiling) for seconds, (_, high) in reached)


def _reached(runs: Sequence[Band], ceiling: float) -> tuple[float, float]:
    """(least, most) tokens per second where reading alone would allow `ceiling`.

    A range never falls as the memory gets faster: what a slower one reached is possible, and what a faster one missed is not sure.
    Beyond the fastest that was measured, no more is sure than what that reached.
    """
    least, most, start = ceiling, 0.0, 0.0
    for band in runs:
        if ceiling > start:
            most = max(most, band.most * (ceiling if band is runs[-1] else min(ceiling, band.up_to)))
        if ceiling <= band.up_to or band is runs[-1]:
            least = min(least, band.least * min(max(ceiling, start), band.up_to))
        start = band.up_to
    return least, most


def _because(read: Mapping[str, int], ceiling: float, ends: tuple[float, float]) -> str:
    cached = read.get(HOST_CACHE, 0)
    host = read.get(HOST, 0) + cached
    gpus = sum(read.values()) - host
    mixed = gpus and host
    what = f"{gpus / GB:.2f} GB of GPU memory and {host / GB:.2f} GB of host memory" if mixed else f"{(gpus or host) / GB:.2f} GB"
    least, most = (f"{end / ceiling:.0%}" for end in ends)
    slow = f"; the slow end takes the {cached / GB:.2f} GB that are cached on the host at {host_cache_least():.0%} of its bandwidth" if cached else ""
    return (
        f"{what} read for a token, which the memory delivers {ceiling:.1f} times a second; measured runs on such memory reached {least} to {most} of that{slow}"
    )
