"""The bundle is the files: made again when one changes, read from a cache else, and what cannot be read is a sentence."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runlocal.catalog import bundle
from runlocal.catalog.compile import bundle as compiled
from runlocal.catalog.compile import write
from runlocal.core.errors import Code, Problem

ROOT = Path(__file__).resolve().parents[2]


def as_json(value: object) -> object:
    return json.loads(json.dumps(value, default=str))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of data/ that the bundle is made from, and a cache of its own."""
    data = tmp_path / "data"
    shutil.copytree(ROOT / "data", data)
    monkeypatch.setattr(bundle, "_CHECKOUT", str(data))
    monkeypatch.setattr(bundle, "_PACKAGED", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget(monkeypatch)
    yield data
    bundle.read.cache_clear()


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process would begin."""
    monkeypatch.setattr(bundle, "_folder", None)
    bundle.read.cache_clear()


def test_every_object_is_what_the_files_say(checkout: Path) -> None:
    for name, value in compiled(checkout).items():
        assert bundle.read(name) == as_json(value), name


def test_it_is_made_once_and_again_when_a_file_changes(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def counted(data: Path, folder: Path) -> None:
        made.append(folder)
        write(data, folder)

    monkeypatch.setattr("runlocal.catalog.compile.write", counted)
    for _ in range(3):
        forget(monkeypatch)
        assert bundle.read("about")["checked"] != "2031-01-01"
    assert len(made) == 1
    about = checkout / "about.toml"
    about.write_text(about.read_text(encoding="utf-8").replace(bundle.data_date(), "2031-01-01"), encoding="utf-8")
    forget(monkeypatch)
    assert bundle.data_date() == "2031-01-01"
    assert len(made) == 2


def test_a_file_that_comes_or_goes_is_noticed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mine" not in bundle.read("index")
    there = next((checkout / "models").glob("*/llama-3.1-8b.toml"))
    mine = there.with_name("mine.toml")
    mine.write_text(there.read_text(encoding="utf-8"), encoding="utf-8")
    forget(monkeypatch)
    assert bundle.read("models/mine")["name"] == bundle.read("models/llama-3.1-8b")["name"]
    mine.unlink()
    forget(monkeypatch)
    assert "mine" not in bundle.read("index")
    with pytest.raises(Problem):
        bundle.read("models/mine")


def test_a_broken_file_is_named(checkout: Path) -> None:
    (checkout / "licenses.toml").write_text("[broken", encoding="utf-8")
    with pytest.raises(Problem) as caught:
        bundle.read("about")
    assert caught.value.code is Code.BAD_FILE
    assert "licenses.toml" in caught.value.message


def test_an_installation_without_data_says_so(checkout: Path) -> None:
    shutil.rmtree(checkout)
    with pytest.raises(Problem, match="carries no data"):
        bundle.read("about")


def test_what_is_not_there_is_a_problem(checkout: Path) -> None:
    with pytest.raises(Problem) as caught:
        bundle.read("models/nothing")
    assert caught.value.code is Code.BAD_FILE


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert bundle.read("about")["checked"]


def test_a_damaged_cache_is_made_again(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundle.read("about")
    (file,) = (tmp_path / "cache" / "runlocal").glob("*/about.json")
    file.write_text("something else", encoding="utf-8")
    forget(monkeypatch)
    assert bundle.read("about") == before


def test_many_first_answers_at_once(tmp_path: Path) -> None:
    """Processes that all find no cache make one each and do not step on one another."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "runlocal", "check", "llama-3.1-8b", "--gpu", "4090", "--quiet"]
    started = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(one.communicate()[1], one.returncode) for one in started] == [("", 0)] * 4
    assert len(list((tmp_path / "runlocal").iterdir())) == 1, "what the slower ones made is gone"


def test_a_checkouts_cache_keeps_the_newest_bundles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bundle, "cache_home", lambda: str(tmp_path))
    for age in range(12):
        folder = tmp_path / "runlocal" / f"bundle-{age:02}"
        folder.mkdir(parents=True)
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "runlocal" / "loads-1").mkdir()
    bundle.tidy("bundle-")
    assert sorted(path.name for path in (tmp_path / "runlocal").iterdir()) == [*(f"bundle-{age:02}" for age in range(8)), "loads-1"]
