"""What a format loads: nothing heavy that it does not draw with."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
HEAVY = ["rich", "pydantic", "csv", "importlib.metadata"]
SCRIPT = """
import sys
sys.path[:0] = [{source!r}, {here!r}]
import conftest
from runlocal.render.formats import Format, checks_as
from runlocal.render.style import Style
# what the fixtures' pytest brought in does not count
before = {{name for name in sys.modules}}
for name in {heavy!r}: sys.modules.pop(name, None)
checks_as(Format({form!r}), [conftest._CHECKS["fits"]()], Style(colour={colour!r}))
print(" ".join(name for name in {heavy!r} if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("form", "colour", "loaded"),
    [
        ("json", False, ""),
        ("ndjson", False, ""),
        ("csv", False, "csv"),
        ("markdown", False, "csv"),
        ("table", False, ""),
        ("table", True, "rich"),
        ("svg", False, "rich"),
    ],
)
def test_each_format_loads_what_it_draws_with(form: str, colour: bool, loaded: str) -> None:
    script = SCRIPT.format(source=str(SOURCE), here=str(Path(__file__).parent), heavy=HEAVY, form=form, colour=colour)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (loaded, "")
