"""`runlocal fit`: what a shell sees."""

import csv
import io
import json

import pytest

from runlocal.catalog.machines import parse_machine
from runlocal.solve.tables import rows

from .conftest import Runner

ASKED = ("fit", "--vram", "8GB", "--family", "gemma 3")
TABLE = """\
4 of 5 models run on 8 GiB with a context of 8k

id              size  quant    needs  up to  comm.  released
gemma-3-4b     4.3 B  Q8_0   5.5 GiB    74k  terms  2025-03-12
gemma-3-1b     1.0 B  F16    2.3 GiB    32k  terms  2025-03-12
gemma-3-270m   268 M  F16    0.9 GiB    32k  terms  2025-08-14
gemma-3-12b   12.2 B  Q2_K   6.8 GiB     9k  terms  2025-03-12

Each at the finest quantization that fits, the largest model first; what fits
below 4 bits per weight alone stands last.
comm.: commercial use by the licence; terms: under conditions, which `runlocal
show ID` has; ?: nobody here has read it.
"""


@pytest.fixture(autouse=True, scope="module")
def _tables() -> None:
    """A checkout makes them once, which takes longer than a process is given here."""
    rows(parse_machine("4090"), print, vision=True)


def test_the_table(run: Runner) -> None:
    ran = run(*ASKED)
    assert (ran.code, ran.out, ran.err) == (0, TABLE, "")


def test_the_json(run: Runner) -> None:
    ran = run(*ASKED, "--json")
    found = ran.answer
    assert ran.code == 0
    assert list(found) == [
        "schema", "data", "machine", "origin", "gpu_count", "usable_bytes", "host_memory_bytes", "context_tokens", "sequences", "models_asked", "models_fit",
        "models", "notes",
    ]  # fmt: skip
    assert (found["schema"], found["models_asked"], found["models_fit"], found["usable_bytes"]) == ("runlocal.fit/1", 5, 4, 8 << 30)
    assert [row["id"] for row in found["models"]] == ["gemma-3-4b", "gemma-3-1b", "gemma-3-270m", "gemma-3-12b"]
    assert list(found["models"][0]) == [
        "id", "name", "family", "vendor", "variant", "released", "modalities", "license", "commercial", "commercial_use", "parameters", "active_parameters",
        "quant",
        "bits_per_weight", "tensor_bytes", "runtime", "runtime_version", "context_tokens", "answer", "need_bytes", "host_need_bytes", "fits_context_tokens",
        "context_longest_tokens", "tokens_per_second_least", "tokens_per_second_most",
        "tokens_per_second_basis",
    ]  # fmt: skip
    assert found["models"][0]["tokens_per_second_least"] is None  # a budget has no bandwidth


def test_other_formats_have_every_model(run: Runner) -> None:
    lines = list(csv.DictReader(io.StringIO(run("fit", "-g", "4090", "-f", "csv").out)))
    assert len(lines) > 300
    assert lines[0]["modalities"].split("; ")[0] == "text"
    ndjson = run("fit", "-g", "4090", "-f", "ndjson").out.splitlines()
    assert [json.loads(line)["id"] for line in ndjson] == [line["id"] for line in lines]
    assert run("fit", "-g", "4090", "--all", "-f", "markdown").out.count("\n| ") == len(lines) + 1
    assert run("fit", "-g", "4090").out.count("-") > 25


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--vram", "8GB", "--quiet"), 0),
        (("deepseek-r1-671b", "--vram", "8GB", "--quiet"), 1),
        (("--family", "nobody's"), 2),
        (("--min-speed", "fast"), 2),
        (("-g", "no such card"), 3),
        (("-g", "4090", "-q", "Q9"), 3),
        (("--require-gpu",), 3),
    ],
)
def test_exit_codes(run: Runner, arguments: tuple[str, ...], code: int) -> None:
    ran = run("fit", *arguments)
    assert ran.code == code
    assert not ran.out


def test_without_a_gpu_it_says_so_and_judges_the_computer(run: Runner) -> None:
    ran = run("fit", "--ram", "4GB", "smollm2")
    assert ran.code == 0
    assert "No GPU was found." in ran.err
    assert "smollm2-360m" in ran.out


def test_what_takes_seconds_says_so(run: Runner) -> None:
    """Several cards are laid out one model at a time."""
    ran = run("fit", "llama", "-g", "2x3090")
    assert (ran.code, ran.err) == (0, "")
    ran = run("fit", "--family", "gemma-3", "-k", "q8_0", "-g", "4090", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert "takes some seconds" in run("fit", "--variant", "instruct", "-k", "q8_0", "-g", "3060-12gb", "--commercial").err


def test_a_narrow_terminal_leaves_columns_out_before_it_gives_up_the_table(run: Runner) -> None:
    lines = run(*ASKED, COLUMNS="40").out.splitlines()
    assert lines[3:5] == ["id              size  quant  up to", "gemma-3-4b     4.3 B  Q8_0     74k"]
    assert max(map(len, lines)) <= 40
    (start,) = (number for number, line in enumerate(lines) if line.startswith("Left out for want of width:"))
    assert " ".join(lines[start : start + 2]) == "Left out for want of width: needs, comm., released."
