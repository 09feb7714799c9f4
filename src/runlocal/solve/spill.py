"""What goes to host memory where the GPUs are too small: what costs the least time per token.

Of experts a token reads those that were chosen for it; of anything else on the host it reads every byte. So experts go first, those of as few layers
as will do. Where that is not enough or there are none, whole layers go, or the cache alone where that is less.
"""

from collections.abc import Callable, Sequence

from runlocal.core.machine import Machine
from runlocal.core.part import HOST
from runlocal.core.verdict import slack
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.split import Laid, fill_up, go_in, lay, lay_best, lay_by_rooms, rooms_of


def best_spill(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, left_free: Sequence[int]) -> tuple[int, Laid | None]:
    """Layers on the GPUs, the output layer counted as one; and what lies where then, None where host memory may take nothing or is too small.

    left_free: bytes to leave free on each GPU, where that can be done at all
    """
    kept = Spill(runtime, recipe, workload, machine, left_free)
    if machine.host_bytes is not None:
        found = kept.best() or (Spill(runtime, recipe, workload, machine, (0,) * len(left_free)).best() if any(left_free) else None)
        if found is not None:
            return found.placement.gpu_layers, found
    return kept.most_in_view(), None


class Spill:
    """A workload that the GPUs are too small for, where host memory may take the rest.

    left_free: bytes that stay free on each GPU
    """

    def __init__(self, runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, left_free: Sequence[int]) -> None:
        self._runtime, self._recipe, self._workload, self._machine, self._left_free = runtime, recipe, workload, machine, tuple(left_free)

    def most_in_view(self) -> int:
        """Layers that the GPUs take, the output layer counted as one, whatever becomes of the rest; nothing is left free."""
        start = self._one_layer(self._workload)
        return fill_up(self._layer_bytes(start), rooms_of(start, self._machine, self._layer_bytes(start)))

    def best(self) -> Laid | None:
        """What lies where at the least time per token; None where it does not fit."""
        experts = self._experts_moved()
        if experts is not None and (found := self._fewest_experts(experts)):
            return found
        workload = experts or self._workload
        layers = self._most_layers(workload)
        return self._cache_moved(workload, layers) or layers

    def _experts_moved(self) -> Workload | None:
        """The workload with every expert on the host; None where there are none, the runtime cannot, or somebody said how many."""
        moved = self._workload._replace(cpu_moe=True)
        if self._workload.cpu_moe or self._workload.n_cpu_moe or self._runtime.refuses(self._recipe, moved, self._machine):
            return None
        return moved if self._runtime.placement(moved, self._machine).host_experts else None

    def _fewest_experts(self, moved: Workload) -> Laid | None:
        """All layers on the GPUs but the experts of the first few, as few as will do. moved: all of them on the host."""
        start = lay(self._runtime, self._recipe, moved, self._machine)
        without, layers = self._layer_bytes(start), len(start.placement.layers)
        whole = self._layer_bytes(start._replace(placement=start.placement._replace(host_experts=0)))

        def enough(rooms: Sequence[int]) -> int | None:
            return next((count for count in range(layers + 1) if go_in((*without[:count], *whole[count:]), rooms)), None)

        def asked(count: int) -> Workload:
            return self._workload._replace(n_cpu_moe=count) if count < layers else moved

        return self._settle(start, enough, asked, range(layers, -1, -1))

    def _most_layers(self, workload: Workload) -> Laid | None:
        """As many layers on the GPUs as fit, where host memory takes the rest."""
        start = self._one_layer(workload)
        sizes = self._layer_bytes(start)
        return self._settle(
            start, lambda rooms: min(fill_up(sizes, rooms), len(sizes) - 1), lambda count: workload._replace(gpu_layers=count), range(len(sizes))
        )

    def _settle(self, start: Laid, guess: Callable[[Sequence[int]], int | None], asked: Callable[[int], Workload], numbers: range) -> Laid | None:
        """The workload of the best number that fits; None where none does.

        Buffers follow what lies where, so each number is guessed from the room that they left when the last one was laid out, until that is old news.

        start: the room to begin with
        guess: the number that bytes of room for layers on each GPU suggest
        numbers: all there are, the worst first
        """
        best: Laid | None = None
        best_rank, ranks, tried, laid = -1, [], set(), start
        while (number := guess(rooms := self._rooms(laid))) is not None:
            laid = lay_by_rooms(self._runtime, self._recipe, asked(number), self._machine, rooms)
            if laid.placement in tried:
                break
            tried.add(laid.placement)
            ranks.append(numbers.index(number))
            if ranks[-1] > best_rank and self._holds(laid):
                best, best_rank = laid, ranks[-1]
        if best is not None or not ranks:
            return best
        for number in reversed(numbers[: min(ranks)]):
            laid = lay_by_rooms(self._runtime, self._recipe, asked(number), self._machine, self._rooms(laid))
            if self._holds(laid):
                return laid
            if laid.load.host > (self._machine.host_bytes or 0) or self._overfull(laid):
                break
        return None

    def _cache_moved(self, workload: Workload, layers: Laid | None) -> Laid | None:
        """Every layer on the GPUs and the cache on the host; None where that does not fit, or moves no less than `layers` does."""
        moved = workload._replace(kv_offload=False)
        if not workload.kv_offload or self._runtime.refuses(self._recipe, moved, self._machine):
            return None
        if layers is not None:
            sizes, places = self._layer_bytes(layers), (*layers.placement.layers, layers.placement.output)
            cacheless = self._layer_bytes(layers._replace(placement=layers.placement._replace(cache_on_host=True)))
            if sum(sizes) - sum(cacheless) >= sum(size for device, size in zip(places, sizes, strict=True) if device == HOST):
                return None
        laid = lay_best(self._runtime, self._recipe, moved, self._machine, self._left_free)
        return laid if self._holds(laid) else None

    def _one_layer(self, workload: Workload) -> Laid:
        """One layer on the GPUs, beside buffers of the size that a GPU with everything has."""
        return lay(self._runtime, self._recipe, workload._replace(gpu_layers=1), self._machine, rough=True)

    def _layer_bytes(self, laid: Laid) -> tuple[int, ...]:
        return self._runtime.layer_bytes(self._recipe, laid.workload, laid.placement)

    def _rooms(self, laid: Laid) -> list[int]:
        rooms = rooms_of(laid, self._machine, self._layer_bytes(laid))
        return [room - free for room, free in zip(rooms, self._left_free, strict=True)]

    def _overfull(self, laid: Laid) -> bool:
        """Whether a GPU that holds no layer is too full all the same, so that no number of layers would do."""
        held = {device for device, _, _ in laid.placement.ranges} | {laid.placement.output}
        rooms = zip(laid.placement.devices(), self._rooms(laid), strict=True)
        return any(room < 0 and device not in held for device, room in rooms)

    def _holds(self, laid: Laid) -> bool:
        return slack(laid.load, self._machine, self._left_free) >= 0
