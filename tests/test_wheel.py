"""The wheel carries all of data/, as the files people edit and as the bundle that the program reads, and answers on its own."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runlocal.catalog.compile import bundle
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.solve.tables import rows

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files, far from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def names_below(folder: Path, pattern: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob(pattern) if path.is_file()}


def test_every_source_file_is_there_and_nothing_else(installed: Path) -> None:
    assert names_below(installed / "runlocal", "*.py") == names_below(ROOT / "src" / "runlocal", "*.py")
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"runlocal"}
    assert {path.suffix for path in (installed / "runlocal").rglob("*") if path.is_file()} <= {".py", ".toml", ".json", ".typed"}


def test_every_data_file_is_there_unchanged(installed: Path) -> None:
    there, here = installed / "runlocal" / "data", ROOT / "data"
    assert names_below(there, "*") == names_below(here, "*")
    assert all((there / name).read_bytes() == (here / name).read_bytes() for name in names_below(here, "*"))


def test_the_bundle_is_the_data_s(installed: Path) -> None:
    folder = installed / "runlocal" / "bundle"
    made = bundle(ROOT / "data")
    assert names_below(folder, "*") == {f"{name}.json" for name in made}
    for name, value in made.items():
        assert json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) == json.loads(json.dumps(value, default=str)), name


def test_what_every_model_takes_is_there(installed: Path) -> None:
    """As this checkout computes it; `tests/solve/test_remembered.py` holds that against the engine."""
    loads = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (installed / "runlocal" / "loads").iterdir()}
    machine = Machine(Origin.BUDGET, "any", (Gpu(0, None, "any", 1 << 40),))
    for gpus, name in ((machine.gpus, "gpu"), ((), "host")):
        here = machine._replace(gpus=gpus)
        assert loads[name] == rows(here, print, vision=True)
        assert {**loads[name], **loads[f"{name}-text"]} == rows(here, print, vision=False)
    assert set(loads) == {"gpu", "host", "gpu-text", "host-text"}


def test_the_console_script_is_declared(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "runlocal = runlocal.__main__:main" in entry_points.read_text(encoding="utf-8")


def test_it_answers_far_from_the_checkout_and_writes_no_cache(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "runlocal"]
    done = subprocess.run(
        [*command, "check", "llama-3.1-8b", "--gpu", "4090", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["model"]["id"] == "llama-3.1-8b"
    fits = subprocess.run([*command, "fit", "--gpu", "4090", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (fits.returncode, fits.stderr) == (0, "")
    assert json.loads(fits.stdout)["models_fit"] > 300
    assert not list(tmp_path.iterdir())
