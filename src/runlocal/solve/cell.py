"""One cell: a quantization at one context on one machine, judged."""

from runlocal.architectures import has_gguf
from runlocal.core.load import Load, load_of
from runlocal.core.machine import Machine, Origin
from runlocal.core.noun import NamedTuple
from runlocal.core.report import Cell, Spread
from runlocal.core.speed import Speed
from runlocal.core.units import gib, size_text
from runlocal.core.verdict import Answer, headroom, judge
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Judgeable, Runtime, is_priced
from runlocal.solve.beside import in_one_server, neighbours
from runlocal.solve.longest import longest_context
from runlocal.solve.spill import best_spill
from runlocal.solve.split import Laid, lay_best
from runlocal.solve.support import not_looked_at


class Judged(NamedTuple):
    """A cell's figures, without its parts and its words: enough for a scan over many.

    refusal: why it cannot run, one sentence; else empty
    answer: None on an unlimited machine
    laid: where everything lies, and what it takes; None where it was refused
    left_free: bytes to leave free per device
    """

    refusal: str
    answer: Answer | None
    laid: Laid | None
    left_free: tuple[int, ...]


def reserves(runtime: Judgeable, workload: Workload, machine: Machine, reserve_bytes: int | None) -> tuple[int, ...]:
    """Bytes to leave free per device: what was asked for, else what the runtime leaves."""
    if reserve_bytes is not None:
        return (reserve_bytes,) * (len(machine.gpus) or 1)
    return runtime.reserves(workload, machine)


def answer_of(runtime: Judgeable, recipe: Recipe, workload: Workload, machine: Machine, reserve_bytes: int | None, refusal: str | None = None) -> Judged:
    """The verdict, but that a no may still spill into host memory."""
    if reason := refusal or runtime.refuses(recipe, workload, machine):
        return Judged(reason, Answer.CANNOT_RUN, None, ())
    left_free = reserves(runtime, workload, machine, reserve_bytes)
    laid = lay_best(runtime, recipe, workload, machine, left_free)
    if machine.origin is Origin.UNLIMITED:
        return Judged("", None, laid, left_free)
    answer = judge(laid.load, machine, left_free)
    if answer is not Answer.DOES_NOT_FIT and machine.gpus and not laid.placement.nothing_on_host:
        answer = Answer.SPILLS
    return Judged("", answer, laid, left_free)


def judge_cell(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, reserve_bytes: int | None, refusal: str | None = None) -> Cell:
    """The verdict with everything behind it; `refusal` says why the runtime does not load the model at all."""
    refused, answer, laid, left_free = answer_of(runtime, recipe, workload, machine, reserve_bytes, refusal)
    if laid is None:
        return _refused(runtime, recipe, workload, machine, refused, priced=refusal is not None and has_gguf(runtime.model))
    if answer is None:
        return _made(runtime, recipe, workload, machine, laid, None, "", left_free, None)
    reason, on_gpus = "", laid.placement.gpu_layers
    if answer is Answer.SPILLS:
        reason = _spilled(laid)
    elif answer is Answer.DOES_NOT_FIT:
        reason = _short_of(laid.load, machine)
        if machine.gpus and workload.gpu_layers is None:
            on_gpus, spilled = best_spill(runtime, recipe, workload, machine, left_free)
            if spilled is not None:
                laid, answer, reason = spilled, Answer.SPILLS, _spilled(spilled)
    longest = longest_context(runtime, recipe, workload._replace(context_tokens=0, pool_tokens=None), machine, left_free)
    return _made(runtime, recipe, workload, machine, laid, answer, reason, left_free, longest)._replace(gpu_layers=on_gpus)


def _spilled(laid: Laid) -> str:
    placement, total = laid.placement, len(laid.placement.layers) + 1
    on_gpus = f"all {total} layers" if placement.all_on_gpus else f"{placement.gpu_layers} of {total} layers"
    moved = [] if placement.all_on_gpus else ["the rest"]
    if placement.host_experts:
        of_all = placement.host_experts == len(placement.layers)
        moved.append("the experts" + ("" if of_all else f" of the first {placement.host_experts}"))
    if placement.cache_on_host:
        moved.append("the cache")
    return f"{on_gpus} on the GPU, {' and '.join(moved)} in {gib(laid.load.host)} of host memory"


def _short_of(load: Load, machine: Machine) -> str:
    left = headroom(load, machine)
    short = -sum(free for free in left if free < 0)
    if short and not machine.gpus:
        return f"short of {gib(short)} of memory"
    if not short and machine.gpus and machine.host_bytes is not None and load.host + load.host_margin > machine.host_bytes:
        return f"short of {gib(load.host + load.host_margin - machine.host_bytes)} of host memory"
    if not short:
        margins = load.gpu_margins if machine.gpus else (load.host_margin,)
        where, _ = min(enumerate(zip(left, margins, strict=True)), key=lambda one: one[1][0] - one[1][1])
        place = "host memory" if not machine.gpus else f"GPU {where}"
        return f"{place} has {size_text(left[where])} left, and what is estimated there may take {size_text(margins[where])} more"
    over = sum(free < 0 for free in left)
    return f"short of {gib(short)}" + ("" if len(left) == 1 else f" on {over} of {len(left)} cards")


def _made(
    runtime: Runtime,
    recipe: Recipe,
    workload: Workload,
    machine: Machine,
    laid: Laid,
    answer: Answer | None,
    reason: str,
    left_free: tuple[int, ...],
    longest: int | None,
) -> Cell:
    batch, flash = runtime.step(workload, laid.placement)
    others = neighbours(runtime, machine)
    unlimited = machine.origin is Origin.UNLIMITED
    fast = _speed(runtime, recipe, machine, laid, answer)
    return Cell(
        quant=recipe.name,
        runtime=runtime.id,
        runtime_version=runtime.version,
        context_tokens=workload.context_tokens,
        sequences=workload.sequences,
        images=workload.images_of(runtime.model),
        cache_type_k=workload.cache_type_k,
        cache_type_v=workload.cache_type_v,
        batch_tokens=batch,
        flash_attention=flash,
        answer=answer,
        reason=reason,
        warnings=(*not_looked_at(runtime), *runtime.warnings(workload), *_taken_by_images(runtime, workload), *machine.notes),
        bits_per_weight=round(runtime.bits_per_weight(recipe), 4),
        tensor_bytes=runtime.tensor_bytes(recipe),
        need_bytes=sum(laid.load.gpus) if machine.gpus else laid.load.host,
        host_need_bytes=laid.load.host,
        usable_bytes=None if unlimited else machine.usable_bytes,
        reserve_bytes=max(left_free, default=0),
        headroom_bytes=() if unlimited else headroom(laid.load, machine),
        fits_context_tokens=longest,
        gpu_layers=laid.placement.gpu_layers,
        layers=len(laid.placement.layers) + 1,
        parts=() if answer is Answer.CANNOT_RUN else runtime.parts(recipe, laid.workload, laid.placement, machine),
        command=None if answer in (Answer.DOES_NOT_FIT, Answer.CANNOT_RUN) else in_one_server(runtime.command(recipe, laid.workload, laid.placement), others),
        image_tokens=_image_tokens(runtime, workload),
        draft=runtime.draft_of(workload),
        mtp=workload.mtp,
        beside=others,
        spread=Spread(laid.placement.ranges, laid.placement.output, laid.placement.host_experts, laid.placement.cache_on_host),
        speed=fast if isinstance(fast, Speed) else None,
        speed_unknown=fast if isinstance(fast, str) else "",
    )


def _speed(runtime: Runtime, recipe: Recipe, machine: Machine, laid: Laid, answer: Answer | None) -> Speed | str:
    """The speed of what runs somehow, or why it is not known; empty of what does not run."""
    if answer not in (Answer.FITS, Answer.TIGHT, Answer.SPILLS):
        return ""
    from runlocal.solve.speed import estimate  # a no has none

    return estimate(runtime, recipe, laid.workload, laid.placement, machine)


def _refused(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, reason: str, *, priced: bool) -> Cell:
    """A cell that cannot run. Where only the loading fails, what it would take is priced all the same, but not a file that there is not."""
    if not is_priced(runtime.id):
        from runlocal.solve.unpriced import refused

        return refused(runtime, recipe, workload, machine, reason)
    placement = runtime.placement(workload, machine)
    parts = runtime.parts(recipe, workload, placement, machine) if priced else ()
    laid = Laid(workload, placement, load_of(parts, len(machine.gpus)))
    cell = _made(runtime, recipe, workload, machine, laid, Answer.CANNOT_RUN, reason, (), None)._replace(parts=parts)
    if priced:
        return cell
    cell = cell._replace(need_bytes=None, host_need_bytes=None, reserve_bytes=None, headroom_bytes=(), gpu_layers=None, spread=None)
    return cell if has_gguf(runtime.model) else cell._replace(bits_per_weight=None, tensor_bytes=None)


def _image_tokens(runtime: Runtime, workload: Workload) -> tuple[int, int] | None:
    images = workload.images_of(runtime.model)
    return runtime.image_tokens(images, workload.image_size) if images else None


def _taken_by_images(runtime: Runtime, workload: Workload) -> tuple[str, ...]:
    """How much of the context images take, where they take any."""
    images, tokens = workload.images_of(runtime.model), _image_tokens(runtime, workload)
    if tokens is None or not tokens[1]:
        return ()
    least, most = tokens
    each = "" if workload.image_size is None or least != most else " of {:,} × {:,}".format(*workload.image_size)
    range_text = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    full = ", more than it holds" if least > workload.context_tokens else ""
    taken = f"{images} image{'s' if images > 1 else ''}{each} take{'' if images > 1 else 's'} {range_text}"
    return (f"{taken} of the {workload.context_tokens:,} tokens of context{full}.",)
