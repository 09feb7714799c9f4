"""The command line: options in, text out, exit code. The only file that prints, exits, or looks at the terminal."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from runlocal import arguments as typed
from runlocal.commands.options import Options, dollars
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.noun import NamedTuple
from runlocal.render.formats import FOR_PEOPLE, Format
from runlocal.render.style import Style

if TYPE_CHECKING:
    from runlocal.core.listing import Listing


class Outcome(NamedTuple):
    """What a command comes to. Nothing is written before it is whole, except the lines of a stream.

    texts: for stdout
    exit: the exit code, asked for once all texts are written
    hints: for stderr
    """

    texts: Iterable[str]
    exit: Callable[[], Exit] = lambda: Exit.YES
    hints: tuple[str, ...] = ()


_UNICODE_PROBE = "✓░█└→×"
_PIPED_WIDTH = 80
_STDOUT = 1  # its file descriptor


def check(
    model: typed.Models = None,
    quant: typed.Quants = None,
    ctx: typed.Contexts = None,
    parallel: typed.Parallel = 1,
    kv: typed.CacheTypes = None,
    runtime: typed.Runtime = None,
    images: typed.Images = 1,
    image_size: typed.ImageSize = None,
    no_vision: typed.NoVision = False,
    imatrix: typed.Imatrix = None,
    beside: typed.Beside = None,
    gpu: typed.Gpus = None,
    vram: typed.Vram = None,
    ram: typed.Ram = None,
    ram_bandwidth: typed.RamBandwidth = None,
    reserve: typed.Reserve = None,
    idle: typed.Idle = False,
    ignore_pid: typed.IgnorePids = None,
    ubatch: typed.Ubatch = None,
    no_flash_attn: typed.NoFlashAttention = False,
    no_kv_offload: typed.NoKvOffload = False,
    cpu_moe: typed.CpuMoe = False,
    n_cpu_moe: typed.NCpuMoe = 0,
    tensor_split: typed.TensorSplit = None,
    tp: typed.TensorParallel = 1,
    pp: typed.PipelineParallel = 1,
    gpu_layers: typed.GpuLayers = None,
    draft: typed.Draft = None,
    mtp: typed.Mtp = False,
    offload: typed.Offload = False,
    strict: typed.Strict = False,
    require_gpu: typed.RequireGpu = False,
    form: typed.Form = "table",
    as_json: typed.AsJson = False,
    explain: typed.Explain = False,
    quiet: typed.Quiet = False,
    batch: typed.BatchFile = None,
    nodes: typed.NodesFile = None,
) -> Outcome:
    """Does it fit, at which quantization, and how long a context?"""
    options = Options(
        quant=quant, ctx=ctx, parallel=parallel, gpu=tuple(gpu or ()), vram=vram, ram=ram, reserve=reserve, idle=idle, runtime=runtime, kv=kv,
        images=images, image_size=image_size, vision=not no_vision, imatrix=imatrix, ubatch=ubatch, flash_attention=False if no_flash_attn else None,
        kv_offload=not no_kv_offload, cpu_moe=cpu_moe, n_cpu_moe=n_cpu_moe, tensor_split=tensor_split, tp=tp, pp=pp, gpu_layers=gpu_layers,
        draft=draft, mtp=mtp, offload=offload, strict=strict, require_gpu=require_gpu, ignore_pid=tuple(ignore_pid or ()),
        beside=tuple(beside or ()), ram_bandwidth=ram_bandwidth,
    )  # fmt: skip
    if batch is not None:
        if nodes is not None:
            raise Problem(Code.BAD_VALUE, "--batch and --nodes are two questions", hint="ask one at a time")
        return _batch(batch, options, tuple(model or ()), _format(form, as_json), explain=explain, quiet=quiet)
    if not model:
        raise Problem(Code.BAD_VALUE, "which model?", hint="runlocal check llama-3.1-8b; `runlocal models` lists them")
    wanted = _format(form, as_json)
    if nodes is not None:
        return _fleet(model, options, nodes, wanted, quiet=quiet)
    from runlocal.commands import check as command
    from runlocal.render.formats import checks_as

    found = command.run(model, options, for_people=wanted in FOR_PEOPLE)
    if quiet:
        return Outcome((), lambda: found.exit)
    explains = wanted in (Format.TABLE, Format.SVG) and len(model) == 1
    hints = (*found.hints, *(() if explains or not explain else ("--explain: the table of one model shows it, so it changes nothing here.",)))
    return Outcome((checks_as(wanted, found.checks, _style(), explain=explain, title=_typed()),), lambda: found.exit, hints)


def buy(
    model: typed.Model,
    quant: typed.Quant = None,
    ctx: typed.Context = None,
    parallel: typed.Parallel = 1,
    kv: typed.CacheType = None,
    runtime: typed.Runtime = None,
    images: typed.Images = 1,
    no_vision: typed.NoVision = False,
    max_price: typed.MaxPrice = None,
    vendor: typed.Vendors = None,
    cards: typed.Cards = None,
    min_speed: typed.MinSpeedOfHardware = None,
    compare: typed.Compare = None,
    reserve: typed.Reserve = None,
    limit: typed.Limit = None,
    form: typed.Form = "table",
    as_json: typed.AsJson = False,
    quiet: typed.Quiet = False,
) -> Outcome:
    """Which hardware runs it? Smallest and cheapest first.

    Every card, several of a kind, every Mac and other machine of unified memory.
    """
    wanted_form = _format(form, as_json)
    from runlocal.commands import buy as command
    from runlocal.render.formats import listing_as, page_as

    options = Options(quant=quant, ctx=ctx, parallel=parallel, kv=kv, images=images, vision=not no_vision, runtime=runtime, reserve=reserve)
    found = command.run(model, options, command.Wanted(dollars("--max-price", max_price), vendor, cards, min_speed, compare, limit))
    if quiet:
        return Outcome((), lambda: found.exit)
    if wanted_form in (Format.CSV, Format.TSV, Format.NDJSON):
        return Outcome((listing_as(wanted_form, found.whole.listings[0], _style(), title=_typed()),), lambda: found.exit, found.hints)
    page = found.whole if wanted_form is Format.JSON else found.page
    return Outcome((page_as(wanted_form, page, _style(), title=_typed()),), lambda: found.exit, found.hints)


def models(
    query: typed.ModelQuery = None,
    form: typed.Form = "table",
    as_json: typed.AsJson = False,
) -> Outcome:
    """What models do we know?"""
    from runlocal.commands import models as command

    return _listing(command.run(" ".join(query or ())), _format(form, as_json))


def show(
    model: typed.KnownModel,
    runtime: typed.Runtime = None,
    gpu: typed.Gpu = None,
    vram: typed.Vram = None,
    ram: typed.Ram = None,
    ram_bandwidth: typed.RamBandwidth = None,
    form: typed.Form = "table",
    as_json: typed.AsJson = False,
) -> Outcome:
    """What do we know of a model, and where is each fact from?

    Sizes, what holds it, its family, what is worth comparing, licence, runtimes.
    """
    wanted = _format(form, as_json)
    from runlocal.commands import show as command
    from runlocal.render.formats import page_as

    page = command.run(model, Options(gpu=tuple(gpu or ()), vram=vram, ram=ram, ram_bandwidth=ram_bandwidth, runtime=runtime))
    return Outcome((page_as(wanted, page, _style(), title=_typed()),))


def fit(
    query: typed.ModelQuery = None,
    family: typed.Family = None,
    variant: typed.Variant = None,
    vision: typed.Vision = False,
    commercial: typed.Commercial = False,
    min_speed: typed.MinSpeed = None,
    quant: typed.QuantsOfAll = None,
    ctx: typed.Context = None,
    parallel: typed.Parallel = 1,
    kv: typed.CacheType = None,
    runtime: typed.Runtime = None,
    no_vision: typed.NoVision = False,
    gpu: typed.Gpu = None,
    vram: typed.Vram = None,
    ram: typed.Ram = None,
    ram_bandwidth: typed.RamBandwidth = None,
    reserve: typed.Reserve = None,
    idle: typed.Idle = False,
    strict: typed.Strict = False,
    require_gpu: typed.RequireGpu = False,
    everything: typed.AllModels = False,
    form: typed.Form = "table",
    as_json: typed.AsJson = False,
    quiet: typed.Quiet = False,
) -> Outcome:
    """Which models run here? Each at the finest quantization that fits.

    With the longest context that fits then, the largest model first.
    """
    wanted = _format(form, as_json)
    from runlocal.commands import fit as command
    from runlocal.render.formats import listing_as, page_as

    options = Options(
        quant=quant, ctx=ctx, parallel=parallel, gpu=tuple(gpu or ()), vram=vram, ram=ram, reserve=reserve, idle=idle, runtime=runtime, kv=kv,
        ram_bandwidth=ram_bandwidth, vision=not no_vision, strict=strict, require_gpu=require_gpu,
    )  # fmt: skip
    asked = command.Wanted(" ".join(query or ()), family, variant, vision=vision, commercial=commercial, min_speed=min_speed)
    for_people = wanted in FOR_PEOPLE
    most = 0 if quiet else None if everything else command.SHOWN
    found = command.run(asked, options, _tell, most=most, for_people=for_people or quiet)
    if quiet:
        return Outcome((), lambda: found.exit)
    if wanted is Format.JSON:
        return Outcome((page_as(wanted, found.whole, _style()),), lambda: found.exit, found.hints)
    return Outcome((listing_as(wanted, found.shown if for_people else found.all, _style(), title=_typed()),), lambda: found.exit, found.hints)


def gpus(
    query: typed.GpuQuery = None,
    everything: typed.AllGpus = False,
    doctor: typed.Doctor = False,
    form: typed.Form = "table",
    as_json: typed.AsJson = False,
) -> Outcome:
    """What is in this machine, and who holds the memory?

    With a query or --all, the catalogue.
    """
    wanted = _format(form, as_json)
    from runlocal.commands import gpus as command

    if doctor and (query or everything):
        raise Problem(Code.BAD_VALUE, "--doctor reads this computer, and a query or --all asks the catalogue", hint="ask one at a time")
    found = command.doctor() if doctor else command.run(" ".join(query or ()), everything=everything)
    return _listing(found.listing, wanted)._replace(hints=found.hints)


def options(version: typed.Version = False) -> None:
    """Will this model run on this hardware, at which quantization and how long a context?"""
    if version:
        from runlocal import __version__
        from runlocal.catalog.bundle import data_date

        typer.echo(f"runlocal {__version__}, data of {data_date()}")
        raise typer.Exit()


def _listing(listing: "Listing", form: Format) -> Outcome:
    from runlocal.render.formats import listing_as

    return Outcome((listing_as(form, listing, _style(), title=_typed()),), lambda: Exit.YES if listing.rows else Exit.NO)


def _batch(path: str, options: Options, models: tuple[str, ...], form: Format, *, explain: bool, quiet: bool) -> Outcome:
    from runlocal.commands.batch import LONGEST_LINE, Batch

    if models:
        raise Problem(Code.BAD_VALUE, f"--batch names its models itself, and {models[0][:40]!r} stands beside it", hint="a line for each model")
    if explain or form not in (Format.TABLE, Format.JSON, Format.NDJSON):
        raise Problem(Code.BAD_VALUE, "--batch answers a line of JSON for each line", hint="leave --explain and --format out")
    stream = Batch(options)
    unreadable = Problem(Code.BAD_FILE, f"{path} cannot be read", hint="--batch takes a file, or - for standard input")
    try:
        source = sys.stdin if path == "-" else open(path, encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with the process
    except (OSError, ValueError):
        raise unreadable from None
    if source is None:
        raise unreadable

    def lines() -> Iterator[str]:
        try:
            # A line is read no further than its limit, whatever somebody sends.
            while line := source.readline(LONGEST_LINE + 2):
                yield line
                while len(line) > LONGEST_LINE and not line.endswith("\n") and (line := source.readline(LONGEST_LINE + 2)):
                    pass
        except OSError:
            raise unreadable from None

    answers = stream.answers(lines())
    return Outcome((answer for answer in answers if not quiet), lambda: stream.exit)


def _fleet(models: list[str], options: Options, path: str, form: Format, *, quiet: bool) -> Outcome:
    from runlocal.commands import fleet as command
    from runlocal.render.formats import listing_as, page_as

    if path == "-" and sys.stdin is None:
        raise Problem(Code.BAD_FILE, "there is no standard input", hint="--nodes takes a file, or - for standard input")
    found = command.run(models, options, path, sys.stdin.buffer if path == "-" else None)
    if quiet:
        return Outcome((), lambda: found.exit)
    if form in (Format.CSV, Format.TSV, Format.NDJSON):
        return Outcome((listing_as(form, found.nodes, _style(), title=_typed()),), lambda: found.exit)
    page = found.whole if form is Format.JSON else found.page
    return Outcome((page_as(form, page, _style(), title=_typed()),), lambda: found.exit)


def _format(form: str, as_json: bool) -> Format:
    if as_json:
        return Format.JSON
    try:
        return Format(form.lower())
    except ValueError:
        raise Problem(Code.BAD_VALUE, f"--format {form[:20]!r} is not a format", hint=f"known: {typed.FORMATS}") from None


def _style() -> Style:
    return Style(width=_width(), unicode=_can_encode(), colour=_wants_colour())


def _is_terminal() -> bool:
    return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    if not _is_terminal():
        return _PIPED_WIDTH
    try:
        return os.get_terminal_size(_STDOUT).columns or _PIPED_WIDTH
    except OSError:
        return _PIPED_WIDTH


def _can_encode() -> bool:
    try:
        _UNICODE_PROBE.encode((sys.__stdout__ and sys.__stdout__.encoding) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _wants_colour() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return _is_terminal() and os.environ.get("TERM") != "dumb"


def _typed() -> str:
    """The command line as a picture's title: what was asked, not how it was to be printed."""
    words, left_out = ["runlocal"], False
    for word in sys.argv[1:]:
        if left_out or word in ("-f", "--format"):
            left_out = not left_out
        elif not word.startswith(("--format=", "--json")):
            words.append(f'"{word}"' if " " in word else word)
    return " ".join(words)


def _tell(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def _wants_json(arguments: list[str]) -> bool:
    asked = (one.lower().removeprefix("--format=").removeprefix("-f") for one in arguments)
    return "--json" in arguments or any(one in ("json", "ndjson") for one in asked)


def _told(problem: Problem, arguments: list[str]) -> Outcome:
    """The problem in words on stderr, or as JSON where JSON was asked for."""
    if "--quiet" not in arguments and _wants_json(arguments):
        from runlocal.render.json import error_json

        return Outcome((error_json(problem),), lambda: problem.exit)
    from runlocal.render.phrases import problem_text

    return Outcome((), lambda: problem.exit, (problem_text(problem),))


_COMMANDS: dict[str, Any] = {"check": check, "fit": fit, "buy": buy, "models": models, "show": show, "gpus": gpus}


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
            raise _no_command(arguments[0])
        with redirect_stdout(held):
            found: Any = typer.main.get_command(app(arguments)).main(args=arguments, prog_name="runlocal", standalone_mode=False)
    except Problem as problem:
        return _told(problem, arguments)
    except Exception as error:
        # Typer's own complaints about usage carry a message for people; everything else is ours.
        if (message := getattr(error, "format_message", None)) is not None:
            return _told(_wrong_usage(error, message(), arguments), arguments)
        return _bug(error)
    return found if isinstance(found, Outcome) else Outcome((held.getvalue(),) if held.getvalue() else (), lambda: Exit(found or Exit.YES))


def _no_command(word: str) -> Problem:
    from difflib import get_close_matches

    near = tuple(get_close_matches(word[:40].lower(), _COMMANDS))
    a_model = word.strip() and word.lower() not in ("help", "version")
    hint = f"`runlocal check {word[:40]}` asks about a model of that name; `runlocal --help` lists the commands" if a_model and not near else "runlocal --help"
    return Problem(Code.BAD_VALUE, f"runlocal has no command {word[:40]!r}", hint=hint, candidates=near)


def _wrong_usage(error: Exception, message: str, arguments: list[str]) -> Problem:
    """What Typer complains of, with the help of the command that was asked, and the options that are called nearly like one that it has not."""
    command = f"runlocal {arguments[0]}" if arguments[0] in _COMMANDS else "runlocal"
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


def _bug(error: Exception) -> Outcome:
    if os.environ.get("RUNLOCAL_TRACEBACK"):
        raise error
    hint = "This is a bug in runlocal, not an answer. Set RUNLOCAL_TRACEBACK=1 to see where, and report it."
    return Outcome((), lambda: Exit.BUG, (f"runlocal failed: {type(error).__name__}: {error}", hint))


def _write(outcome: Outcome, arguments: list[str]) -> Exit:
    """Prints what there is to print; the exit code."""
    for hint in outcome.hints:
        _tell(hint)
    try:
        for text in outcome.texts:
            sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
            sys.stdout.flush()
        sys.stdout.flush()
    except Problem as problem:
        return _write(_told(problem, arguments), arguments)
    except OSError as error:
        # What is left in the buffer has no reader any more; let the interpreter close without a second complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        if isinstance(error, BrokenPipeError):
            return Exit.PIPE_CLOSED
        _tell(f"the answer could not be written: {error.strerror}")
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
