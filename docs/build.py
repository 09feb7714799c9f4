"""Makes what the documentation shows of the program: sessions, help pages, pictures.

`python docs/build.py` writes the files; `python docs/build.py --check` compares them and exits 1 where one differs.
A session is a console block between `<!-- session -->` and `<!-- /session -->`: each line that begins with `$ ` is run in an empty
folder, and what it prints takes the place of what stood below it. Blocks under `<!-- recorded … -->` come from a computer that
is not this one and stay as they are. Where jq is not installed, blocks that pipe into it stay as they are, too.
"""

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITH_SESSIONS = ("README.md", "docs/how-it-is-computed.md", "docs/interface.md")
REFERENCE = "docs/reference.md"
ACCURACY = "docs/accuracy.md"
PICTURES = {
    "docs/pictures/fits.svg": ("check", "llama-3.2-90b-vision", "--gpu", "H100 80GB", "--format", "svg"),
    "docs/pictures/does-not-fit.svg": ("check", "llama-3.2-90b-vision", "--gpu", "2x3090", "--format", "svg"),
    "docs/pictures/grid.svg": ("check", "qwen3-32b", "--gpu", "5090", "--format", "svg"),
}
FILES = (*WITH_SESSIONS, REFERENCE, ACCURACY, *PICTURES)
WIDTH = 100

_SESSION = re.compile(r"(?<=<!-- session -->\n```console\n).*?(?=```\n<!-- /session -->)", re.DOTALL)
_PROMPT = "$ "


class Shell:
    """Runs command lines in which `runlocal` is the program of this checkout, the same way on every computer."""

    def __init__(self, folder: Path) -> None:
        self._root = str(folder)
        self._folder = folder / "empty"
        self._folder.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        shim = programs / "runlocal"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m runlocal "$@"\n', encoding="utf-8")
        shim.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "SYSTEMROOT", "TMPDIR")}
        self._environment = kept | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONUTF8": "1",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": str(WIDTH),
            "NO_COLOR": "1",
            # The data is compiled anew, so that a page cannot show what an older cache holds.
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        self._take_over(folder / "cache" / "runlocal")

    def _take_over(self, cache: Path) -> None:
        """What every model takes costs half a minute to compute, and is called after all that it follows from: it is made beside the caller's other caches."""
        sys.path.insert(0, str(ROOT / "src"))
        from runlocal.catalog.bundle import cache_home

        asked = [sys.executable, "-m", "runlocal", "fit", "--vram", "8GB", "--quiet"]
        subprocess.run(asked, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, check=False)
        for folder in Path(cache_home(), "runlocal").glob("loads-*"):
            shutil.copytree(folder, cache / folder.name)

    def terminal(self, command: str) -> str:
        """What a person sees: both streams. Raises RuntimeError where that names this folder, which no page may show."""
        done = subprocess.run(command, shell=True, cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        if self._root in done.stdout:
            raise RuntimeError(f"{command}: {done.stdout}")
        return done.stdout

    def answer(self, *arguments: str) -> str:
        """What the program writes to standard output. Raises RuntimeError where it has no answer."""
        done = subprocess.run([sys.executable, "-m", "runlocal", *arguments], cwd=self._folder, env=self._environment, capture_output=True, encoding="utf-8")
        if done.returncode > 1:
            raise RuntimeError(f"runlocal {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout


@contextmanager
def shell() -> Iterator[Shell]:
    """A shell in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="runlocal-docs-") as folder:
        yield Shell(Path(folder))


def made(file: str, shell: Shell) -> str:
    """What the file ought to hold."""
    if file in PICTURES:
        # rich numbers its styles by a hash of the text; one name for all keeps differences readable.
        return re.sub(r"terminal-\d+", "terminal", shell.answer(*PICTURES[file])).rstrip("\n") + "\n"
    if file == REFERENCE:
        return _reference(shell)
    if file == ACCURACY:
        sys.path.insert(0, str(ROOT / "docs"))
        from accuracy import page

        return page()
    text = (ROOT / file).read_text(encoding="utf-8")
    return _SESSION.sub(lambda found: _session(found[0], shell), text)


def _session(text: str, shell: Shell) -> str:
    commands = [line for line in text.splitlines() if line.startswith(_PROMPT)]
    if any("| jq" in command for command in commands) and shutil.which("jq") is None:
        return text
    shown = []
    for command in commands:
        printed = "\n".join(line.rstrip() for line in shell.terminal(command.removeprefix(_PROMPT)).splitlines())
        shown.append(f"{command}\n{printed}".rstrip("\n") + "\n")
    return "\n".join(shown)


def _reference(shell: Shell) -> str:
    first = shell.answer("--help")
    # Two columns under `Commands:`; a line that goes on begins further right.
    names = re.findall(r"^  (\w[\w-]*)  ", first.partition("Commands:")[2], re.MULTILINE)
    pages = [("runlocal", first), *((f"runlocal {name}", shell.answer(name, "--help")) for name in names)]
    blocks = [f"## {title}\n\n```text\n{page.strip()}\n```\n" for title, page in pages]
    return (
        "# Reference\n\nThe help page of every command, written by `python docs/build.py`. What the words mean: [interface.md](interface.md).\n\n"
        + "\n".join(blocks)
    )


def main() -> int:
    """Writes or compares every file; 1 where one differed."""
    parser = argparse.ArgumentParser(description="Makes the sessions, help pages and pictures of the documentation.")
    parser.add_argument("--check", action="store_true", help="compare only, and exit 1 on a difference")
    check = parser.parse_args().check
    different = 0
    with shell() as terminal:
        for file in FILES:
            path = ROOT / file
            old = path.read_text(encoding="utf-8") if path.exists() else ""
            new = made(file, terminal)
            if old == new:
                continue
            different += 1
            if check:
                sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), file, f"{file} as made now"))
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(new, encoding="utf-8")
                print(f"written: {file}")
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
