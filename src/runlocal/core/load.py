"""Parts summed per device: all that the judge looks at."""

from collections.abc import Iterable
from operator import add

from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST, Part, gpu


class Load(NamedTuple):
    """What some parts take together.

    gpus, host: bytes on each GPU, and on the host
    gpu_margins, host_margin: how much more, in bytes, at the unsafe end of what is estimated
    """

    gpus: tuple[int, ...]
    host: int
    gpu_margins: tuple[int, ...]
    host_margin: int

    def plus(self, other: "Load") -> "Load":
        """Both together."""
        return Load(
            tuple(map(add, self.gpus, other.gpus)),
            self.host + other.host,
            tuple(map(add, self.gpu_margins, other.gpu_margins)),
            self.host_margin + other.host_margin,
        )


def load_of(parts: Iterable[Part], gpus: int) -> Load:
    """The sums over `parts` on a machine of so many GPUs."""
    return summed(((part.device, part.bytes, part.margin_bytes) for part in parts), gpus)


def summed(sizes: Iterable[tuple[str, int, int]], gpus: int) -> Load:
    """The sums over (device, bytes, margin in bytes) on a machine of so many GPUs."""
    places = {HOST: gpus, **{gpu(index): index for index in range(gpus)}}
    taken, margins = [0] * (gpus + 1), [0] * (gpus + 1)
    for device, size, margin in sizes:
        taken[places[device]] += size
        margins[places[device]] += margin
    return Load(tuple(taken[:gpus]), taken[gpus], tuple(margins[:gpus]), margins[gpus])
