"""`runlocal check --batch`: one request per line in, one answer per line out, in order; a bad line never stops the stream."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from runlocal.catalog.gpus import unlisted_context
from runlocal.catalog.machines import parse_machine
from runlocal.commands.machines import noted, one_machine
from runlocal.commands.options import BOUNDS, RAM_GB_S, Options, bandwidth, cache_type, cache_types, image_size, read, shares, size
from runlocal.commands.unused import of_files, of_model, on_machines, typed
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.machine import MOST_DEVICES, Gpu, Machine, Origin
from runlocal.core.report import Cell
from runlocal.core.units import GB, LARGEST_SIZE
from runlocal.core.verdict import is_yes
from runlocal.core.workload import Workload
from runlocal.render.json import cell_json, error_json
from runlocal.runtimes import Runtime
from runlocal.solve.asked import HEADLINE_TOKENS, Asked
from runlocal.solve.beside import beside
from runlocal.solve.cell import judge_cell
from runlocal.solve.grid import cells, contexts, headline, headline_quant
from runlocal.solve.opening import open_for
from runlocal.solve.support import does_not_load

LONGEST_LINE = 1 << 20
_KEYS = frozenset(
    "id model quant imatrix runtime gpu vram_bytes gpus compute_capability ram_bytes ram_bandwidth_bytes context_tokens pool_tokens sequences unified_kv "
    "images image_size vision mmproj_type cache_type_k cache_type_v batch_tokens output_tokens flash_attention kv_offload gpu_layers "
    "cpu_moe n_cpu_moe tensor_split swa_full tensor_parallel pipeline_parallel draft draft_quant mtp with".split()
)
_MMPROJ_TYPES = ("F16", "BF16", "Q8_0")
_UNLIMITED_BYTES = LARGEST_SIZE
_BOUNDS = BOUNDS | {
    "ram_bytes": (0, LARGEST_SIZE),
    "vram_bytes": (1, LARGEST_SIZE),
    "gpus": (0, MOST_DEVICES),
    "ram_bandwidth_bytes": (int(RAM_GB_S[0] * GB), RAM_GB_S[1] * GB),
}
_OF_A_BUDGET = ("vram_bytes", "gpus", "compute_capability")
_OF_THIS_COMPUTER = ("idle", "ignore_pid", "require_gpu")
_MOST_CAPABILITY = 100

Request = dict[str, Any]


class Batch:
    """A stream of requests under the options given beside it."""

    def __init__(self, options: Options) -> None:
        """Raises Problem where an option stands beside the stream that no line could take."""
        self.asked: Asked = read(options)
        _check_options(options, self.asked)
        self.given = bool(options.gpu or options.vram)
        self.machine = one_machine(options, "a line of a batch").machine if self.given else None
        self.ram = size("--ram", options.ram)
        self.ram_bandwidth = bandwidth("--ram-bandwidth", options.ram_bandwidth)
        self.exit = Exit.YES
        self._opened: dict[tuple[object, ...], Runtime] = {}
        self._draft = options.draft
        self._beside = options.beside

    def answers(self, lines: Iterable[str]) -> Iterator[str]:
        """One line of JSON per line that is not blank; `exit` tells the worst of them."""
        for line in lines:
            if not line.strip():
                continue
            request: Request = {}
            try:
                request = _parsed(line)
                _check_keys(request)
                runtime, cell = self._answer({key: value for key, value in request.items() if value is not None})
            except Problem as problem:
                self.exit = Exit.CANNOT_ANSWER
                yield error_json(problem, request.get("id"))
                continue
            if cell.answer is not None and not is_yes(cell.answer, strict=self.asked.strict, offload=self.asked.offload) and self.exit is Exit.YES:
                self.exit = Exit.NO
            yield cell_json(request.get("id"), runtime.model.id, cell)

    def _answer(self, request: Request) -> tuple[Runtime, Cell]:
        runtime = self._runtime(request)
        machine = self._machine(request, runtime)
        rate = _count(request, "ram_bandwidth_bytes")
        machine = machine._replace(host_bandwidth_bytes=self.ram_bandwidth if rate is None else rate)
        cell = self._cell(request, runtime, machine)
        return runtime, cell._replace(warnings=(*cell.warnings, *_unused(request, cell, runtime, machine)))

    def _cell(self, request: Request, runtime: Runtime, machine: Machine) -> Cell:
        asked = self.asked
        kinds = cache_types(runtime.id, runtime.version)
        key_type, value_type = (cache_type("--kv", kind, kinds) for kind in asked.caches[0])  # a line's runtime may be another than that of --kv
        tokens = contexts(runtime, asked)[0] if asked.contexts else min(HEADLINE_TOKENS, runtime.model.context.native_tokens)
        base = asked.workload._replace(cache_type_k=key_type, cache_type_v=value_type, context_tokens=tokens)
        workload = _workload(request, base, kinds)
        if "quant" not in request and asked.quants is None and machine.origin is not Origin.UNLIMITED:
            # The quantization is left open: the finest that fits, as `check` has it.
            column = asked._replace(
                workload=workload,
                contexts=(workload.context_tokens,),
                caches=((workload.cache_type_k, workload.cache_type_v),),
                imatrix=_flag(request, "imatrix", asked.imatrix),
            )
            return headline(cells(runtime, column, machine), column, contexts(runtime, column))
        quant = _text(request, "quant") or (asked.quants[0] if asked.quants else headline_quant(runtime))
        recipe = runtime.recipe(quant, _flag(request, "imatrix", asked.imatrix))
        return judge_cell(runtime, recipe, workload, machine, asked.reserve_bytes, does_not_load(runtime.model, runtime))

    def _runtime(self, request: Request) -> Runtime:
        from runlocal.catalog.runtimes import find_runtime
        from runlocal.commands.check import draft_named, open_model, parted, running

        name, draft, quant = _text(request, "runtime"), _text(request, "draft"), _text(request, "draft_quant")
        if draft is None and self._draft is not None:
            draft = parted(self._draft)[0] if quant else self._draft
        if quant and not draft:
            raise Problem(Code.BAD_VALUE, "draft_quant is the quantization of a draft model, and no `draft` is named")
        others = _texts(request, "with") or self._beside
        tokens = _count(request, "context_tokens") if others else None
        key = (request["model"], name, draft, quant, others, tokens)
        if key not in self._opened:
            runtime, version = find_runtime(name) if name and name != "auto" else (self.asked.runtime, self.asked.version)
            opened = open_model(request["model"])
            drafting = draft_named(draft, quant, self.asked) if draft else None
            alone = open_for(opened.model, runtime, version, opened.own, drafting)
            asked = self.asked._replace(runtime=runtime, version=version)
            self._opened[key] = beside(alone, running(others, asked._replace(contexts=(tokens,)) if tokens else asked))
        return self._opened[key]

    def _machine(self, request: Request, runtime: Runtime) -> Machine:
        ram = _count(request, "ram_bytes")
        ram = self.ram if ram is None else ram
        gpus = _count(request, "gpus")
        if gpus == 0:
            return Machine(origin=Origin.UNLIMITED if ram is None else Origin.BUDGET, label="CPU", gpus=(), host_bytes=ram)
        if name := _text(request, "gpu"):
            machine = parse_machine(name)
            if not machine.gpus and ram is None:
                raise Problem(Code.BAD_VALUE, f"{name!r} has host memory alone, and how much is not said", hint='"ram_bytes": 68719476736')
            return noted(machine if ram is None else machine._replace(host_bytes=ram))
        vram = _count(request, "vram_bytes")
        capability = request.get("compute_capability")
        if vram is None and self.machine is not None:
            return self.machine if ram is None else self.machine._replace(host_bytes=ram)
        origin = Origin.UNLIMITED if vram is None else Origin.BUDGET
        ranks = (_count(request, "tensor_parallel") or 1) * (_count(request, "pipeline_parallel") or 1)
        number = gpus or (ranks if vram is None else 1)
        if number > MOST_DEVICES:
            raise Problem(Code.BAD_VALUE, f"{number} GPUs are more than the {MOST_DEVICES} that are computed")
        return Machine(
            origin=origin,
            label="unlimited" if vram is None else f"{number} GPUs",
            gpus=tuple(
                Gpu(
                    index=index,
                    id=None,
                    name="budget",
                    memory_bytes=vram or _UNLIMITED_BYTES,
                    context_bytes=unlisted_context(vram or _UNLIMITED_BYTES),
                    compute_capability=_capability(capability),
                )
                for index in range(number)
            ),
            host_bytes=ram,
        )


def _check_options(options: Options, asked: Asked) -> None:
    """What stands beside the stream is every line's default, so a line has to be able to take it. Raises Problem."""
    given = typed(options)
    for field in _OF_THIS_COMPUTER:
        if field in given:
            raise Problem(Code.BAD_VALUE, f"{given[field]} is about this computer, and a batch asks about machines that are named", hint="leave it out")
    for option, values in (("--quant", asked.quants), ("--ctx", asked.contexts), ("--kv", asked.caches)):
        if values is not None and len(values) > 1:
            raise Problem(Code.BAD_VALUE, f"{option}: a line of a batch is asked about one value", hint="write a line for each")


def _unused(request: Request, cell: Cell, runtime: Runtime, machine: Machine) -> tuple[str, ...]:
    """What the line asks for and has nothing to act on, a sentence each."""
    workload = _workload(request, Workload(context_tokens=cell.context_tokens), cache_types(runtime.id, runtime.version))
    given = {key: key for key in request if getattr(workload, key, None) != Workload._field_defaults.get(key)}
    given |= {"ram": "ram_bytes"} if request.get("ram_bytes") is not None else {}
    named = [key for key in _OF_A_BUDGET if key in request and "gpu" in request and request.get("gpus") != 0]
    return (
        *(f"{key}: `gpu` names the machine, so it changes nothing." for key in named),
        *on_machines(given, workload, (machine,)),
        *of_model(given, runtime.model, workload),
        *of_files({"imatrix": "imatrix"} if "imatrix" in request and cell.tensor_bytes is not None else {}, (cell.quant,), runtime),
    )


def _parsed(line: str) -> Request:
    """The request of a line: an object, or a bare name."""
    if len(line) > LONGEST_LINE:
        raise Problem(Code.BAD_VALUE, f"a line of more than {LONGEST_LINE:,} characters is not read")
    text = line.strip()
    if not text.startswith(("{", "[", '"')):
        return {"model": text}
    try:
        request = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Problem(Code.BAD_VALUE, f"this line is no JSON: {error}", hint="one object per line, or a bare model name") from None
    if not isinstance(request, dict):
        raise Problem(Code.BAD_VALUE, "a request is an object with a `model`", hint='{"model": "llama-3.1-8b", "gpu": "rtx-4090"}')
    return request


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no number that a computer holds")
    return value


def _check_keys(request: Request) -> None:
    if not isinstance(request.get("model"), str):
        raise Problem(Code.BAD_VALUE, "a request is an object with a `model`", hint='{"model": "llama-3.1-8b", "gpu": "rtx-4090"}')
    if unknown := sorted(set(request) - _KEYS):
        raise Problem(Code.BAD_VALUE, f"unknown key {unknown[0][:40]!r}", hint=f"known: {', '.join(sorted(_KEYS))}")


def _workload(request: Request, base: Workload, kinds: tuple[str, ...]) -> Workload:
    """The base with what the request says; `kinds` are the names of cache types."""
    changed: dict[str, Any] = {}
    for key in BOUNDS:
        changed[key] = _count(request, key)
    for key in ("unified_kv", "vision", "flash_attention", "kv_offload", "cpu_moe", "swa_full", "mtp"):
        changed[key] = _flag(request, key, None)
    changed["drafting"] = True if _text(request, "draft") else None
    for key in ("cache_type_k", "cache_type_v"):
        text = _text(request, key)
        changed[key] = cache_type(key, text, kinds) if text else None
    if (pixels := _text(request, "image_size")) is not None:
        changed["image_size"] = image_size("image_size", pixels)
    if (split := request.get("tensor_split")) is not None:
        changed["tensor_split"] = shares("tensor_split", split if isinstance(split, list) else [split])
    if (projector := _text(request, "mmproj_type")) is not None:
        if projector.upper() not in _MMPROJ_TYPES:
            raise Problem(Code.BAD_VALUE, f"mmproj_type {projector[:20]!r} is not a type of a projector file", hint=f"known: {', '.join(_MMPROJ_TYPES)}")
        changed["mmproj_type"] = projector.upper()
    if changed["pool_tokens"] and not changed["context_tokens"]:
        changed["context_tokens"] = max(1, changed["pool_tokens"] // (changed["sequences"] or base.sequences))
    return base._replace(**{key: value for key, value in changed.items() if value is not None})


def _text(request: Request, key: str) -> str | None:
    value = request.get(key)
    if value is not None and not isinstance(value, str):
        raise Problem(Code.BAD_VALUE, f"{key} is a text, not {json.dumps(value)[:40]}")
    return value


def _texts(request: Request, key: str) -> tuple[str, ...]:
    value = request.get(key)
    texts = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(text, str) for text in texts):
        raise Problem(Code.BAD_VALUE, f"{key} is a text or a list of texts, not {json.dumps(value)[:40]}")
    return tuple(texts)


def _flag(request: Request, key: str, default: bool | None) -> bool | None:
    value = request.get(key, default)
    if value is not None and not isinstance(value, bool):
        raise Problem(Code.BAD_VALUE, f"{key} is true or false, not {json.dumps(value)[:40]}")
    return value


def _count(request: Request, key: str) -> int | None:
    value = request.get(key)
    if value is None:
        return None
    least, most = _BOUNDS[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Problem(Code.BAD_VALUE, f"{key} is a whole number from {least} to {most:,}, not {json.dumps(value)[:40]}")
    return value


def _capability(value: object) -> tuple[int, int] | None:
    """8.9 as (8, 9)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < _MOST_CAPABILITY:
        raise Problem(Code.BAD_VALUE, "compute_capability is a number such as 8.9")
    return int(value), round(value * 10) % 10
