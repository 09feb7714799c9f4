"""Who may import whom: the contracts of pyproject.toml hold."""

import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]


def test_imports_point_down_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache", "--no-logo"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken." in done.stdout


def test_no_module_comes_back_to_itself() -> None:
    """A package and what is in it count as modules of their own here; imports inside functions and those for types alone count too.

    An import inside a function only hides a circle, and a name that is needed for types alone ties two files together for their readers as much
    as any other. What two files need of one another belongs in a third one below both.
    """
    graph = grimp.build_graph("runlocal", cache_dir=None)
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()  # CycleError names the circle
