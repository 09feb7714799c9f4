"""Every bundled model on forty machines, the whole grid of each, in one process: how long it takes. Nothing is asserted."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from runlocal.catalog.models import find_model, index
from runlocal.commands import check, machines
from runlocal.commands.options import Options
from runlocal.core.errors import Problem
from runlocal.core.workload import Workload
from runlocal.solve.asked import Asked
from runlocal.solve.cell import answer_of, reserves
from runlocal.solve.grid import contexts
from runlocal.solve.longest import longest_context
from runlocal.solve.opening import open_for

MACHINES = tuple(
    "rtx-3050-8gb rtx-4060 rtx-3060-12gb rtx-5060-ti-16gb rtx-4060-ti-16gb rtx-4080 rtx-3090 rtx-4090 rtx-5090 rtx-a6000 rtx-6000-ada l4 l40s a10 a30 "
    "a100-40gb-pcie a100-80gb-sxm h100-80gb-sxm h200-sxm rtx-pro-6000 mi210 mi300x dgx-spark m4-max-64 m4-max-128 "
    "2xrtx-3060-12gb 2xrtx-3090 2xrtx-4090 2xrtx-5090 4xrtx-3090 4xrtx-4090 2xrtx-a6000 4xl40s 2xa100-80gb-sxm 4xa100-80gb-sxm 2xh100-80gb-sxm 4xh100-80gb-sxm "
    "8xh100-80gb-sxm 8xh200-sxm rtx-5090+rtx-3090".split()
)


def full(name: str) -> Iterator[str]:
    """The answer of every cell of `check`."""
    found = check.run([name], Options(gpu=MACHINES))
    return (cell.answer or "unlimited" for one in found.checks for machine in one.machines for cell in machine.cells)


def scan(name: str) -> Iterator[str]:
    """The same answers, and the longest context of each row, without parts."""
    runtime, free = open_for(find_model(name), None, None), Workload(0)
    workloads = [free._replace(context_tokens=tokens) for tokens in contexts(runtime, Asked(free))]
    recipes = [runtime.recipe(quant, None) for quant in runtime.usual_quants()]
    for found in machines.machines(Options(gpu=MACHINES)):
        for recipe in recipes:
            judged = [answer_of(runtime, recipe, workload, found.machine, None) for workload in workloads]
            longest_context(runtime, recipe, free, found.machine, reserves(runtime, free, found.machine, None))
            yield from (one.answer or "unlimited" for one in judged)


def main() -> None:
    """Prints counts and times."""
    parser = argparse.ArgumentParser(description="Every bundled model on forty machines, the whole grid of each.")
    parser.add_argument("--models", type=int, help="only the first so many, by id")
    parser.add_argument("--model", action="append", help="only this one")
    parser.add_argument("--scan", action="store_true", help="verdicts without parts and words")
    options = parser.parse_args()
    names = options.model or sorted(index())[: options.models]
    ask = scan if options.scan else full
    answers: Counter[str] = Counter()
    slowest = (0.0, "")
    began = time.process_time()
    for name in names:
        before = time.process_time()
        try:
            answers.update(ask(name))
        except Problem as problem:
            answers[problem.code] += 1
            continue
        slowest = max(slowest, (time.process_time() - before, name))
    seconds = time.process_time() - began
    cells = answers.total()
    print(f"{len(names)} models on {len(MACHINES)} machines: {cells:,} cells in {seconds:.1f} s of processor time, {1e6 * seconds / max(1, cells):.0f} us each")
    print(f"slowest: {slowest[1]}, {slowest[0]:.2f} s")
    for answer, count in answers.most_common():
        print(f"{count:>10,}  {answer}")


if __name__ == "__main__":
    main()
