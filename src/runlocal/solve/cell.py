"""One cell: a quantization at one context on one machine, judged."""

from runlocal.core.machine import Machine, Origin
from runlocal.core.part import HOST, Part, gpu, need
from runlocal.core.report import Cell
from runlocal.core.units import gib
from runlocal.core.verdict import Answer, headroom, judge
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.layers import Laid, lay_best, most_layers, with_experts_on_host, with_layers
from runlocal.solve.load import not_looked_at
from runlocal.solve.longest import longest_context


def reserves(runtime: Runtime, workload: Workload, machine: Machine, reserve_bytes: int | None) -> tuple[int, ...]:
    """Bytes to leave free per device: what was asked for, else what the runtime leaves."""
    if reserve_bytes is not None:
        return (reserve_bytes,) * (len(machine.gpus) or 1)
    return runtime.reserves(workload, machine)


def judge_cell(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, reserve_bytes: int | None, refusal: str | None = None) -> Cell:
    """The verdict with everything behind it; `refusal` says why the runtime does not load the model at all."""
    if reason := refusal or runtime.refuses(recipe, workload, machine):
        return _refused(runtime, recipe, workload, machine, reason, priced=refusal is not None)
    left_free = reserves(runtime, workload, machine, reserve_bytes)
    laid = lay_best(runtime, recipe, workload, machine, left_free)
    if machine.origin is Origin.UNLIMITED:
        return _made(runtime, recipe, workload, machine, laid, None, "", left_free, None)
    answer = judge(laid.parts, machine, left_free)
    reason, on_gpus = "", laid.placement.gpu_layers
    if answer is not Answer.DOES_NOT_FIT and machine.gpus and not laid.placement.nothing_on_host:
        answer, reason = Answer.SPILLS, _spilled(laid)
    elif answer is Answer.DOES_NOT_FIT:
        reason = _short_of(laid.parts, machine)
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
    if moved is not None and judge(moved.parts, machine, left_free) is not Answer.DOES_NOT_FIT:
        return moved.placement.gpu_layers, moved
    for layers in range(most if most is not None else -1, -1, -1):
        laid = with_layers(runtime, recipe, workload, machine, layers)
        if judge(laid.parts, machine, left_free) is not Answer.DOES_NOT_FIT:
            return layers, laid
        if need(laid.parts, HOST) > machine.host_bytes:
            return layers, None
    return 0, None


def _spilled(laid: Laid) -> str:
    placement = laid.placement
    total = len(placement.layers) + 1
    if placement.experts_on_host and placement.all_on_gpus:
        return f"all {total} layers on the GPU, their experts in {gib(need(laid.parts, HOST))} of host memory"
    if placement.cache_on_host and placement.all_on_gpus:
        return f"all {total} layers on the GPU, the cache in host memory"
    return f"{placement.gpu_layers} of {total} layers on the GPU, the rest in {gib(need(laid.parts, HOST))} of host memory"


def _short_of(parts: tuple[Part, ...], machine: Machine) -> str:
    left = headroom(parts, machine)
    short = -sum(free for free in left if free < 0)
    if not machine.gpus:
        return f"short of {gib(short)} of memory"
    if not short and machine.host_bytes is not None and need(parts, HOST) > machine.host_bytes:
        return f"short of {gib(need(parts, HOST) - machine.host_bytes)} of host memory"
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
    parts, unlimited = laid.parts, machine.origin is Origin.UNLIMITED
    on_gpus = sum(need(parts, gpu(device.index)) for device in machine.gpus)
    on_host = need(parts, HOST)
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
        need_bytes=on_gpus if machine.gpus else on_host,
        host_need_bytes=on_host,
        usable_bytes=None if unlimited else sum(device.usable_bytes for device in machine.gpus) if machine.gpus else machine.host_bytes,
        reserve_bytes=max(left_free, default=0),
        headroom_bytes=() if unlimited else headroom(parts, machine),
        fits_context_tokens=longest,
        gpu_layers=laid.placement.gpu_layers,
        layers=len(laid.placement.layers) + 1,
        parts=parts,
        command=runtime.command(recipe, laid.workload, laid.placement),
        image_tokens=_image_tokens(runtime, workload),
        draft=runtime.draft_of(workload),
        mtp=workload.mtp,
    )


def _refused(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, reason: str, *, priced: bool) -> Cell:
    """A cell that cannot run. Where only the loading fails, what it would take is priced all the same."""
    placement = runtime.placement(workload, machine)
    laid = Laid(workload, placement, runtime.parts(recipe, workload, placement, machine) if priced else ())
    cell = _made(runtime, recipe, workload, machine, laid, Answer.CANNOT_RUN, reason, (), None)
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
