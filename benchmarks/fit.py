"""What `runlocal fit` costs: every bundled model on one machine, start-up included, as the wall shows it. Nothing is asserted."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
RUNLOCAL = [sys.executable, "-m", "runlocal", "fit"]
ASKED = {
    "RTX 4090": ["--gpu", "4090"],
    "RTX 4090, JSON of every model": ["--gpu", "4090", "--json"],
    "M4 Max 64 GB": ["--gpu", "m4-max-64"],
    "RX 7900 XTX": ["--gpu", "rx-7900-xtx"],
    "8 GB, 32k": ["--vram", "8GB", "-c", "32k"],
    "no GPU, 64 GB": ["--gpu", "cpu", "--ram", "64GB"],
    "from the engine: 2 x RTX 3090": ["--gpu", "2x3090"],
    "from the engine: RTX 4090, --kv q8_0": ["--gpu", "4090", "--kv", "q8_0"],
}


def seconds(arguments: list[str], **changed: str) -> float:
    """Wall time of one run, its output thrown away."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | changed
    start = time.perf_counter()
    subprocess.run([*RUNLOCAL, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return time.perf_counter() - start


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="What `runlocal fit` costs.")
    parser.add_argument("--runs", type=int, default=7, help="runs of each question (default 7)")
    parser.add_argument("--no-table", action="store_true", help="leave out what making the table of a checkout costs")
    options = parser.parse_args()
    seconds(ASKED["RTX 4090"])  # compiles the modules and makes the table first
    print(f"{'':<40} {'median':>9} {'least':>9}")
    for name, arguments in ASKED.items():
        runs = [seconds(arguments) for _ in range(options.runs)]
        print(f"{name:<40} {median(runs):>7.2f} s {min(runs):>7.2f} s", flush=True)
    if not options.no_table:
        with tempfile.TemporaryDirectory(prefix="runlocal-fit-") as folder:
            print(f"{'the table of a checkout, made anew':<40} {seconds(ASKED['RTX 4090'], XDG_CACHE_HOME=folder):>7.2f} s", flush=True)


if __name__ == "__main__":
    main()
