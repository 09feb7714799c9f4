"""What a command comes to."""

from collections.abc import Callable, Iterable

from runlocal.core.errors import Exit
from runlocal.core.noun import NamedTuple


class Outcome(NamedTuple):
    """What a command comes to. Nothing is written before it is whole, except the lines of a stream.

    texts: for stdout
    exit: the exit code, asked for once all texts are written
    hints: for stderr
    """

    texts: Iterable[str]
    exit: Callable[[], Exit] = lambda: Exit.YES
    hints: tuple[str, ...] = ()
