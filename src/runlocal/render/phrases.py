"""The phrase book: every sentence that more than one renderer says."""

from collections.abc import Sequence
from typing import assert_never

from runlocal.core.errors import Problem
from runlocal.core.machine import Machine
from runlocal.core.model import License, ModelSpec
from runlocal.core.part import HOST, Basis, Kind
from runlocal.core.report import Cell, Check, MachineCheck, Support
from runlocal.core.units import GIB, KIB, context_text, gib, size_text
from runlocal.core.verdict import Answer
from runlocal.render.style import Style, clean

ANSWER_WORDS = {
    Answer.FITS: "fits",
    Answer.TIGHT: "fits, tightly",
    Answer.SPILLS: "with host memory",
    Answer.DOES_NOT_FIT: "does not fit",
    Answer.CANNOT_RUN: "cannot run",
}
LEGEND = {
    Answer.FITS: "fits",
    Answer.TIGHT: "fits, less than the reserve left",
    Answer.SPILLS: "only with host memory, counted in",
    Answer.DOES_NOT_FIT: "does not fit",
    Answer.CANNOT_RUN: "cannot run",
}
BASIS_WORDS = {
    Basis.EXACT: "follows from shapes, block sizes and the allocator's rules",
    Basis.MEASURED: "a constant taken from a named measurement",
    Basis.ESTIMATED: "a fitted term with the range it gives; the answer uses the unsafe end",
}
NOT_READ = "not read"
# What most people would start it in: that one of these does not load a model has to be said before anything else.
_USUAL_RUNTIMES = ("llama.cpp", "ollama")


def gib_number(size: int | None) -> str:
    """GiB without the unit, for where the unit stands beside it."""
    return "?" if size is None else f"{size / GIB:.1f}"


def runtime_text(cell: Cell) -> str:
    """`ollama 0.24.0`."""
    return f"{cell.runtime} {cell.runtime_version}" if cell.runtime_version else cell.runtime


def asked_text(cell: Cell) -> str:
    """`Q4_K_M at 8k context`, and what departs from one sequence of one model."""
    sequences = f" × {cell.sequences} sequences" if cell.sequences != 1 else ""
    beside = f" beside {_and([one.name for one in cell.beside])}" if cell.beside else ""
    return f"{cell.quant} at {context_text(cell.context_tokens)} context{sequences}{beside}"


def answer_sentence(model: ModelSpec, found: MachineCheck) -> str:
    """The answer for one machine in a sentence, runtime and version named."""
    cell, label = found.headline, found.machine.label
    asked, runtime = asked_text(cell), runtime_text(cell)
    of_usable = _gib(cell.need_bytes) + of_usable_text(found)
    # The runtime stands early, so that it is on the first line of a narrow terminal too.
    match cell.answer:
        case None:
            return f"{model.id} needs {_gib(cell.need_bytes)} with {runtime}: {asked}"
        case Answer.FITS:
            return f"{model.id} fits {label} with {runtime}: {asked} needs {of_usable}"
        case Answer.TIGHT:
            keeps = "what the runtime keeps free" if cell.reserve_bytes is None else f"the {gib(cell.reserve_bytes)} that the runtime keeps free"
            return f"{model.id} fits {label} with {runtime}, but tightly: {asked} needs {of_usable} and leaves {_on_tightest(cell)}less than {keeps}"
        case Answer.SPILLS:
            return f"{model.id} fits {label} with {runtime} only by using host memory: {asked} needs {of_usable} on the GPU, with {cell.reason}"
        case Answer.DOES_NOT_FIT:
            return f"{model.id} does not fit {label} with {runtime}: {asked} needs {of_usable}{_where_short(cell, found.machine)}"
        case Answer.CANNOT_RUN:
            return f"{model.id} cannot run on {label} with {runtime} ({asked}): {cell.reason}"
        case _:
            assert_never(cell.answer)


def _on_tightest(cell: Cell) -> str:
    """What is left on the fullest of several GPUs."""
    if len(cell.headroom_bytes) <= 1:
        return ""
    least = min(cell.headroom_bytes)
    return f"{size_text(least)} on GPU {cell.headroom_bytes.index(least)}, "


def of_usable_text(found: MachineCheck) -> str:
    """` of 23.5 usable`, of several GPUs each: ` of 2 × 23.5 usable`, ` of 31.4 + 23.5 usable`; empty where nothing limits them."""
    if found.headline.usable_bytes is None:
        return ""
    sizes: list[tuple[str, int]] = []
    for text in [gib_number(device.usable_bytes) for device in found.machine.gpus]:
        count = sizes.pop()[1] + 1 if sizes and sizes[-1][0] == text else 1
        sizes.append((text, count))
    each = [text if count == 1 else f"{count} × {text}" for text, count in sizes] or [gib_number(found.headline.usable_bytes)]
    return f" of {' + '.join(each)} usable"


def _gib(size: int | None) -> str:
    return "an unknown amount" if size is None else gib(size)


def _where_short(cell: Cell, machine: Machine) -> str:
    """Why a total that would do does not: one device is short of its share."""
    if cell.need_bytes is None or cell.usable_bytes is None or cell.need_bytes > cell.usable_bytes:
        return ""
    if short := [f"GPU {index} is short of {size_text(-left)}" for index, left in enumerate(cell.headroom_bytes) if left < 0]:
        return f", but {_and(short)}"
    if machine.gpus and machine.host_bytes is not None and (cell.host_need_bytes or 0) > machine.host_bytes:
        return f", but {_gib(cell.host_need_bytes)} of {gib_number(machine.host_bytes)} in host memory"
    if more := sum(part.margin_bytes for part in cell.parts if part.device != HOST):
        return f", and what is estimated may take {size_text(more)} more"
    return ""


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def several_machines_sentence(check: Check) -> str:
    """How many of several machines run it."""
    yes = [found.machine.label for found in check.machines if found.headline.answer in (Answer.FITS, Answer.TIGHT)]
    runtimes = dict.fromkeys(runtime_text(found.headline) for found in check.machines)
    count = len(check.machines)
    where = f": {_and(yes)}" if yes else ""
    return f"{check.model.id} fits {len(yes) or 'none'} of {count} machines with {', '.join(runtimes)}{where}"


def several_models_sentence(checks: Sequence[Check]) -> str:
    """How many of several models run on the machines asked about."""
    yes = [check.model.id for check in checks if check.answer in (Answer.FITS, Answer.TIGHT)]
    labels = list(dict.fromkeys(found.machine.label for check in checks for found in check.machines))
    runtimes = dict.fromkeys(runtime_text(found.headline) for check in checks for found in check.machines)
    where = labels[0] if len(labels) == 1 else f"at least one of {len(labels)} machines"
    count = f"{len(yes)} of {len(checks)} models" if yes else f"none of {len(checks)} models"
    return f"{count} {'fit' if len(yes) > 1 else 'fits'} {where} with {', '.join(runtimes)}"


def usual_runtimes_sentence(runtimes: Sequence[Support]) -> str | None:
    """That the runtimes most people have do not load the model, and which do; None where they do."""
    deaf = [support for support in runtimes if support.id in _USUAL_RUNTIMES and support.loads is False]
    if not deaf:
        return None
    sentences = [
        f"{support.name} does not load this model (checked up to {support.newest_known})"
        if support.versions is None
        else f"{support.name} loads it in {support.versions_text} only, not in {support.newest_known}, the newest"
        for support in deaf
    ]
    loads = [support.name for support in runtimes if support.loads]
    today = f"Loads it today: {', '.join(loads)}" if loads else "No runtime that we know loads it today"
    return f"{'; '.join(sentences)}. {today}."


def support_text(support: Support) -> str:
    """What a runtime says to a model, after its name."""
    looked = f"checked up to {support.newest_known}"
    match support.loads:
        case True:
            return f"{support.versions_text} ({looked})" if support.versions else f"loads it (checked in {support.newest_known})"
        case False:
            return f"{support.versions_text} only ({looked})" if support.versions else f"does not load it ({looked})"
        case None:
            return f"not known (newest: {support.newest_known})"


def license_text(license: License, gated: bool | None) -> str:
    """The licence in a sentence: what it allows, the condition that bites most, whether the download is gated, where its text is."""
    commercial = "nobody here has read it for commercial use" if license.commercial == NOT_READ else f"commercial use: {license.commercial}"
    words = [f"{license.name}; {commercial}", *license.conditions[:1], *(("gated download",) if gated else ())]
    where = f" ({license.url}{f', read {license.checked}' if license.checked else ''})" if license.url else ""
    return "; ".join(words) + where


def settings_text(cell: Cell) -> str:
    """What was asked beside quantization and context."""
    cache = cell.cache_type_k if cell.cache_type_k == cell.cache_type_v else f"K {cell.cache_type_k}, V {cell.cache_type_v}"
    others = tuple(f"{one.model}: " for one in cell.beside)
    sees = any(part.kind is Kind.VISION and not part.label.startswith(others) for part in cell.parts)
    images = [_count(cell.images, "image")] if sees else []
    words = [_count(cell.sequences, "sequence"), *images, f"cache {cache}"]
    if cell.batch_tokens is not None:
        words.append(f"{cell.batch_tokens} tokens per step")
    if cell.flash_attention is not None:
        words.append(f"flash attention {'on' if cell.flash_attention else 'off'}")
    if cell.draft is not None:
        words.append(f"draft {cell.draft}")
    if cell.mtp:
        words.append("next-token layers guess ahead")
    return " · ".join(words)


def speed_text(cell: Cell, *, explain: bool = False) -> str:
    """How fast tokens come, or why that is not known; nothing of an answer that is no yes."""
    if cell.speed is not None:
        because = f": {cell.speed.because}" if explain else ""
        return f"{cell.speed.text} tokens per second, {cell.speed.basis}, for one sequence whose context is full{because}"
    return f"No speed is estimated: {cell.speed_unknown}" if cell.speed_unknown else ""


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def longest_text(tokens: int | None) -> str:
    """The longest context that fits, in whole k (1024) and rounded down: `51k`, `none`, `?`."""
    return "?" if tokens is None else f"{tokens // KIB}k" if tokens >= KIB else "none" if tokens == 0 else str(tokens)


def problem_text(problem: Problem, style: Style = Style()) -> str:  # noqa: B008 (immutable)
    """What is wrong, what exists that is near, what to do: a line each, harmless whatever a file was called."""
    lines = [f"error: {problem.message}"]
    if problem.candidates:
        lines += ["did you mean:", *(f"  {candidate}" for candidate in problem.candidates)]
    if problem.hint:
        lines.append(f"hint: {problem.hint}")
    return "\n".join(clean(line, style) for line in lines)
