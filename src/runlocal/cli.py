"""The command line: options in, text out, exit code. The only file that prints, exits, or looks at the terminal."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer

from runlocal.commands.options import Options
from runlocal.core.errors import Code, Exit, Problem
from runlocal.render.formats import Format
from runlocal.render.style import Style

if TYPE_CHECKING:
    from runlocal.core.listing import Listing

_FORMAT_HELP = "table, json, ndjson, csv, tsv, markdown or svg"
FormatOption = Annotated[str, typer.Option("--format", "-f", help=_FORMAT_HELP, metavar="F")]
JsonOption = Annotated[bool, typer.Option("--json", help="same as --format json")]
_UNICODE_PROBE = "✓░█└→×"


_EXAMPLES = (
    "Examples:  runlocal check llama-3.2-90b-vision   ·   runlocal check qwen3-32b --gpu 2x3090 -c 32k   ·   runlocal check gpt-oss-20b --vram 16GB --json"
)


def check(
    model: Annotated[
        Optional[list[str]],
        typer.Argument(help="bundled ids, Hugging Face repo ids, Ollama tags, or paths to a .gguf, config.json or model folder", metavar="MODEL..."),
    ] = None,
    quant: Annotated[
        Optional[str], typer.Option("--quant", "-q", help="quantizations, comma-separated [default: the runtime's usual list]", metavar="Q[,Q...]")
    ] = None,
    ctx: Annotated[
        Optional[str], typer.Option("--ctx", "-c", help="context of one sequence: 8192, 8k, 128k, max [default: 4k to 128k]", metavar="N[,N...]")
    ] = None,
    parallel: Annotated[int, typer.Option("--parallel", "-n", help="sequences at once, each with that context", metavar="N")] = 1,
    gpu: Annotated[
        Optional[list[str]],
        typer.Option(
            "--gpu", "-g", help='a machine you do not own: "RTX 4090", 2x3090, 5090+3090, m4-max-64, a100-80:1g.10gb; repeat to compare', metavar="SPEC"
        ),
    ] = None,
    vram: Annotated[Optional[str], typer.Option("--vram", help="a budget instead of a card: 24, 24GB, 81559MiB, 2x24GB, 24GB+12GB", metavar="SIZE")] = None,
    ram: Annotated[Optional[str], typer.Option("--ram", help="host memory for what does not go on the GPU [default: this computer's]", metavar="SIZE")] = None,
    reserve: Annotated[Optional[str], typer.Option("--reserve", help="memory to leave free per GPU [default: what the runtime leaves]", metavar="SIZE")] = None,
    idle: Annotated[bool, typer.Option("--idle", help="count memory that other processes hold as free")] = False,
    runtime: Annotated[
        Optional[str],
        typer.Option("--runtime", "-r", help="llama.cpp, ollama, … with @VERSION if need be [default: what loads the model]", metavar="ID[@VERSION]"),
    ] = None,
    kv: Annotated[
        Optional[str], typer.Option("--kv", "-k", help="cache types; `,` separates alternatives, K:V gives two types [default: f16]", metavar="TYPE[,TYPE]")
    ] = None,
    images: Annotated[int, typer.Option("--images", help="images processed at once; 0: tower loaded, none processed", metavar="N")] = 1,
    no_vision: Annotated[bool, typer.Option("--no-vision", help="leave tower, projector and image graph out")] = False,
    imatrix: Annotated[
        Optional[bool], typer.Option("--imatrix/--no-imatrix", help="files made with or without an importance matrix [default: as published]")
    ] = None,
    ubatch: Annotated[Optional[int], typer.Option("--ubatch", help="tokens per step [default: the runtime's]", metavar="N")] = None,
    no_flash_attn: Annotated[bool, typer.Option("--no-flash-attn", help="without flash attention")] = False,
    no_kv_offload: Annotated[bool, typer.Option("--no-kv-offload", help="keep the cache in host memory")] = False,
    cpu_moe: Annotated[bool, typer.Option("--cpu-moe", help="keep the experts in host memory")] = False,
    tp: Annotated[int, typer.Option("--tp", help="tensor parallel ranks", metavar="N")] = 1,
    pp: Annotated[int, typer.Option("--pp", help="pipeline parallel ranks", metavar="N")] = 1,
    gpu_layers: Annotated[
        Optional[int], typer.Option("--gpu-layers", help="layers on the GPUs, the output layer counted as one [default: all that fit]", metavar="N")
    ] = None,
    offload: Annotated[bool, typer.Option("--offload", help="partial offload into host memory counts as a yes")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="`tight` is a no")] = False,
    require_gpu: Annotated[bool, typer.Option("--require-gpu", help="no GPU is an error")] = False,
    form: FormatOption = "table",
    as_json: JsonOption = False,
    explain: Annotated[bool, typer.Option("--explain", "-x", help="formula, certainty and source of each part")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="print nothing, answer with the exit code")] = False,
    batch: Annotated[
        Optional[str], typer.Option("--batch", help="one request per line (NDJSON), one answer per line; - reads standard input", metavar="FILE|-")
    ] = None,
) -> None:
    """Does it fit: which quantizations at which context lengths, and how far does each go?"""
    options = Options(
        quant=quant, ctx=ctx, parallel=parallel, gpu=tuple(gpu or ()), vram=vram, ram=ram, reserve=reserve, idle=idle, runtime=runtime, kv=kv,
        images=images, vision=not no_vision, imatrix=imatrix, ubatch=ubatch, flash_attention=False if no_flash_attn else None,
        kv_offload=not no_kv_offload, cpu_moe=cpu_moe, tp=tp, pp=pp, gpu_layers=gpu_layers, offload=offload, strict=strict, require_gpu=require_gpu,
    )  # fmt: skip
    if batch is not None:
        _batch(batch, options, quiet=quiet)
    if not model:
        raise Problem(Code.BAD_VALUE, "which model?", hint="runlocal check llama-3.1-8b; `runlocal models` lists them")
    wanted = _format(form, as_json)
    from runlocal.commands import check as command
    from runlocal.render.formats import checks_as

    found = command.run(model, options)
    for hint in found.hints:
        _tell(hint)
    if not quiet:
        _print(checks_as(wanted, found.checks, _style(), explain=explain, title=_typed()))
    _leave(found.exit)


def models(
    query: Annotated[Optional[list[str]], typer.Argument(help="words in an id, name, family, vendor or alias", metavar="QUERY")] = None,
    form: FormatOption = "table",
    as_json: JsonOption = False,
) -> None:
    """What models do we know?"""
    from runlocal.commands import models as command

    _listing(command.run(" ".join(query or ())), _format(form, as_json))


def show(
    model: Annotated[str, typer.Argument(help="a bundled id, a Hugging Face repo id or an Ollama tag", metavar="MODEL")],
    form: FormatOption = "table",
    as_json: JsonOption = False,
) -> None:
    """What do we know of a model, and where from: shapes, sizes per quantization, licence, runtimes."""
    wanted = _format(form, as_json)
    from runlocal.commands import show as command
    from runlocal.render.formats import page_as

    _print(page_as(wanted, command.run(model), _style(), title=_typed()))


def gpus(
    query: Annotated[Optional[list[str]], typer.Argument(help="words in the name of a card of the catalogue", metavar="QUERY")] = None,
    everything: Annotated[bool, typer.Option("--all", help="the whole catalogue")] = False,
    form: FormatOption = "table",
    as_json: JsonOption = False,
) -> None:
    """What is in this machine, and who holds the memory; with a query or --all, the catalogue."""
    wanted = _format(form, as_json)
    from runlocal.commands import gpus as command

    found = command.run(" ".join(query or ()), everything=everything)
    for hint in found.hints:
        _tell(hint)
    _listing(found.listing, wanted)


def options(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="print the version and the date of the data")] = False) -> None:
    """Will this model run on this hardware, at which quantization and how long a context?"""
    if version:
        from runlocal import __version__
        from runlocal.catalog.bundle import data_date

        _print(f"runlocal {__version__}, data of {data_date()}")
        _leave(Exit.YES)


def _listing(listing: "Listing", form: Format) -> NoReturn:
    from runlocal.render.formats import listing_as

    _print(listing_as(form, listing, _style(), title=_typed()))
    _leave(Exit.YES if listing.rows else Exit.NO)


def _batch(path: str, options: Options, *, quiet: bool) -> NoReturn:
    from runlocal.commands.batch import Batch

    stream = Batch(options)
    try:
        source = sys.stdin if path == "-" else open(path, encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with the process
        for answer in stream.answers(source):
            if not quiet:
                _print(answer)
    except OSError as error:
        raise Problem(Code.BAD_FILE, f"{path} cannot be read: {error.strerror}", hint="--batch takes a file, or - for standard input") from None
    _leave(stream.exit)


def _format(form: str, as_json: bool) -> Format:
    if as_json:
        return Format.JSON
    try:
        return Format(form.lower())
    except ValueError:
        raise Problem(Code.BAD_VALUE, f"--format {form[:20]!r} is not a format", hint=f"known: {_FORMAT_HELP}") from None


def _style() -> Style:
    return Style(width=_width(), unicode=_can_encode(), colour=_wants_colour())


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    if not sys.stdout.isatty():
        return 80
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def _can_encode() -> bool:
    try:
        _UNICODE_PROBE.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _wants_colour() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _typed() -> str:
    return " ".join(["runlocal", *sys.argv[1:]])


def _print(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _leave(code: Exit) -> NoReturn:
    sys.stdout.flush()
    raise typer.Exit(int(code))


def _wants_json(arguments: list[str]) -> bool:
    return "--json" in arguments or any(one.removeprefix("--format=").removeprefix("-f") in ("json", "ndjson") for one in arguments)


def _report(problem: Problem, arguments: list[str]) -> int:
    from runlocal.render.phrases import problem_text

    if "--quiet" not in arguments and _wants_json(arguments):
        from runlocal.render.json import error_json

        _print(error_json(problem))
    else:
        _tell(problem_text(problem))
    return int(problem.exit)


_COMMANDS: dict[str, Any] = {"check": check, "models": models, "show": show, "gpus": gpus}


def app(arguments: list[str]) -> typer.Typer:
    """The program: all commands, or only the one that the arguments name, since building a command costs as much as answering it."""
    made = typer.Typer(
        name="runlocal", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    made.callback(invoke_without_command=True)(options)
    named = arguments[0] if arguments and arguments[0] in _COMMANDS else None
    for name, command in _COMMANDS.items():
        if named in (None, name):
            made.command(name, epilog=_EXAMPLES if command is check else None)(command)
    return made


def _run(arguments: list[str]) -> int:
    """Runs a command line and returns its exit code; a bug never looks like an answer."""
    try:
        outcome: Any = typer.main.get_command(app(arguments)).main(args=arguments, prog_name="runlocal", standalone_mode=False)
        return outcome if isinstance(outcome, int) else Exit.YES
    except Problem as problem:
        return _report(problem, arguments)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.PIPE_CLOSED
    except Exception as error:
        # Typer's own complaints about usage carry a message for people; everything else is ours.
        if (message := getattr(error, "format_message", None)) is not None:
            return _report(Problem(Code.BAD_VALUE, message(), hint="runlocal --help"), arguments)
        if type(error).__name__ == "Abort":
            return Exit.INTERRUPTED
        _tell(f"runlocal failed: {type(error).__name__}: {error}")
        _tell("This is a bug in runlocal, not an answer. Set RUNLOCAL_TRACEBACK=1 to see where, and report it.")
        if os.environ.get("RUNLOCAL_TRACEBACK"):
            raise
        return Exit.BUG


def main() -> NoReturn:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # always text files here
    code = _run(sys.argv[1:] or ["--help"])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer has no reader any more; let the interpreter close without a second complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.PIPE_CLOSED
    except OSError as error:
        _tell(f"the answer could not be written: {error.strerror}")
        code = Exit.CANNOT_ANSWER
    sys.exit(int(code))
