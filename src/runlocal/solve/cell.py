"""One cell: a quantization at one context on one machine, judged."""

from runlocal.core.load import Load, load_of
from runlocal.core.machine import Machine, Origin
from runlocal.core.noun import NamedTuple
from runlocal.core.report import Cell
from runlocal.core.units import gib
from runlocal.core.verdict import Answer, headroom, judge
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.layers import Laid, lay_best, most_layers, with_experts_on_host, with_layers
from runlocal.solve.load import not_looked_at
from runlocal.solve.longest import longest_context


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


def reserves(runtime: Runtime, workload: Workload, machine: Machine, reserve_bytes: int | None) -> tuple[int, ...]:
    """Bytes to leave free per device: what was asked for, else what the runtime leaves."""
    if reserve_bytes is not None:
        return (reserve_bytes,) * (len(machine.gpus) or 1)
    return runtime.reserves(workload, machine)


def answer_of(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, reserve_bytes: int | None, refusal: str | None = None) -> Judged:
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
        return _refused(runtime, recipe, workload, machine, refused, priced=refusal is not None)
    if answer is None:
        return _made(runtime, recipe, workload, machine, laid, None, "", left_free, None)
    reason, on_gpus = "", laid.placement.gpu_layers
    if answer is Answer.SPILLS:
        reason = _spilled(laid)
    elif answer is Answer.DOES_NOT_FIT:
        reason = _short_of(laid.load, machine)
        if machine.gpus and workload.gpu_layers is None:
            on_gpus, spilled = _spill(runtime, recipe, workload, machine, laid, left_free)
            if spilled is not None:
                laid, answer, reason = spilled, Answer.SPILLS, _spilled(spilled)
    longest = longest_context(runtime, recipe, workload._replace(context_tokens=0, pool_tokens=None), machine, left_free)
    return _made(runtime, recipe, workload, machine, laid, answer, reason, left_free, longest)._replace(gpu_layers=on_gpus)


def _spill(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, full: Laid, left_free: tuple[int, ...]) -> tuple[int, Laid | None]:
    """The most layers that fit on the GPUs; and what lies where then, if host memory may take the rest and does.

    Experts go to the host before whole layers do: few of them are read for a token.
    """
    most = most_layers(runtime, recipe, workload, machine, full)
    if machine.host_bytes is None:
        return most or 0, None
    moved = with_experts_on_host(runtime, recipe, workload, machine)
    if moved is not None and judge(moved.load, machine, left_free) is not Answer.DOES_NOT_FIT:
        return moved.placement.gpu_layers, moved
    for layers in range(most if most is not None else -1, -1, -1):
        laid = with_layers(runtime, recipe, workload, machine, layers)
        if judge(laid.load, machine, left_free) is not Answer.DOES_NOT_FIT:
            return layers, laid
        if laid.load.host > machine.host_bytes:
            return layers, None
    return 0, None


def _spilled(laid: Laid) -> str:
    placement = laid.placement
    total = len(placement.layers) + 1
    if placement.host_experts and placement.all_on_gpus:
        return f"all {total} layers on the GPU, their experts in {gib(laid.load.host)} of host memory"
    if placement.cache_on_host and placement.all_on_gpus:
        return f"all {total} layers on the GPU, the cache in host memory"
    return f"{placement.gpu_layers} of {total} layers on the GPU, the rest in {gib(laid.load.host)} of host memory"


def _short_of(load: Load, machine: Machine) -> str:
    left = headroom(load, machine)
    short = -sum(free for free in left if free < 0)
    if not machine.gpus:
        return f"short of {gib(short)} of memory"
    if not short and machine.host_bytes is not None and load.host > machine.host_bytes:
        return f"short of {gib(load.host - machine.host_bytes)} of host memory"
    if not short:
        return "within the margin of what is estimated"
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
    unlimited = machine.origin is Origin.UNLIMITED
    return Cell(
        quant=recipe.name,
        runtime=runtime.id,
        runtime_version=runtime.version,
        context_tokens=workload.context_tokens,
        sequences=workload.sequences,
        images=_images(runtime, workload),
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
        usable_bytes=None if unlimited else sum(device.usable_bytes for device in machine.gpus) if machine.gpus else machine.host_bytes,
        reserve_bytes=max(left_free, default=0),
        headroom_bytes=() if unlimited else headroom(laid.load, machine),
        fits_context_tokens=longest,
        gpu_layers=laid.placement.gpu_layers,
        layers=len(laid.placement.layers) + 1,
        parts=() if answer is Answer.CANNOT_RUN else runtime.parts(recipe, laid.workload, laid.placement, machine),
        command=runtime.command(recipe, laid.workload, laid.placement),
        image_tokens=_image_tokens(runtime, workload),
        draft=runtime.draft_of(workload),
        mtp=workload.mtp,
    )


def _refused(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, reason: str, *, priced: bool) -> Cell:
    """A cell that cannot run. Where only the loading fails, what it would take is priced all the same."""
    placement = runtime.placement(workload, machine)
    parts = runtime.parts(recipe, workload, placement, machine) if priced else ()
    laid = Laid(workload, placement, load_of(parts, len(machine.gpus)))
    cell = _made(runtime, recipe, workload, machine, laid, Answer.CANNOT_RUN, reason, (), None)._replace(parts=parts)
    if priced:
        return cell._replace(command=None)
    return cell._replace(need_bytes=None, host_need_bytes=None, reserve_bytes=None, headroom_bytes=(), gpu_layers=None, command=None)


def _images(runtime: Runtime, workload: Workload) -> int:
    return workload.images if runtime.model.vision is not None and workload.vision else 0


def _image_tokens(runtime: Runtime, workload: Workload) -> tuple[int, int] | None:
    images = _images(runtime, workload)
    return runtime.image_tokens(images, workload.image_size) if images else None


def _taken_by_images(runtime: Runtime, workload: Workload) -> tuple[str, ...]:
    """How much of the context images take, where they take any."""
    images, tokens = _images(runtime, workload), _image_tokens(runtime, workload)
    if tokens is None or not tokens[1]:
        return ()
    least, most = tokens
    each = "" if workload.image_size is None or least != most else " of {:,} × {:,}".format(*workload.image_size)
    range_text = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    full = ", more than it holds" if least > workload.context_tokens else ""
    taken = f"{images} image{'s' if images > 1 else ''}{each} take{'' if images > 1 else 's'} {range_text}"
    return (f"{taken} of the {workload.context_tokens:,} tokens of context{full}.",)
