"""How fast tokens come."""

from runlocal.core.noun import NamedTuple
from runlocal.core.part import Basis

HOST_CACHE = "host cache"
"""Where what is cached on the host stands apart from what else a token reads there: attention on a processor computes more than it reads."""

_WHOLE_FROM = 10  # tokens per second from which on nobody asks for tenths
_TENTHS_FROM = 1


class Speed(NamedTuple):
    """Tokens per second of one sequence whose context is full. Always an estimate.

    least, most: the range
    because: how it comes about, with its numbers
    sources: addresses of the measured runs behind the range
    """

    least: float
    most: float
    because: str
    basis: Basis = Basis.ESTIMATED
    sources: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The range without its unit: `38-54`, `4.7-11`."""
        return "-".join(rate_text(rate) for rate in (self.least, self.most))

    @property
    def rounded(self) -> tuple[float, float]:
        """(least, most) as machine formats have them: tenths, below one thousandths."""
        least, most = (round(rate, 1 if rate >= _TENTHS_FROM else 3) for rate in (self.least, self.most))
        return least, most


def rate_text(rate: float) -> str:
    """Tokens per second without the unit: `38`, `4.7`, `0.04`."""
    return f"{rate:.0f}" if round(rate, 1) >= _WHOLE_FROM else f"{rate:.1f}" if rate >= _TENTHS_FROM else f"{rate:.1g}"
