"""What one answer costs beside a bare `python -c pass`: processor time, and instructions where valgrind is installed.

Runs are taken in pairs, bare and asked in turn, so that a busy machine slows both; the median of the ratios counts. Nothing is asserted.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BARE = [sys.executable, "-c", "pass"]
RUNLOCAL = [sys.executable, "-m", "runlocal"]
QUANTS = "F16,Q8_0,Q6_K,Q5_K_M,Q5_K_S,Q5_1,Q5_0,Q4_K_M,Q4_K_S,Q4_1,Q4_0,IQ4_NL,IQ4_XS,Q3_K_L,Q3_K_M,Q3_K_S,IQ3_M,Q2_K,IQ2_M,IQ2_XXS"
CONTEXTS = "2k,4k,8k,16k,32k,64k,96k,128k"
ASKED = {
    "one model, JSON": [*RUNLOCAL, "check", "llama-3.1-8b", "--gpu", "4090", "--json"],
    "Llama 3.2 90B Vision, JSON": [*RUNLOCAL, "check", "llama-3.2-90b-vision", "--gpu", "H100 80GB", "--json"],
    "20 quantizations x 8 contexts, table": [*RUNLOCAL, "check", "llama-3.1-8b", "--gpu", "4090", "-q", QUANTS, "-c", CONTEXTS],
}
NEIGHBOURS = {
    "llmfit, one model": ["llmfit", "--memory", "24G", "info", "Llama-3.1-8B-Instruct"],
    "llmfit, every model": ["llmfit", "--memory", "24G", "fit"],
    "whichllm, this machine": ["whichllm", "hardware"],
}


class Cost(NamedTuple):
    """What a command took.

    seconds: of the processor, user and system, children included
    exit: its exit code
    """

    seconds: float
    exit: int


def cost(command: list[str]) -> Cost:
    """Runs the command to the end, its output thrown away."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, process.returncode)


def instructions(command: list[str]) -> int | None:
    """Instructions of the command's own process, None where valgrind did not count them."""
    counted = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command], capture_output=True, text=True, errors="replace", env=_environment()
    )
    found = re.search(r"Collected\s*:\s*(\d+)", counted.stderr)
    return int(found[1]) if found else None


def _environment() -> dict[str, str]:
    """As an installed program runs: its modules compiled once."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": "0", "COLUMNS": "120"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def report(name: str, command: list[str], pairs: int, bare_instructions: int | None) -> str:
    """A line: the ratios to the bare run."""
    cost(command)  # compiles what it imports, where nothing has yet
    runs = [(cost(BARE), cost(command)) for _ in range(pairs)]
    ratio = median(asked.seconds / bare.seconds for bare, asked in runs)
    milliseconds = 1000 * median(asked.seconds for _, asked in runs)
    counted = instructions(command) if bare_instructions else None
    text = f"{counted / bare_instructions:.1f} x" if counted and bare_instructions else "-"
    last = runs[-1][1].exit
    return f"{name:<38} {ratio:>6.1f} x {milliseconds:>8.0f} ms {text:>10}" + (f"   (exit {last})" if last > 1 else "")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="What one answer costs beside a bare python.")
    parser.add_argument("--pairs", type=int, default=15, help="runs of each kind, taken in turn (default 15)")
    parser.add_argument("--no-instructions", action="store_true", help="leave valgrind out")
    options = parser.parse_args()
    counts = not options.no_instructions and shutil.which("valgrind") is not None
    bare = instructions(BARE) if counts else None
    for command in ASKED.values():
        cost(command)  # compiles the modules and the data of a checkout first
    print(
        f"{options.pairs} pairs; bare python: {1000 * median(cost(BARE).seconds for _ in range(options.pairs)):.0f} ms of processor time"
        + (f", {bare / 1e6:.1f} M instructions" if bare else "")
    )
    if not counts:
        print("valgrind is not installed, or was left out: no instructions")
    print(f"{'':<38} {'time':>8} {'time':>11} {'instr.':>10}")
    for name, command in ASKED.items():
        print(report(name, command, options.pairs, bare), flush=True)
    for name, command in NEIGHBOURS.items():
        if shutil.which(command[0]) is None:
            print(f"{name:<38} {command[0]} is not installed")
        else:
            print(report(name, command, max(3, options.pairs // 5), bare), flush=True)


if __name__ == "__main__":
    main()
