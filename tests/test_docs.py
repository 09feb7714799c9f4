"""The documentation does not lie: what it shows of the program is made again and compared, its links lead somewhere, its figures are the program's."""

import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("tests/**/*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MIB, GIB = 1 << 20, 1 << 30


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"runlocal_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _load(ROOT / "docs" / "build.py")


@pytest.fixture(scope="module")
def shell() -> Iterator[Any]:
    with build.shell() as one:
        yield one


@pytest.mark.parametrize("file", build.FILES)
def test_what_is_made_from_the_program_is_up_to_date(file: str, shell: Any) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == build.made(file, shell), "`make docs` writes it again"


def test_a_page_that_lags_behind_is_noticed(shell: Any) -> None:
    page = "before\n<!-- session -->\n```console\n$ runlocal --version\nrunlocal 0.0.0\n```\n<!-- /session -->\nafter\n"
    assert build._SESSION.findall(page) == ["$ runlocal --version\nrunlocal 0.0.0\n"]
    again = build._session("$ runlocal --version\nrunlocal 0.0.0\n", shell)
    assert re.fullmatch(r"\$ runlocal --version\nrunlocal \d+\.\d+\.\d+, data of \d{4}-\d\d-\d\d\n", again)
    assert "0.0.0" not in again


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_and_headings_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, heading = target.partition("#")
        file = page if not name else page.parent / name
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}, target


def test_every_session_is_one_that_is_run() -> None:
    """A console block that stands under no marker would be text that nobody checks."""
    for page in PAGES:
        for marker in re.findall(r"^(.*)\n```console$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert marker == "<!-- session -->" or marker.startswith("<!-- recorded "), f"{page.name}: {marker!r} above a console block"


def test_recorded_sessions_show_what_the_program_still_prints(shell: Any) -> None:
    """They come from another machine, so only the first words of the table are the same on this one."""
    for block in re.findall(r"<!-- recorded [^\n]*\n```console\n(.*?)```", README, re.DOTALL):
        command, *shown = block.splitlines()
        words = shlex.split(command.removeprefix("$ ").partition("|")[0])
        heads = [line for line in shown if line.startswith("quant ")]
        assert len(heads) == 1
        printed = shell.answer(*words[1:], "--gpu", "4090")
        assert [line.split() for line in printed.splitlines() if line.startswith("quant ")] == [heads[0].split()]


def test_the_figures_worked_by_hand_are_the_program_s(shell: Any) -> None:
    answer = json.loads(shell.answer("check", "llama-3.2-90b-vision", "-q", "Q4_K_M", "-c", "8k", "--gpu", "H100 80GB", "--json"))
    (cell,) = answer["machines"][0]["cells"]
    parts = {part["label"]: part["bytes"] for part in cell["parts"]}
    scratch = parts["CUDA context"] + parts["cuBLAS and kernel scratch"]
    cross = parts["cross-attention cache"]
    assert parts["KV cache"] == 80 * 8192 * 2 * 8 * 128 * 2 == 5 * GIB // 2
    assert cross == 20 * 4 * 1601 * 2 * 8 * 128 * 4
    section = " ".join(README.partition("## By hand")[2].partition("## More")[0].split())
    said = [
        f"in {cell['tensor_bytes'] / GIB:.1f} GiB: {cell['bits_per_weight']:.2f} bits each",
        f"{8 * cell['tensor_bytes'] / cell['bits_per_weight'] / 1e9:.1f} billion values",
        f"the embedding ({parts['token embedding'] / GIB:.1f} GiB, host memory)",
        f"F32: {(parts['vision tower'] + parts['projector']) / GIB:.2f} GiB",
        "= 2.5 GiB exactly",
        f"{round(15e9 / (parts['KV cache'] / 8192), -3):,.0f} tokens",
        f"{cross / 2 / MIB:.0f} MiB in bf16",
        f"{cross / GIB:.1f} GiB, for one image",
        f"{parts['image graph'] / GIB:.1f} and {parts['compute buffer'] / GIB:.1f} GiB, estimated",
        f"{scratch / GIB:.1f} GiB, estimated for an H100",
        f"The sum on the GPU is {cell['need_bytes'] / GIB:.1f} GiB",
    ]
    assert [sentence for sentence in said if sentence not in section] == []


def test_the_two_rtx_3090_are_short_of_what_is_said(shell: Any) -> None:
    answer = json.loads(shell.answer("check", "llama-3.2-90b-vision", "-q", "Q4_K_M", "-c", "8k", "--gpu", "2x3090", "--json"))
    (cell,) = answer["machines"][0]["cells"]
    short = -sum(headroom for headroom in cell["headroom_bytes"] if headroom < 0)
    assert f"Two RTX 3090 are {short / GIB:.1f} GiB short" in " ".join(README.split())
    assert answer["advice"]


def test_the_compute_buffer_worked_by_hand_is_the_program_s(shell: Any) -> None:
    answer = json.loads(shell.answer("check", "llama-3.1-8b", "-q", "Q4_K_M", "-c", "8k", "--gpu", "4090", "--json"))
    (buffer,) = [part["bytes"] for part in answer["machines"][0]["cells"][0]["parts"] if part["label"] == "compute buffer"]
    by_hand = 4 * 512 * (8192 // 2 + 3 * 14336 + 2 * 4096 + 4096 + 5)
    page = " ".join((ROOT / "docs" / "how-it-is-computed.md").read_text(encoding="utf-8").split())
    assert f"{by_hand:,} B = {by_hand / MIB:.1f} MiB; the layout gives {buffer - by_hand} bytes more" in page


def test_no_model_is_both_bundled_and_left_out() -> None:
    bundled = {path.stem for path in (ROOT / "data" / "models").glob("*/*.toml")}
    page = (ROOT / "docs" / "models-left-out.md").read_text(encoding="utf-8")
    left_out = set(re.findall(r"[a-z0-9.]+(?:-[a-z0-9.]+)+", page))
    assert "nemotron-nano-12b-v2-vl" in left_out, "ids are found in the page"
    assert left_out & bundled == set()


def test_the_readme_has_the_two_commands() -> None:
    assert 'python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/runlocal check llama-3.2-90b-vision --gpu "H100 80GB"\n' in README
    assert ".venv/bin/pip install '.[test]' && .venv/bin/python -m pytest\n" in README


def test_the_check_ends_with_1_where_a_page_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "src").symlink_to(ROOT / "src")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "FILES", (build.REFERENCE,))
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    assert build.main() == 1
    assert "+# Reference" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["build.py"])
    assert build.main() == 0
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    assert build.main() == 0
