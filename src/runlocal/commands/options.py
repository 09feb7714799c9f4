"""What people type, read: every value that is wrong gets a sentence and exit code 2."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from runlocal.core.errors import Code, Problem
from runlocal.core.machine import MOST_DEVICES
from runlocal.core.noun import NamedTuple
from runlocal.core.shell import quoted
from runlocal.core.units import GB, LARGEST_CONTEXT, parse_context, parse_dollars, parse_size
from runlocal.core.workload import MOST_RANKS, Workload
from runlocal.solve.asked import Asked

T = TypeVar("T")

_LONGEST_NUMBER = 20

CACHE_TYPES = ("f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
_MOST_LAYERS = 10_000
_MOST_TOKENS_PER_STEP = 1 << 20
BOUNDS = {
    "sequences": (1, 256),  # LLAMA_MAX_SEQ
    "images": (0, 1024),
    "batch_tokens": (1, _MOST_TOKENS_PER_STEP),
    "output_tokens": (1, _MOST_TOKENS_PER_STEP),
    "gpu_layers": (0, _MOST_LAYERS),
    "n_cpu_moe": (0, _MOST_LAYERS),
    "tensor_parallel": (1, MOST_RANKS),
    "pipeline_parallel": (1, MOST_RANKS),
    "context_tokens": (1, LARGEST_CONTEXT),
    "pool_tokens": (1, LARGEST_CONTEXT),
}
"""Least and most of the whole numbers of a workload, wherever they are given."""

_MOST_PIXELS = 32_768  # along a side: whole numbers of llama.cpp's preprocessing hold the area of no larger image
_MOST_SHARE = 1e12
MOST_BESIDE = 16
RAM_GB_S = (0.1, 100_000)  # least and most that host memory delivers
MOST_PID = (1 << 32) - 1  # Windows numbers processes in 32 bits


class Options(NamedTuple):
    """The options of `check` as typed; None: not given."""

    quant: str | None = None
    ctx: str | None = None
    parallel: int = 1
    gpu: tuple[str, ...] = ()
    vram: str | None = None
    ram: str | None = None
    ram_bandwidth: str | None = None
    reserve: str | None = None
    idle: bool = False
    ignore_pid: tuple[int, ...] = ()
    runtime: str | None = None
    kv: str | None = None
    images: int = 1
    image_size: str | None = None
    vision: bool = True
    imatrix: bool | None = None
    ubatch: int | None = None
    flash_attention: bool | None = None
    kv_offload: bool = True
    cpu_moe: bool = False
    n_cpu_moe: int = 0
    tensor_split: str | None = None
    tp: int = 1
    pp: int = 1
    gpu_layers: int | None = None
    draft: str | None = None
    mtp: bool = False
    beside: tuple[str, ...] = ()
    offload: bool = False
    strict: bool = False
    require_gpu: bool = False


def spelled(model: str, options: Options) -> str:
    """The command line that asks this of that model: every option that is not at its default, in its short form where it has one."""
    words = ["runlocal check", quoted(model)]
    for field, option in SPELLING.items():
        value, default = getattr(options, field), Options._field_defaults[field]
        if value == default:
            continue
        if isinstance(value, bool):
            words.append("--no-imatrix" if field == "imatrix" and not value else option)
        elif isinstance(value, tuple):
            words += [word for one in value for word in (option, quoted(str(one)))]
        else:
            words += [option, quoted(str(value))]
    return " ".join(words)


SPELLING = {
    "quant": "-q",
    "ctx": "-c",
    "kv": "-k",
    "parallel": "-n",
    "gpu": "--gpu",
    "vram": "--vram",
    "ram": "--ram",
    "ram_bandwidth": "--ram-bandwidth",
    "reserve": "--reserve",
    "idle": "--idle",
    "ignore_pid": "--ignore-pid",
    "runtime": "-r",
    "images": "--images",
    "image_size": "--image-size",
    "vision": "--no-vision",
    "imatrix": "--imatrix",
    "ubatch": "--ubatch",
    "flash_attention": "--no-flash-attn",
    "kv_offload": "--no-kv-offload",
    "cpu_moe": "--cpu-moe",
    "n_cpu_moe": "--n-cpu-moe",
    "tensor_split": "--tensor-split",
    "tp": "--tp",
    "pp": "--pp",
    "gpu_layers": "--gpu-layers",
    "draft": "--draft",
    "mtp": "--mtp",
    "beside": "--with",
    "offload": "--offload",
    "strict": "--strict",
}


def read(options: Options) -> Asked:
    """The question that the options ask, machine apart. Raises Problem."""
    from runlocal.catalog.runtimes import find_runtime

    runtime, version = find_runtime(options.runtime) if options.runtime and options.runtime != "auto" else (None, None)
    return Asked(
        workload=workload(options),
        quants=_several("--quant", options.quant, str.strip),
        contexts=_several("--ctx", options.ctx, lambda text: None if text.lower() == "max" else context_tokens("--ctx", text)),
        caches=_several("--kv", options.kv, lambda text: _cache_pair(text, cache_types(runtime, version))) or (("f16", "f16"),),
        imatrix=options.imatrix,
        runtime=runtime,
        version=version,
        reserve_bytes=size("--reserve", options.reserve),
        strict=options.strict,
        offload=options.offload,
    )


def workload(options: Options) -> Workload:
    """The workload, its context still to be filled in."""
    return Workload(
        context_tokens=0,
        sequences=within("--parallel", options.parallel, *BOUNDS["sequences"]),
        images=within("--images", options.images, *BOUNDS["images"]),
        image_size=None if options.image_size is None else image_size("--image-size", options.image_size),
        vision=options.vision,
        batch_tokens=None if options.ubatch is None else within("--ubatch", options.ubatch, *BOUNDS["batch_tokens"]),
        flash_attention=options.flash_attention,
        kv_offload=options.kv_offload,
        gpu_layers=None if options.gpu_layers is None else within("--gpu-layers", options.gpu_layers, *BOUNDS["gpu_layers"]),
        cpu_moe=options.cpu_moe,
        n_cpu_moe=within("--n-cpu-moe", options.n_cpu_moe, *BOUNDS["n_cpu_moe"]),
        tensor_split=None if options.tensor_split is None else shares("--tensor-split", options.tensor_split.split(",")),
        tensor_parallel=within("--tp", options.tp, *BOUNDS["tensor_parallel"]),
        pipeline_parallel=within("--pp", options.pp, *BOUNDS["pipeline_parallel"]),
        drafting=options.draft is not None,
        mtp=options.mtp,
    )


def within(option: str, value: int, least: int, most: int) -> int:
    """The value, if it lies between `least` and `most`."""
    if not least <= value <= most:
        raise Problem(Code.BAD_VALUE, f"{option} {value} is not between {least} and {most}")
    return value


def size(option: str, text: str | None) -> int | None:
    """Bytes of a size option; None where it was not given. A reserve may be zero."""
    if text is None:
        return None
    if option == "--reserve" and text.strip() in ("0", "0B", "0GiB", "0GB"):
        return 0
    return _said(option, parse_size, text)


def context_tokens(option: str, text: str) -> int:
    """Tokens of `8192`, `8k`. Raises Problem that names the option."""
    return _said(option, parse_context, text)


def dollars(option: str, text: str | None) -> float | None:
    """US dollars of `$2,500`, `2.5k`; None where it was not given. Raises Problem that names the option."""
    return None if text is None else _said(option, parse_dollars, text)


def bandwidth(option: str, text: str | None) -> int | None:
    """Bytes per second of `96`, `89.6GB/s`; None where nothing was typed. Raises Problem that names the option."""
    if text is None:
        return None
    number = text.strip().lower().removesuffix("gb/s").strip()
    try:
        rate = float(number) if len(number) <= _LONGEST_NUMBER else 0.0
    except ValueError:
        rate = 0.0
    if not RAM_GB_S[0] <= rate <= RAM_GB_S[1]:
        hint = "GB per second that the memory modules can deliver: two channels of DDR5-6000 deliver 2 × 8 × 6 = 96"
        raise Problem(Code.BAD_VALUE, f"{option} {text[:40]!r} is no bandwidth of memory", hint=hint)
    return round(rate * GB)


def image_size(option: str, text: str) -> tuple[int, int]:
    """Width and height in pixels of `1024x768`. Raises Problem that names the option."""
    sides = text.strip().lower().replace("×", "x").split("x")
    if len(sides) != len(("width", "height")) or not all(side.isascii() and side.isdigit() and len(side) < _LONGEST_NUMBER for side in sides):
        raise Problem(Code.BAD_VALUE, f"{option} {text[:40]!r} is not a width and a height in pixels", hint="such as 1024x768")
    width, height = (int(side) for side in sides)
    if not 1 <= min(width, height) <= max(width, height) <= _MOST_PIXELS:
        raise Problem(Code.BAD_VALUE, f"{option} {text[:40]!r}: each side has 1 to {_MOST_PIXELS:,} pixels")
    return width, height


def shares(option: str, texts: Sequence[object]) -> tuple[float, ...]:
    """Shares of the layers, one per GPU: `3,1`. Raises Problem that names the option."""
    found: list[float] = []
    for text in texts:
        try:
            share = float(str(text)) if not isinstance(text, bool) else -1.0
        except ValueError:
            share = -1.0
        if not 0 <= share <= _MOST_SHARE:
            raise Problem(Code.BAD_VALUE, f"{option}: {str(text)[:20]!r} is not the share of a GPU", hint="a number for each GPU, such as 3,1")
        found.append(share)
    if not found or len(found) > MOST_DEVICES:
        raise Problem(Code.BAD_VALUE, f"{option}: {len(found)} shares", hint=f"a number for each GPU, such as 3,1; at most {MOST_DEVICES}")
    if not any(found):
        raise Problem(Code.BAD_VALUE, f"{option}: no GPU gets a layer", hint="a number for each GPU, such as 3,1")
    return tuple(found)


def cache_type(option: str, text: str, known: Sequence[str] = CACHE_TYPES) -> str:
    """The cache type's name. Raises Problem that names the option."""
    name = text.strip().lower()
    if name not in known:
        near = tuple(one for one in known if name and one.startswith(name))
        raise Problem(Code.BAD_VALUE, f"{option} {text[:40]!r} is not a cache type", hint=f"known: {', '.join(known)}", candidates=near)
    return name


def cache_types(runtime: str | None, version: str | None) -> tuple[str, ...]:
    """Names of cache types in what is asked of that runtime; None: of the one that loads the model."""
    if runtime is None:
        return CACHE_TYPES
    from runlocal.catalog.runtimes import constants

    own = constants(runtime, version).get("cache_types")
    return tuple(dict.fromkeys((*CACHE_TYPES, *(str(name) for name in own.value)))) if own and isinstance(own.value, tuple) else CACHE_TYPES


def _cache_pair(text: str, known: Sequence[str]) -> tuple[str, str]:
    key_type, _, value_type = text.partition(":")
    return cache_type("--kv", key_type, known), cache_type("--kv", value_type or key_type, known)


def _several(option: str, text: str | None, parse: Callable[[str], T]) -> tuple[T, ...] | None:
    if text is None:
        return None
    pieces = [piece.strip() for piece in text.split(",")]
    if not all(pieces):
        raise Problem(Code.BAD_VALUE, f"{option} {text[:60]!r} has nothing between its commas")
    return tuple(parse(piece) for piece in pieces)


def _said(option: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise Problem(Code.BAD_VALUE, f"{option}: {error}") from None
