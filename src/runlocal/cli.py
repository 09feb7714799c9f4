"""The command line: options in, text out, exit code. The only file that prints, exits, or looks at the terminal."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer

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


_FORMAT_HELP = "table, json, ndjson, csv, tsv, markdown or svg"
FormatOption = Annotated[str, typer.Option("--format", "-f", help=_FORMAT_HELP, metavar="F")]
JsonOption = Annotated[bool, typer.Option("--json", help="same as --format json")]
_RAM_BANDWIDTH_HELP = "what host memory delivers, for speeds where a token reads it: channels x 8 x GT/s, 96 for two of DDR5-6000"
_UNICODE_PROBE = "✓░█└→×"
_PIPED_WIDTH = 80
_STDOUT = 1  # its file descriptor


_EXAMPLES = {
    "check": (
        "llama-3.2-90b-vision",
        "qwen3-32b --gpu 2x3090 -c 32k",
        "qwen3-32b --gpu 3090 --gpu 4090",
        "llama-3.1-8b qwen3-8b -q Q4_K_M --vram 8GB",
        "gpt-oss-120b --gpu 4090 --ram 64GB --offload",
        "gpt-oss-20b --vram 16GB --json",
        "./model.gguf --explain",
    ),
    "fit": ("", "--gpu 3060-12gb -c 16k --min-speed 20", "qwen --vision --commercial --vram 24GB"),
    "buy": ("llama-3.3-70b", "qwen3-32b -q Q8_0 -c 32k --max-price 2500", "llama-3.3-70b --compare 4090,2x3090,m4-max-64"),
    "models": ("", "qwen3 8b", "--json"),
    "show": ("llama-3.2-90b-vision", "qwen3-32b --gpu 2x3090"),
    "gpus": ("", "4090", "--all", "--doctor"),
}


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
    ram_bandwidth: Annotated[Optional[str], typer.Option("--ram-bandwidth", help=_RAM_BANDWIDTH_HELP, metavar="GB/S")] = None,
    reserve: Annotated[Optional[str], typer.Option("--reserve", help="memory to leave free per GPU [default: what the runtime leaves]", metavar="SIZE")] = None,
    idle: Annotated[bool, typer.Option("--idle", help="count memory that other processes hold as free")] = False,
    ignore_pid: Annotated[
        Optional[list[int]], typer.Option("--ignore-pid", help="count memory that this process holds as free; repeat for more", metavar="N")
    ] = None,
    runtime: Annotated[
        Optional[str],
        typer.Option("--runtime", "-r", help="llama.cpp, ollama, ... with @VERSION if need be [default: what loads the model]", metavar="ID[@VERSION]"),
    ] = None,
    kv: Annotated[
        Optional[str], typer.Option("--kv", "-k", help="cache types; `,` separates alternatives, K:V gives two types [default: f16]", metavar="TYPE[,TYPE]")
    ] = None,
    images: Annotated[int, typer.Option("--images", help="images processed at once; 0: tower loaded, none processed", metavar="N")] = 1,
    image_size: Annotated[
        Optional[str], typer.Option("--image-size", help="pixels of each image, 1024x768 [default: what the runtime reserves for]", metavar="WxH")
    ] = None,
    no_vision: Annotated[bool, typer.Option("--no-vision", help="leave tower, projector and image graph out")] = False,
    imatrix: Annotated[
        Optional[bool], typer.Option("--imatrix/--no-imatrix", help="files made with or without an importance matrix [default: as published]")
    ] = None,
    ubatch: Annotated[Optional[int], typer.Option("--ubatch", help="tokens per step [default: the runtime's]", metavar="N")] = None,
    no_flash_attn: Annotated[bool, typer.Option("--no-flash-attn", help="without flash attention")] = False,
    no_kv_offload: Annotated[bool, typer.Option("--no-kv-offload", help="keep the cache in host memory")] = False,
    cpu_moe: Annotated[bool, typer.Option("--cpu-moe", help="keep the experts in host memory")] = False,
    n_cpu_moe: Annotated[int, typer.Option("--n-cpu-moe", help="keep the experts of the first N layers in host memory", metavar="N")] = 0,
    tensor_split: Annotated[
        Optional[str], typer.Option("--tensor-split", help="share of the layers of each GPU: 3,1 [default: what fits]", metavar="N[,N...]")
    ] = None,
    tp: Annotated[int, typer.Option("--tp", help="tensor parallel ranks", metavar="N")] = 1,
    pp: Annotated[int, typer.Option("--pp", help="pipeline parallel ranks", metavar="N")] = 1,
    gpu_layers: Annotated[
        Optional[int], typer.Option("--gpu-layers", help="layers on the GPUs, the output layer counted as one [default: all that fit]", metavar="N")
    ] = None,
    draft: Annotated[Optional[str], typer.Option("--draft", help="a draft model that guesses tokens ahead", metavar="MODEL[@QUANT]")] = None,
    mtp: Annotated[bool, typer.Option("--mtp", help="the model's own next-token layers guess tokens ahead")] = False,
    beside: Annotated[
        Optional[list[str]],
        typer.Option("--with", help="a model that already runs beside it, in a process of its own; repeat for more", metavar="MODEL[@QUANT][@CTX]"),
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
    nodes: Annotated[
        Optional[str],
        typer.Option(
            "--nodes",
            help="a fleet: what `kubectl get nodes -o json`, `scontrol show nodes --json`, `nvidia-smi --query-gpu=index,name,memory.total --format=csv` "
            "or `runlocal gpus --json` printed; - reads standard input",
            metavar="FILE|-",
        ),
    ] = None,
) -> Outcome:
    """Does it fit: which quantizations at which context lengths, and how far does each go?"""
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
    model: Annotated[str, typer.Argument(help="a bundled id, a Hugging Face repo id, an Ollama tag, or a path", metavar="MODEL")],
    quant: Annotated[
        Optional[str], typer.Option("--quant", "-q", help="quantization [default: Q4_K_M where that is usual, or the file's own]", metavar="Q")
    ] = None,
    ctx: Annotated[Optional[str], typer.Option("--ctx", "-c", help="context of one sequence: 8192, 8k, 128k, max [default: 8k]", metavar="N")] = None,
    parallel: Annotated[int, typer.Option("--parallel", "-n", help="sequences at once, each with that context", metavar="N")] = 1,
    kv: Annotated[Optional[str], typer.Option("--kv", "-k", help="cache type; K:V gives two types [default: f16]", metavar="TYPE")] = None,
    images: Annotated[int, typer.Option("--images", help="images processed at once; 0: tower loaded, none processed", metavar="N")] = 1,
    no_vision: Annotated[bool, typer.Option("--no-vision", help="leave tower, projector and image graph out")] = False,
    runtime: Annotated[Optional[str], typer.Option("--runtime", "-r", help="[default: what loads the model]", metavar="ID[@VERSION]")] = None,
    reserve: Annotated[Optional[str], typer.Option("--reserve", help="memory to leave free per GPU [default: what the runtime leaves]", metavar="SIZE")] = None,
    max_price: Annotated[
        Optional[str], typer.Option("--max-price", help="US dollars for all cards, or the machine: 2500, 2.5k; a range counts by its lower end", metavar="USD")
    ] = None,
    vendor: Annotated[Optional[str], typer.Option("--vendor", help="of these alone: nvidia, amd, intel, apple", metavar="V[,V...]")] = None,
    cards: Annotated[Optional[int], typer.Option("--cards", help="so many of a kind [default: the fewest of 1, 2, 4 and 8 that do]", metavar="N")] = None,
    min_speed: Annotated[Optional[float], typer.Option("--min-speed", help="tokens per second, estimated, at least", metavar="N")] = None,
    compare: Annotated[Optional[str], typer.Option("--compare", help="these machines side by side: 4090,5090,m4-max-64,2x3090", metavar="SPEC,SPEC...")] = None,
    limit: Annotated[Optional[int], typer.Option("--limit", help="rows of the table; 0: all, as machine formats have them [default: 40]", metavar="N")] = None,
    form: FormatOption = "table",
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="print nothing, answer with the exit code")] = False,
) -> Outcome:
    """Which hardware runs it: every card, several of a kind, every Mac, smallest and cheapest first."""
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
    query: Annotated[Optional[list[str]], typer.Argument(help="words in an id, name, family, vendor or alias", metavar="QUERY")] = None,
    form: FormatOption = "table",
    as_json: JsonOption = False,
) -> Outcome:
    """What models do we know?"""
    from runlocal.commands import models as command

    return _listing(command.run(" ".join(query or ())), _format(form, as_json))


def show(
    model: Annotated[str, typer.Argument(help="a bundled id, a Hugging Face repo id or an Ollama tag", metavar="MODEL")],
    gpu: Annotated[Optional[list[str]], typer.Option("--gpu", "-g", help="judge on a machine you do not own: 4090, 2x3090, m4-max-64", metavar="SPEC")] = None,
    vram: Annotated[Optional[str], typer.Option("--vram", help="judge on a budget instead of a card: 24GB, 2x24GB", metavar="SIZE")] = None,
    ram: Annotated[Optional[str], typer.Option("--ram", help="host memory [default: this computer's]", metavar="SIZE")] = None,
    ram_bandwidth: Annotated[Optional[str], typer.Option("--ram-bandwidth", help=_RAM_BANDWIDTH_HELP, metavar="GB/S")] = None,
    runtime: Annotated[Optional[str], typer.Option("--runtime", "-r", help="[default: what loads the model]", metavar="ID[@VERSION]")] = None,
    form: FormatOption = "table",
    as_json: JsonOption = False,
) -> Outcome:
    """What do we know of a model: sizes, what holds it, its family, what is worth comparing, licence, runtimes, and where each fact is from."""
    wanted = _format(form, as_json)
    from runlocal.commands import show as command
    from runlocal.render.formats import page_as

    page = command.run(model, Options(gpu=tuple(gpu or ()), vram=vram, ram=ram, ram_bandwidth=ram_bandwidth, runtime=runtime))
    return Outcome((page_as(wanted, page, _style(), title=_typed()),))


def fit(
    query: Annotated[Optional[list[str]], typer.Argument(help="words in an id, name, family, vendor or alias [default: every model]", metavar="QUERY")] = None,
    quant: Annotated[Optional[str], typer.Option("--quant", "-q", help="quantizations to choose from [default: the usual ones]", metavar="Q[,Q...]")] = None,
    ctx: Annotated[Optional[str], typer.Option("--ctx", "-c", help="context of one sequence that has to fit: 32k, max [default: 8k]", metavar="N")] = None,
    parallel: Annotated[int, typer.Option("--parallel", "-n", help="sequences at once, each with that context", metavar="N")] = 1,
    gpu: Annotated[Optional[list[str]], typer.Option("--gpu", "-g", help="a machine you do not own: 4090, 2x3090, m4-max-64", metavar="SPEC")] = None,
    vram: Annotated[Optional[str], typer.Option("--vram", help="a budget instead of a card: 24GB, 2x24GB", metavar="SIZE")] = None,
    ram: Annotated[Optional[str], typer.Option("--ram", help="host memory [default: this computer's]", metavar="SIZE")] = None,
    ram_bandwidth: Annotated[Optional[str], typer.Option("--ram-bandwidth", help=_RAM_BANDWIDTH_HELP, metavar="GB/S")] = None,
    reserve: Annotated[Optional[str], typer.Option("--reserve", help="memory to leave free per GPU [default: what the runtime leaves]", metavar="SIZE")] = None,
    idle: Annotated[bool, typer.Option("--idle", help="count memory that other processes hold as free")] = False,
    runtime: Annotated[Optional[str], typer.Option("--runtime", "-r", help="[default: what loads each model]", metavar="ID[@VERSION]")] = None,
    kv: Annotated[Optional[str], typer.Option("--kv", "-k", help="cache type; K:V gives two [default: f16]", metavar="TYPE")] = None,
    no_vision: Annotated[bool, typer.Option("--no-vision", help="leave tower, projector and image graph out")] = False,
    family: Annotated[Optional[str], typer.Option("--family", help="families, comma-separated: qwen3,gemma 3", metavar="NAME[,NAME...]")] = None,
    variant: Annotated[
        Optional[str], typer.Option("--variant", help="what they were trained to do: instruct, reasoning, base, embedding, guard", metavar="NAME[,NAME...]")
    ] = None,
    vision: Annotated[bool, typer.Option("--vision", help="only models that see")] = False,
    commercial: Annotated[bool, typer.Option("--commercial", help="only licences that allow commercial use, with conditions or without")] = False,
    min_speed: Annotated[Optional[float], typer.Option("--min-speed", help="tokens per second, by the slower end of the estimate", metavar="N")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every model that fits, not the first 25 alone")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="`tight` is a no")] = False,
    require_gpu: Annotated[bool, typer.Option("--require-gpu", help="no GPU is an error")] = False,
    form: FormatOption = "table",
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="print nothing, answer with the exit code")] = False,
) -> Outcome:
    """Which models run here, each at the finest quantization that fits and how long a context? The largest first."""
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
    query: Annotated[Optional[list[str]], typer.Argument(help="words in the name of a card of the catalogue", metavar="QUERY")] = None,
    everything: Annotated[bool, typer.Option("--all", help="the whole catalogue")] = False,
    doctor: Annotated[bool, typer.Option("--doctor", help="what every way of asking this machine answers, raw, for a bug report")] = False,
    form: FormatOption = "table",
    as_json: JsonOption = False,
) -> Outcome:
    """What is in this machine, and who holds the memory; with a query or --all, the catalogue."""
    wanted = _format(form, as_json)
    from runlocal.commands import gpus as command

    if doctor and (query or everything):
        raise Problem(Code.BAD_VALUE, "--doctor reads this computer, and a query or --all asks the catalogue", hint="ask one at a time")
    found = command.doctor() if doctor else command.run(" ".join(query or ()), everything=everything)
    return _listing(found.listing, wanted)._replace(hints=found.hints)


def options(version: Annotated[bool, typer.Option("--version", help="print the version and the date of the data")] = False) -> None:
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
        raise Problem(Code.BAD_VALUE, f"--format {form[:20]!r} is not a format", hint=f"known: {_FORMAT_HELP}") from None


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
            made.command(name, epilog=_examples(name))(command)
    return made


def _examples(name: str) -> str:
    """A line each; `\\b` keeps help from filling them into a paragraph."""
    return "\n".join(["\b", "Examples:", *(f"  runlocal {name} {words}".rstrip() for words in _EXAMPLES[name])])


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
    hint = "runlocal --help" if near else f"`runlocal check {word[:40]}` asks about a model of that name; `runlocal --help` lists the commands"
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
    hint = f"{command} --help" if context.parent else "options stand behind the command: runlocal check MODEL --gpu 4090"
    return Problem(Code.BAD_VALUE, f"`{command}` has no option {wrong[:40]}", hint=hint, candidates=tuple(dict.fromkeys([*begin, *alike])))


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
