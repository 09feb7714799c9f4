"""Parts summed per device: all that the judge looks at."""

from collections.abc import Iterable
from operator import add

from runlocal.core.noun import NamedTuple
from runlocal.core.part import DRAFT, HOST, Kind, Part, gpu


class Load(NamedTuple):
    """What some parts take together.

    gpus, host: bytes on each GPU, and on the host
    gpu_margins, host_margin: how much more, in bytes, at the unsafe end of what is estimated
    fixed: bytes on each GPU that do not follow the layers it holds
    """

    gpus: tuple[int, ...]
    host: int
    gpu_margins: tuple[int, ...]
    host_margin: int
    fixed: tuple[int, ...]

    def plus(self, other: "Load") -> "Load":
        """Both together."""
        return Load(
            tuple(map(add, self.gpus, other.gpus)),
            self.host + other.host,
            tuple(map(add, self.gpu_margins, other.gpu_margins)),
            self.host_margin + other.host_margin,
            tuple(map(add, self.fixed, other.fixed)),
        )


def load_of(parts: Iterable[Part], gpus: int) -> Load:
    """The sums over `parts` on a machine of so many GPUs."""
    return summed(((part.device, part.bytes, part.margin_bytes, _follows_layers(part)) for part in parts), gpus)


def summed(sizes: Iterable[tuple[str, int, int, bool]], gpus: int) -> Load:
    """The sums over (device, bytes, margin in bytes, whether it follows the layers) on a machine of so many GPUs."""
    places = {HOST: gpus, **{gpu(index): index for index in range(gpus)}}
    taken, margins, fixed = ([0] * (gpus + 1) for _ in range(3))
    for device, size, margin, follows_layers in sizes:
        place = places[device]
        taken[place] += size
        margins[place] += margin
        if not follows_layers:
            fixed[place] += size
    return Load(tuple(taken[:gpus]), taken[gpus], tuple(margins[:gpus]), margins[gpus], tuple(fixed[:gpus]))


def _follows_layers(part: Part) -> bool:
    return part.kind in (Kind.CACHE, Kind.STATE) or (part.kind is Kind.WEIGHTS and not part.label.removeprefix(DRAFT).startswith("output"))
