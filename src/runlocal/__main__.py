"""`python -m runlocal` and the console script."""

import gc

# One short process: collecting its garbage costs more than all of it.
gc.disable()

from runlocal.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
