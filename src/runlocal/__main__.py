"""`python -m runlocal` and the console script."""

import gc
import os
from typing import NoReturn

# One short process: collecting its garbage costs more than all of it.
gc.disable()

from runlocal import cli  # noqa: E402


def main() -> NoReturn:
    """Ends the process where the answer is written: taking the interpreter apart would cost as much as a bare one takes in all."""
    try:
        cli.main()
    except SystemExit as done:
        os._exit(int(done.code or 0))


if __name__ == "__main__":
    main()
