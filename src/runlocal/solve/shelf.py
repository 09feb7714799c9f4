"""Which cards of the catalogue would hold a cell."""

from collections.abc import Callable, Iterable
from functools import cache

from runlocal.catalog.gpu_entries import GpuEntry, price_text
from runlocal.catalog.gpus import cards, common_sizes
from runlocal.core.machine import Backend, Machine, Origin
from runlocal.core.report import Shelf
from runlocal.core.verdict import Answer
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.cell import answer_of

_YES = (Answer.FITS, Answer.TIGHT)
OF_A_KIND = (1, 2, 4, 8)  # how many of a card people put into one computer


def shelf(runtime: Runtime, recipe: Recipe, workload: Workload, reserve_bytes: int | None) -> Shelf:
    """Common sizes, the smallest single card and the cheapest pair that would do, with what they cost."""

    def does(entry: GpuEntry, count: int) -> bool:
        return _holds(runtime, recipe, workload, reserve_bytes, entry, count)

    single = _single_cards()
    largest = answer_of(runtime, recipe, workload, of_a_kind(common_sizes()[-1].gpu, 1), reserve_bytes)
    return Shelf(
        sizes=tuple((size.size_gb, size.gpu.usable_bytes, does(size.gpu, 1)) for size in common_sizes()),
        smallest_card=_first(sorted(single, key=lambda entry: (entry.usable_bytes, _usd(entry))), does, 1),
        cheapest_pair=_first(sorted((entry for entry in single if entry.price), key=_usd), does, 2),
        need_bytes=sum(largest.laid.load.gpus) if largest.laid else None,
    )


def smallest_machine(runtime: Runtime, recipe: Recipe, workload: Workload, reserve_bytes: int | None) -> str | None:
    """The smallest card that holds the cell, else the smallest two, four or eight of a kind; None where none does. Of equals the cheaper."""
    least = runtime.tensor_bytes(recipe)
    for count in OF_A_KIND:
        enough = [entry for entry in _single_cards() if entry.usable_bytes * count > least and (count == 1 or entry.form != "desktop")]
        for entry in sorted(enough, key=lambda entry: (entry.usable_bytes, _usd(entry))):
            if _holds(runtime, recipe, workload, reserve_bytes, entry, count):
                return entry.name if count == 1 else f"{count} x {entry.name}"
    return None


def _holds(runtime: Runtime, recipe: Recipe, workload: Workload, reserve_bytes: int | None, entry: GpuEntry, count: int) -> bool:
    return answer_of(runtime, recipe, workload, of_a_kind(entry, count), reserve_bytes).answer in _YES


def of_a_kind(entry: GpuEntry, count: int) -> Machine:
    """The machine of so many boards."""
    label = entry.name if count == 1 else f"{count} × {entry.name}"
    return Machine(origin=Origin.NAMED, label=label, gpus=tuple(entry.gpu(index) for index in range(count * entry.devices)))


@cache
def _single_cards() -> tuple[GpuEntry, ...]:
    """NVIDIA cards with memory of their own that are sold and go into a computer one by one."""
    return tuple(entry for entry in cards() if entry.backend is Backend.CUDA and entry.sold and entry.several and entry.devices == 1)


def _usd(entry: GpuEntry) -> float:
    return entry.price.usd if entry.price else float("inf")


def _first(entries: Iterable[GpuEntry], does: Callable[[GpuEntry, int], bool], count: int) -> str | None:
    found = next((entry for entry in entries if does(entry, count)), None)
    if found is None or found.price is None:
        return found and found.name
    return f"{found.name} ({price_text([(found.price, count)])})"
