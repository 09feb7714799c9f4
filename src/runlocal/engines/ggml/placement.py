"""Which layer goes on which device (llama.cpp's layer split, `llama_model_base::load_tensors`)."""

from bisect import bisect_left, bisect_right
from functools import lru_cache
from struct import pack, unpack

from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, gpu


class Placement(NamedTuple):
    """Devices of the layers.

    layers: device of each stored layer
    output: device of the output matrix and final norm
    host_experts: expert matrices of the first so many layers stay on the host although their layer does not
    gpus: how many GPUs there are
    cache_on_host: no layer's cache goes to a GPU
    ranges: (device, first layer, layer behind the last) of each device that holds layers
    """

    layers: tuple[str, ...]
    output: str
    host_experts: int
    gpus: int
    cache_on_host: bool
    ranges: tuple[tuple[str, int, int], ...]

    @property
    def gpu_layers(self) -> int:
        """Layers on GPUs, the output layer counted as one (llama.cpp's `-ngl`)."""
        return len(self.layers) + 1 - self.layers.count(HOST) - (self.output == HOST)

    @property
    def all_on_gpus(self) -> bool:
        return HOST not in self.layers and self.output != HOST

    @property
    def nothing_on_host(self) -> bool:
        """Layers, experts and caches are all on GPUs."""
        return self.all_on_gpus and not self.host_experts and not self.cache_on_host

    @property
    def pipelined(self) -> bool:
        """Several GPUs hold all layers and caches: inputs are copied so that steps overlap (`llama_context`, pipeline parallelism)."""
        return self.gpus > 1 and self.nothing_on_host

    def spread(self, layers: tuple[int, ...]) -> dict[str, int]:
        """How many of `layers`, which are in order, each device holds."""
        found = {}
        for device, start, end in self.ranges:
            if count := bisect_left(layers, end) - bisect_left(layers, start):
                found[device] = count
        return found

    def devices(self) -> tuple[str, ...]:
        """GPUs in order."""
        return tuple(gpu(index) for index in range(self.gpus))


@lru_cache(maxsize=1024)
def place(stored_layers: int, gpu_layers: int | None, shares: tuple[float, ...], *, host_experts: int = 0, cache_on_host: bool = False) -> Placement:
    """Layers from the last to the first go to the GPUs, the output layer before any other.

    gpu_layers: how many, the output layer counted as one; None or more than there are: all
    shares: relative share of each GPU; empty: everything stays on the host
    host_experts: as in `Placement`
    """
    total = stored_layers + 1
    on_gpus = 0 if not shares else total if gpu_layers is None else min(gpu_layers, total)
    start = total - on_gpus
    bounds = _bounds(shares)

    def device(index: int) -> str:
        if index < start:
            return HOST
        return gpu(min(bisect_right(bounds, _single((index - start) / on_gpus)), len(bounds) - 1))

    if len(bounds) == 1:
        layers = (HOST,) * min(start, stored_layers) + (gpu(0),) * (stored_layers - start)
    else:
        layers = tuple(device(index) for index in range(stored_layers))
    return Placement(
        layers=layers,
        output=device(stored_layers),
        host_experts=min(host_experts, stored_layers),
        gpus=len(shares),
        cache_on_host=cache_on_host,
        ranges=tuple((name, layers.index(name), layers.index(name) + layers.count(name)) for name in dict.fromkeys(layers)),
    )


def _bounds(shares: tuple[float, ...]) -> list[float]:
    """Where each GPU's part of the layers ends, in single precision as the loader has it: a bound may fall on a layer, and then its last digit decides."""
    sums: list[float] = []
    for share in shares:
        sums.append(_single((sums[-1] if sums else 0.0) + _single(share)))
    return [_single(part / sums[-1]) for part in sums]


def _single(value: float) -> float:
    rounded: float = unpack("f", pack("f", value))[0]
    return rounded
