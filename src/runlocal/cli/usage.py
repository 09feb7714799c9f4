"""What was typed wrong, in words for people."""

from collections.abc import Collection
from typing import Any

from runlocal.core.errors import Code, Problem


def no_command(word: str, known: Collection[str]) -> Problem:
    from difflib import get_close_matches

    near = tuple(get_close_matches(word[:40].lower(), known))
    a_model = word.strip() and word.lower() not in ("help", "version")
    hint = f"`runlocal check {word[:40]}` asks about a model of that name; `runlocal --help` lists the commands" if a_model and not near else "runlocal --help"
    return Problem(Code.BAD_VALUE, f"runlocal has no command {word[:40]!r}", hint=hint, candidates=near)


def wrong_usage(error: Exception, message: str, command: str) -> Problem:
    """What Typer complains of, with the help of the command that was asked, and the options that are called nearly like one that it has not."""
    context: Any = getattr(error, "ctx", None)
    wrong: str | None = getattr(error, "option_name", None) if hasattr(error, "possibilities") else None
    if wrong is None or context is None:
        for kind, called in (("int", "whole number"), ("float", "number")):
            message = message.replace(f"is not a valid {kind}", f"is not a {called}")
        return Problem(Code.BAD_VALUE, message, hint=f"{command} --help")
    from difflib import get_close_matches

    names = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")]
    bare = wrong.lstrip("-")[:40].lower()
    begin = [name for name in names if bare and (name[2:].startswith(bare) or bare.startswith(name[2:]))]
    alike = [f"--{name}" for name in get_close_matches(bare, [name[2:] for name in names])]
    near = tuple(dict.fromkeys([*begin, *alike]))
    hint = f"{command} --help" if context.parent or near else "options stand behind the command: runlocal check MODEL --gpu 4090"
    return Problem(Code.BAD_VALUE, f"`{command}` has no option {wrong[:40]}", hint=hint, candidates=near)


def wants_json(arguments: list[str]) -> bool:
    asked = (one.lower().removeprefix("--format=").removeprefix("-f") for one in arguments)
    return "--json" in arguments or any(one in ("json", "ndjson") for one in asked)
