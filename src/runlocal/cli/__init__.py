"""The command line: options in, text out, exit code. The only room that prints, exits, or looks at the terminal."""

import io
import os
import sys
from contextlib import redirect_stdout
from typing import Any, NoReturn

import typer

from runlocal.cli import arguments as typed
from runlocal.cli.outcome import Outcome
from runlocal.cli.terminal import STDOUT, tell
from runlocal.cli.usage import no_command, wants_json, wrong_usage
from runlocal.cli.verbs import buy, check, fit, gpus, models, show
from runlocal.core.errors import Exit, Problem

_COMMANDS: dict[str, Any] = {verb.__name__: verb for verb in (check, fit, buy, models, show, gpus)}


def app(arguments: list[str]) -> typer.Typer:
    """The program: all commands, or only the one that the arguments name, since building a command costs as much as answering it."""
    made = typer.Typer(
        name="runlocal", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    made.callback(invoke_without_command=True)(options)
    named = arguments[0] if arguments and arguments[0] in _COMMANDS else None
    for name, command in _COMMANDS.items():
        if named in (None, name):
            made.command(name, cls=typed.Command, epilog=typed.examples(name))(command)
    return made


def _run(arguments: list[str]) -> Outcome:
    """What a command line comes to; a bug never looks like an answer."""
    # Typer prints help itself, and turns a closed pipe into a "no": what it prints is held and written with everything else.
    held = io.StringIO()
    try:
        if arguments[0] not in _COMMANDS and not arguments[0].startswith("-"):
            raise no_command(arguments[0], _COMMANDS)
        with redirect_stdout(held):
            found: Any = typer.main.get_command(app(arguments)).main(args=arguments, prog_name="runlocal", standalone_mode=False)
    except Problem as problem:
        return _told(problem, arguments)
    except Exception as error:
        # Typer's own complaints about usage carry a message for people; everything else is ours.
        if (message := getattr(error, "format_message", None)) is not None:
            return _told(wrong_usage(error, message(), f"runlocal {arguments[0]}" if arguments[0] in _COMMANDS else "runlocal"), arguments)
        return _bug(error)
    return found if isinstance(found, Outcome) else Outcome((held.getvalue(),) if held.getvalue() else (), lambda: Exit(found or Exit.YES))


def options(version: typed.Version = False) -> None:
    """Will this model run on this hardware, at which quantization and how long a context?"""
    if version:
        from runlocal import __version__
        from runlocal.catalog.bundle import data_date

        typer.echo(f"runlocal {__version__}, data of {data_date()}")
        raise typer.Exit()


def _told(problem: Problem, arguments: list[str]) -> Outcome:
    """The problem in words on stderr, or as JSON where JSON was asked for."""
    if "--quiet" not in arguments and wants_json(arguments):
        from runlocal.render.json import error_json

        return Outcome((error_json(problem),), lambda: problem.exit)
    from runlocal.render.phrases import problem_text

    return Outcome((), lambda: problem.exit, (problem_text(problem),))


def _bug(error: Exception) -> Outcome:
    if os.environ.get("RUNLOCAL_TRACEBACK"):
        raise error
    hint = "This is a bug in runlocal, not an answer. Set RUNLOCAL_TRACEBACK=1 to see where, and report it."
    return Outcome((), lambda: Exit.BUG, (f"runlocal failed: {type(error).__name__}: {error}", hint))


def _write(outcome: Outcome, arguments: list[str]) -> Exit:
    """Prints what there is to print; the exit code."""
    for hint in outcome.hints:
        tell(hint)
    try:
        for text in outcome.texts:
            sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
            sys.stdout.flush()
        sys.stdout.flush()
    except Problem as problem:
        return _write(_told(problem, arguments), arguments)
    except OSError as error:
        # What is left in the buffer has no reader any more; let the interpreter close without a second complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        if isinstance(error, BrokenPipeError):
            return Exit.PIPE_CLOSED
        tell(f"the answer could not be written: {error.strerror}")
        return Exit.CANNOT_ANSWER
    return outcome.exit()


def main() -> NoReturn:
    """The console script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        getattr(sys, name).reconfigure(errors="replace")
    arguments = sys.argv[1:] or ["--help"]
    try:
        code = _write(_run(arguments), arguments)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except Exception as error:
        code = _write(_bug(error), arguments)
    sys.exit(int(code))
