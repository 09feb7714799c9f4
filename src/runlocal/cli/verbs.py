"""The commands: options in, what it comes to out."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runlocal.cli import arguments as typed
from runlocal.cli.outcome import Outcome
from runlocal.cli.terminal import style, tell, title
from runlocal.commands.options import Options, dollars
from runlocal.core.errors import Code, Exit, Problem
from runlocal.render.formats import FOR_PEOPLE, Format

if TYPE_CHECKING:
    from runlocal.core.listing import Listing, Page


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
    return Outcome((checks_as(wanted, found.checks, style(), explain=explain, title=title()),), lambda: found.exit, hints)


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

    options = Options(quant=quant, ctx=ctx, parallel=parallel, kv=kv, images=images, vision=not no_vision, runtime=runtime, reserve=reserve)
    found = command.run(model, options, command.Wanted(dollars("--max-price", max_price), vendor, cards, min_speed, compare, limit))
    outcome = Outcome((), lambda: found.exit)
    return outcome if quiet else outcome._replace(texts=(_page(wanted_form, found.page, found.whole, found.whole.listings[0]),), hints=found.hints)


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
    return Outcome((page_as(wanted, page, style(), title=title()),))


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
    found = command.run(asked, options, tell, most=most, for_people=for_people or quiet)
    if quiet:
        return Outcome((), lambda: found.exit)
    if wanted is Format.JSON:
        return Outcome((page_as(wanted, found.whole, style()),), lambda: found.exit, found.hints)
    return Outcome((listing_as(wanted, found.shown if for_people else found.all, style(), title=title()),), lambda: found.exit, found.hints)


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


def _listing(listing: "Listing", form: Format) -> Outcome:
    from runlocal.render.formats import listing_as

    return Outcome((listing_as(form, listing, style(), title=title()),), lambda: Exit.YES if listing.rows else Exit.NO)


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

    if path == "-" and sys.stdin is None:
        raise Problem(Code.BAD_FILE, "there is no standard input", hint="--nodes takes a file, or - for standard input")
    found = command.run(models, options, path, sys.stdin.buffer if path == "-" else None)
    outcome = Outcome((), lambda: found.exit)
    return outcome if quiet else outcome._replace(texts=(_page(form, found.page, found.whole, found.nodes),))


def _page(form: Format, page: "Page", whole: "Page", rows: "Listing") -> str:
    """What people read; all of it as JSON; where only rows go, its rows."""
    from runlocal.render.formats import listing_as, page_as

    if form in (Format.CSV, Format.TSV, Format.NDJSON):
        return listing_as(form, rows, style(), title=title())
    return page_as(form, whole if form is Format.JSON else page, style(), title=title())


def _format(form: str, as_json: bool) -> Format:
    if as_json:
        return Format.JSON
    try:
        return Format(form.lower())
    except ValueError:
        raise Problem(Code.BAD_VALUE, f"--format {form[:20]!r} is not a format", hint=f"known: {typed.FORMATS}") from None
