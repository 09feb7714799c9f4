"""Hand-made reports: what the renderers are given. The figures are made up; they only have to add up."""

from collections.abc import Callable

import pytest

from runlocal.core.listing import Column, Fact, Form, Listing, Page, Section
from runlocal.core.load import load_of
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.model import Alias, Context, License, ModelSpec, Parameters, Source, Text
from runlocal.core.part import HOST, Basis, Kind, Part, gpu, need
from runlocal.core.report import Advice, Cell, Check, MachineCheck, Shelf, Spread, Support
from runlocal.core.speed import Speed
from runlocal.core.units import GIB, KIB, MIB
from runlocal.core.verdict import Answer, headroom

MODEL = ModelSpec(
    id="llama-3.2-90b-vision",
    name="Llama 3.2 90B Vision Instruct",
    family="llama-3.2-vision",
    vendor="Meta",
    released="2024-09-25",
    variant="instruct",
    architecture="mllama",
    hf_architecture="MllamaForConditionalGeneration",
    modalities=("text", "vision"),
    checkpoint_type="BF16",
    license="llama-3.2",
    context=Context(native_tokens=131072),
    parameters=Parameters(published=88593355323, source="https://example.org/index.json"),
    text=Text(layers=100, hidden_size=8192, heads=64, kv_heads=8, head_dim=128, vocabulary_size=128256, tied_embeddings=False),
    aliases=(Alias(name="llama3.2-vision:90b", kind="ollama", variant="instruct"),),
    sources=(Source(url="https://example.org/config.json", what="shapes", checked="2026-11-21"),),
    gated=True,
)
LICENSE = License(
    name="Llama 3.2 Community License",
    commercial="allowed below 700 million monthly users",
    conditions=("multimodal weights are not licensed to people or companies in the European Union", "attribution: Built with Llama"),
    url="https://example.org/LICENSE",
    checked="2026-11-21",
)
SUPPORT = (
    Support(
        id="llama.cpp",
        name="llama.cpp",
        loads=False,
        versions=None,
        newest_known="b10488",
        note="never merged: the converter refuses the checkpoint",
        source="https://github.com/ggml-org/llama.cpp/issues/9643",
    ),
    Support(
        id="ollama",
        name="Ollama",
        loads=False,
        versions=">=0.4.0,<=0.24.0",
        newest_known="0.34.1",
        note="its own engine ran it; 0.30 removed that engine",
        source=None,
    ),
    Support(id="sglang", name="SGLang", loads=True, versions=">=0.3.4.post1", newest_known="0.5.23", note="listed in its registry; not run here", source=None),
    Support(id="tensorrt-llm", name="TensorRT-LLM", loads=None, versions=None, newest_known="1.2.0", note=None, source=None),
)
LOADED = (Support(id="llama.cpp", name="llama.cpp", loads=True, versions=">=b4000", newest_known="b10488", note=None, source=None),)

RTX_3090 = Gpu(index=0, id="rtx-3090", name="NVIDIA GeForce RTX 3090", memory_bytes=24 * GIB, reserved_bytes=450 * MIB)
ONE_3090 = Machine(origin=Origin.NAMED, label="RTX 3090", gpus=(RTX_3090,))
TWO_3090 = Machine(origin=Origin.NAMED, label="2 × RTX 3090", gpus=(RTX_3090, RTX_3090._replace(index=1)))
HERE = ONE_3090._replace(
    origin=Origin.HERE,
    label="this computer's RTX 3090",
    gpus=(RTX_3090._replace(in_use_bytes=GIB),),
    host_bytes=62 * GIB,
    notes=("1.0 GiB of GPU 0 is held by other processes; --idle counts it as free.",),
)
CPU = Machine(origin=Origin.HERE, label="this computer without a GPU", gpus=(), host_bytes=30 * GIB)
UNLIMITED = Machine(origin=Origin.UNLIMITED, label="a machine without limits", gpus=())

CONTEXTS = tuple(size * KIB for size in (4, 8, 16, 32, 64, 128))
# tensor bytes of three files, in MiB
FILES = {"Q8_0": 89600, "Q4_K_M": 50200, "IQ2_XXS": 22600}
BITS = {"Q8_0": 8.5, "Q4_K_M": 4.81, "IQ2_XXS": 2.17}


def part(kind: Kind, label: str, device: str, size: int, basis: Basis = Basis.EXACT, because: str = "") -> Part:
    return Part(
        kind=kind, label=label, device=device, bytes=size, basis=basis, because=because or f"{size} bytes of {label}", source="https://example.org/source"
    )


def parts(quant: str, context: int, devices: tuple[str, ...]) -> tuple[Part, ...]:
    """Weights and cache shared out evenly, the rest once per device; the embeddings on the host where there are GPUs."""
    share = len(devices)
    out = []
    for number, device in enumerate(devices):
        out.append(
            part(Kind.WEIGHTS, "repeating layers", device, FILES[quant] * MIB // share, because=f"{100 // share} of 100 layers × {FILES[quant] / 100:.0f} MiB")
        )
        out.append(
            part(Kind.CACHE, "keys and values", device, 80 * 4096 * context // share, because=f"80 layers × 8 heads × 128 × 2 × 2 bytes × {context} cells")
        )
        if number == 0:
            out.append(part(Kind.CACHE, "cross-attention", device, 1000 * MIB))
            out.append(part(Kind.VISION, "tower and projector", device, 1900 * MIB))
            out.append(part(Kind.VISION_BUFFER, "image graph", device, 2800 * MIB, Basis.MEASURED))
        out.append(part(Kind.COMPUTE_BUFFER, "text graph", device, 400 * MIB, Basis.ESTIMATED, "a fitted term, ± 8 %"))
        out.append(part(Kind.RUNTIME, "driver context", device, 90 * MIB if share > 1 else 300 * MIB, Basis.MEASURED))
    if devices != (HOST,):
        out.append(part(Kind.WEIGHTS, "token embeddings", HOST, 560 * MIB))
    return tuple(out)


def cell(quant: str, context: int, machine: Machine, *, scale: int = 1, answer: Answer | None = None, **changes: object) -> Cell:
    """A cell judged by its own parts, unless an answer is given. `scale` divides the files' sizes."""
    devices = tuple(gpu(device.index) for device in machine.gpus) or ((gpu(0),) if machine.origin is Origin.UNLIMITED else (HOST,))
    found = tuple(one._replace(bytes=one.bytes // scale) for one in parts(quant, context, devices))
    left = headroom(load_of(found, len(machine.gpus) or 1), machine)
    judged = Answer.FITS if all(free >= GIB // 2 for free in left) else Answer.TIGHT if all(free >= 0 for free in left) else Answer.DOES_NOT_FIT
    needs = sum(need(found, device) for device in devices)
    usable = sum(device.usable_bytes for device in machine.gpus) if machine.gpus else machine.host_bytes
    made = Cell(
        quant=quant,
        runtime="ollama",
        runtime_version="0.24.0",
        context_tokens=context,
        sequences=1,
        images=1,
        cache_type_k="f16",
        cache_type_v="f16",
        batch_tokens=512,
        flash_attention=True,
        answer=None if machine.origin is Origin.UNLIMITED else answer or judged,
        reason="" if judged is not Answer.DOES_NOT_FIT else f"short of {-sum(left) / GIB:.1f} GiB",
        warnings=(),
        bits_per_weight=BITS[quant],
        tensor_bytes=FILES[quant] * MIB // scale,
        need_bytes=needs,
        host_need_bytes=need(found, HOST) if machine.gpus else 0,
        usable_bytes=usable,
        reserve_bytes=GIB // 2,
        headroom_bytes=left,
        fits_context_tokens=None if machine.origin is Origin.UNLIMITED else 0,
        gpu_layers=71 if machine.gpus else None,
        layers=101,
        parts=found,
        command="ollama run llama3.2-vision:90b",
    )
    return made._replace(**changes)  # type: ignore[arg-type]


def found(machine: Machine, headline: Cell, *, scale: int = 1, shelf: Shelf | None = None) -> MachineCheck:
    cells = [cell(quant, context, machine, scale=scale) for quant in FILES for context in CONTEXTS]
    longest = {quant: max((one.context_tokens for one in cells if one.quant == quant and one.answer is Answer.FITS), default=0) for quant in FILES}
    if machine.origin is not Origin.UNLIMITED:
        cells = [one._replace(fits_context_tokens=longest[one.quant]) for one in cells]
    same = [headline if (one.quant, one.context_tokens) == (headline.quant, headline.context_tokens) else one for one in cells]
    return MachineCheck(machine=machine, cells=tuple(same), headline=headline, shelf=shelf)


def check(*machines: MachineCheck, advice: tuple[Advice, ...] = (), runtimes: tuple[Support, ...] = SUPPORT, model: ModelSpec = MODEL) -> Check:
    answers = [one.headline.answer for one in machines if one.headline.answer is not None]
    return Check(
        model=model,
        license=LICENSE,
        parameters=88593355323,
        active_parameters=69503033344,
        runtimes=runtimes,
        machines=machines,
        asked_contexts=CONTEXTS,
        advice=advice,
        answer=min(answers, key=list(Answer).index) if answers else None,
        data="2026-11-21",
    )


ADVICE = (
    Advice(saves_bytes=4700 * MIB, change="--kv q8_0", answer=Answer.TIGHT, command="runlocal check llama-3.2-90b-vision --gpu 2x3090 --kv q8_0"),
    Advice(saves_bytes=27600 * MIB, change="--quant IQ2_XXS", answer=Answer.FITS, command="runlocal check llama-3.2-90b-vision --gpu 2x3090 -q IQ2_XXS"),
    Advice(saves_bytes=0, change="a third card: --gpu 3x3090", answer=Answer.FITS, command="runlocal check llama-3.2-90b-vision --gpu 3x3090"),
)
SMALL = MODEL._replace(id="llama-3.2-11b-vision", name="Llama 3.2 11B Vision Instruct")
SHELF = Shelf(
    sizes=tuple((size, int(size * 0.96 * GIB), size >= 16) for size in (8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 141, 192)),
    smallest_card="RTX 4060 Ti 16 GB",
    cheapest_pair="2 × RTX 3060 12 GB",
    need_bytes=12 * GIB,
)


def _does_not_fit() -> Check:
    return check(found(TWO_3090, cell("Q4_K_M", 8192, TWO_3090, reason="short of 12.1 GiB over two cards")), advice=ADVICE)


SPEED = Speed(43.21, 60.94, "13.21 GB read for a token, which the memory delivers 70.9 times a second; …", sources=("https://example.org/runs/1",))
NO_SPEED = "a token reads host memory, whose bandwidth is not known; --ram-bandwidth takes it"


def _fits() -> Check:
    there = found(ONE_3090, cell("Q8_0", 8192, ONE_3090, scale=7, fits_context_tokens=16384, speed=SPEED), scale=7)
    unknown = there.cells[0]._replace(speed_unknown="no measured run was found of models without experts on such a GPU")
    return check(there._replace(cells=(unknown, *there.cells[1:])), model=SMALL, runtimes=LOADED)


def _tight() -> Check:
    machine = HERE
    warned = cell("Q8_0", 131072, machine, scale=6, fits_context_tokens=65536, warnings=("less than 0.5 GiB stays free on GPU 0: close what else draws on it",))
    return check(found(machine, warned, scale=6), model=SMALL, runtimes=LOADED)


def _spills() -> Check:
    machine = HERE
    base = cell("Q4_K_M", 8192, machine, scale=2, answer=Answer.SPILLS, gpu_layers=71, spread=Spread((("host", 0, 30), ("gpu0", 30, 100)), "gpu0", 0, False))
    moved = part(Kind.WEIGHTS, "repeating layers", HOST, 8 * GIB)
    kept = tuple(one._replace(bytes=one.bytes - 8 * GIB) if one.label == "repeating layers" else one for one in base.parts)
    both = (*kept, moved)
    headline = base._replace(
        parts=both, need_bytes=need(both, "gpu0"), host_need_bytes=need(both, HOST), headroom_bytes=headroom(load_of(both, len(machine.gpus)), machine)
    )
    return check(found(machine, headline._replace(reason="", speed_unknown=NO_SPEED), scale=2), model=SMALL, runtimes=LOADED)


def _cannot_run() -> Check:
    reason = "llama.cpp does not load mllama: unknown model architecture"
    changes = {
        "answer": Answer.CANNOT_RUN,
        "reason": reason,
        "need_bytes": None,
        "parts": (),
        "headroom_bytes": (),
        "runtime": "llama.cpp",
        "runtime_version": "b10488",
    }
    gone = {**changes, "host_need_bytes": None, "gpu_layers": None, "fits_context_tokens": 0, "command": None}
    cells = tuple(cell(quant, context, ONE_3090)._replace(**gone) for quant in FILES for context in CONTEXTS)  # type: ignore[arg-type]
    return check(MachineCheck(machine=ONE_3090, cells=cells, headline=cells[7]))


def _no_gpu() -> Check:
    command = "llama-server -m model.gguf -c 8192 -np 1"
    headline = cell("Q4_K_M", 8192, CPU, scale=4, runtime="llama.cpp", runtime_version="b10488", command=command, speed=SPEED)
    return check(found(CPU, headline, scale=4, shelf=SHELF), model=SMALL, runtimes=LOADED)


def _unlimited() -> Check:
    return check(found(UNLIMITED, cell("Q4_K_M", 8192, UNLIMITED)))


def _two_machines() -> Check:
    return check(found(ONE_3090, cell("IQ2_XXS", 8192, ONE_3090)), found(TWO_3090, cell("IQ2_XXS", 8192, TWO_3090, fits_context_tokens=65536)))


HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]bold[/red] \u202eevil\u200b\r\n\t=1+1|`x`<b>"


def _hostile() -> Check:
    base = _does_not_fit()
    machine = TWO_3090._replace(label=HOSTILE, notes=(HOSTILE,), gpus=tuple(device._replace(name=HOSTILE) for device in TWO_3090.gpus))
    one = cell("Q4_K_M", 8192, machine, reason=HOSTILE, warnings=(HOSTILE,), runtime=HOSTILE, runtime_version=HOSTILE, command=HOSTILE, cache_type_k=HOSTILE)
    one = one._replace(speed=Speed(1.0, 2.0, HOSTILE, sources=(HOSTILE,)), speed_unknown=HOSTILE)
    one = one._replace(
        quant=HOSTILE,
        parts=tuple(found._replace(label=HOSTILE, because=HOSTILE, source=HOSTILE) for found in one.parts),
    )
    return base._replace(
        model=MODEL._replace(id=HOSTILE, name=HOSTILE, note=HOSTILE),
        license=LICENSE._replace(name=HOSTILE, commercial=HOSTILE, conditions=(HOSTILE,), url=HOSTILE),
        runtimes=tuple(support._replace(name=HOSTILE, note=HOSTILE, versions=HOSTILE, newest_known=HOSTILE, source=HOSTILE) for support in SUPPORT),
        machines=(MachineCheck(machine=machine, cells=(one,), headline=one, shelf=SHELF._replace(smallest_card=HOSTILE, cheapest_pair=HOSTILE)),),
        advice=(ADVICE[0]._replace(change=HOSTILE, command=HOSTILE),),
    )


_CHECKS: dict[str, Callable[[], Check]] = {
    "fits": _fits,
    "tight": _tight,
    "spills": _spills,
    "does_not_fit": _does_not_fit,
    "cannot_run": _cannot_run,
    "no_gpu": _no_gpu,
    "unlimited": _unlimited,
    "two_machines": _two_machines,
    "hostile": _hostile,
}


@pytest.fixture(scope="session")
def checks() -> dict[str, Check]:
    """A check of every kind of answer and machine."""
    return {name: make() for name, make in _CHECKS.items()}


@pytest.fixture(scope="session")
def hostile_text() -> str:
    """What a driver or a stranger's file may call itself."""
    return HOSTILE


@pytest.fixture(scope="session")
def listing() -> Listing:
    """Rows with a value of every form, and an unknown one."""
    columns = (
        Column(key="id", label="model"),
        Column(key="parameters", label="parameters", form=Form.PARAMETERS),
        Column(key="context_tokens", label="context", form=Form.TOKENS),
        Column(key="memory_bytes", label="need", form=Form.GIB),
        Column(key="download_bytes", label="download", form=Form.GB, extra=True),
        Column(key="bandwidth_bytes", label="bandwidth", form=Form.RATE, extra=True),
        Column(key="price_usd", label="price", form=Form.DOLLARS, extra=True),
        Column(key="answer", label="answer", form=Form.ANSWER),
        Column(key="license", label="licence"),
    )
    rows = (
        {
            "id": "llama-3.2-90b-vision",
            "parameters": 88593355323,
            "context_tokens": 131072,
            "memory_bytes": 62 * GIB,
            "download_bytes": 54_800_000_000,
            "bandwidth_bytes": 936_000_000_000,
            "price_usd": 1500,
            "answer": Answer.DOES_NOT_FIT,
            "license": "Llama 3.2 Community License, with a list of conditions",
        },
        {"id": "smollm2-135m", "parameters": 134515008, "context_tokens": 8192, "memory_bytes": 90 * MIB, "answer": Answer.FITS, "license": "Apache-2.0"},
    )
    return Listing(kind="models", title="Models we know", columns=columns, rows=rows, notes=("Sizes are of Q4_K_M.",))


@pytest.fixture(scope="session")
def page() -> Page:
    """A page with a section, a list of values and a table."""
    facts = (
        Fact(key="name", label="name", value="Llama 3.2 90B Vision Instruct"),
        Fact(key="parameters", label="parameters", value=88593355323, form=Form.COUNT),
        Fact(key="gated", label="asks for consent", value=True, form=Form.YES_NO),
        Fact(key="released", label="released", value=None),
        Fact(key="aliases", label="also known as", value=("meta-llama/Llama-3.2-90B-Vision-Instruct", "llama3.2-vision:90b")),
    )
    sizes = Listing(
        kind="sizes",
        title="Sizes per quantization",
        columns=(
            Column(key="quant", label="quant"),
            Column(key="bits_per_weight", label="bits per weight", form=Form.NUMBER),
            Column(key="tensor_bytes", label="download", form=Form.GB),
        ),
        rows=({"quant": "Q4_K_M", "bits_per_weight": 4.81, "tensor_bytes": 52_638_515_200},),
    )
    return Page(kind="model", title="llama-3.2-90b-vision", sections=(Section(heading="Shapes", facts=facts),), listings=(sizes,), notes=("A note.",))
