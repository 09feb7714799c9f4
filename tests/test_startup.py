"""What an answer loads: nothing that costs more than the answer."""

import json
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.solve.tables import rows

ROOT = Path(__file__).resolve().parents[1]
# Typer itself imports subprocess and its kin, so those are not listed.
HEAVY = (
    "rich",
    "pynvml",
    "tomllib",
    "importlib.metadata",
    "importlib.resources",
    "asyncio",
    "httpx",
    "tempfile",
    "runlocal.catalog.compile",
    "runlocal.probes.detect",
)
SCRIPT = """
import json, sys
from runlocal.cli import main
sys.argv = ["runlocal", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    print(json.dumps({"code": end.code, "loaded": sorted(sys.modules)}), file=sys.stderr)
"""
JSON_ANSWER = ("check", "llama-3.1-8b", "--gpu", "4090", "--json")
FIRST_TYPER_WITH_PYDANTIC = (0, 29)


@cache
def loaded(*arguments: str) -> frozenset[str]:
    """The modules a command line has loaded when it ends, the data's bundle being made already."""
    command, environment = [sys.executable, "-c", SCRIPT, *arguments], {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-m", "runlocal", "--version"], env=environment, check=True, capture_output=True)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["code"] in (0, None), done.stderr
    return frozenset(told["loaded"])


@pytest.mark.parametrize("module", HEAVY)
@pytest.mark.parametrize("arguments", [JSON_ANSWER, (*JSON_ANSWER[:-1], "--quiet"), (*JSON_ANSWER[:-1], "-f", "ndjson")], ids=["json", "quiet", "ndjson"])
def test_an_answer_loads_nothing_heavy(module: str, arguments: tuple[str, ...]) -> None:
    assert module not in loaded(*arguments)


def test_an_answer_loads_what_its_own_model_is_made_of() -> None:
    """A llama has attention and dense MLPs, and no state, no mixture of its own, no tower."""
    blocks, graph = "runlocal.architectures.blocks", "runlocal.engines.ggml.graph"
    rooms = ("runlocal.architectures.", graph, "runlocal.engines.ggml.vision", "runlocal.engines.ollama", "runlocal.runtimes.")
    assert {module for module in loaded(*JSON_ANSWER) if module.startswith(rooms)} == {
        "runlocal.architectures.llama",
        blocks,
        *(f"{blocks}.{module}" for module in ("attention", "mlp", "stack")),
        graph,
        *(f"{graph}.{module}" for module in "attention context decoder ends expand family fusion inputs layers mlp runs schedule size tensors".split()),
        "runlocal.runtimes.llama_cpp",
    }


@pytest.mark.parametrize("module", ["pynvml", "tomllib", "importlib.metadata", "asyncio"])
@pytest.mark.parametrize(
    "arguments", [("models", "qwen"), ("gpus", "4090"), ("show", "llama-3.1-8b", "--gpu", "4090")], ids=lambda arguments: str(arguments[0])
)
def test_a_look_up_loads_no_driver_and_no_toml(module: str, arguments: tuple[str, ...]) -> None:
    assert module not in loaded(*arguments)


def test_only_typer_from_its_capped_version_on_loads_pydantic() -> None:
    """Fails below the cap when our own code loads pydantic, and from the cap on when Typer no longer does."""
    installed = version("typer")
    newer = tuple(int(piece) for piece in installed.split(".")[:2]) >= FIRST_TYPER_WITH_PYDANTIC
    assert ("pydantic" in loaded(*JSON_ANSWER)) == newer, f"Typer {installed}: the cap in pyproject.toml can go" if newer else "an answer loads pydantic"


def test_the_cap_stands_where_this_file_says() -> None:
    assert f'"typer>=0.25,<{".".join(map(str, FIRST_TYPER_WITH_PYDANTIC))}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "module", ["pynvml", "tomllib", "importlib.metadata", "asyncio", "tempfile", "runlocal.engines.ggml.graph", "runlocal.architectures.llama"]
)
def test_every_model_is_judged_without_opening_one(module: str) -> None:
    rows(Machine(Origin.BUDGET, "any", (Gpu(0, None, "any", 1),)), print, vision=True)  # a checkout makes its table first
    assert module not in loaded("fit", "llama", "--gpu", "4090", "--json")
