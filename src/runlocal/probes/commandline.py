"""What a process's command line says of the program and of the model that it runs. The rest of it is never kept: arguments can hold secrets."""

from itertools import pairwise
from pathlib import Path

from runlocal.core.noun import NamedTuple
from runlocal.probes.text import clean, read_text

_LONGEST = 1 << 16
_LONGEST_MODEL = 4096  # PATH_MAX
_MOST_MODELS = 4
# llama.cpp's (common/arg.cpp) and Ollama's: how a model is named.
_OPTIONS = frozenset(("-m", "--model", "-mu", "--model-url", "-hf", "-hfr", "--hf-repo", "-hff", "--hf-file"))
_PROGRAMS = ("llama", "ollama", "koboldcpp")  # what their names begin with; llama-cpp-python's server is a module
_MODULE = "llama_cpp.server"


class Command(NamedTuple):
    """A command line, as far as it is read.

    program: its name without folder and arguments; empty where it cannot be read
    models: files, repositories, addresses and tags that a program that runs models was given as its model
    """

    program: str
    models: tuple[str, ...] = ()


def read(proc: Path, pid: int) -> Command:
    """The command line of a process; of another user's too, where the system shows it."""
    words = (read_text(proc / str(pid) / "cmdline", _LONGEST) or "").split("\0")
    program = program_name(words[0])
    if not program.lower().startswith(_PROGRAMS) and _MODULE not in words:
        return Command(program)
    models: list[str] = []
    for option, value in pairwise(words[1:]):
        if option in _OPTIONS and value != _MODULE:
            models += _named(value)
    models += [found for word in words[1:] if word.startswith("--model=") for found in _named(word.partition("=")[2])]
    return Command(program, tuple(dict.fromkeys(models))[:_MOST_MODELS])


def program_name(command: str) -> str:
    """`llama-server` of `/usr/bin/llama-server`."""
    return clean(command.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])


def _named(value: str) -> tuple[str, ...]:
    """The value, or the tags of a file that Ollama keeps under its digest."""
    if not 0 < len(value) <= _LONGEST_MODEL or not value.isprintable():
        return ()
    if "blobs/sha256-" not in value.replace("\\", "/"):
        return (value,)
    from runlocal.probes import ollama

    return ollama.tags(Path(value))
