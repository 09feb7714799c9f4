"""What a command found: facts for the renderers, in the words and order of the published JSON."""

from runlocal.core.machine import Machine
from runlocal.core.model import License, ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.core.part import Part
from runlocal.core.speed import Speed
from runlocal.core.verdict import Answer


class Support(NamedTuple):
    """What one runtime says to a model.

    id, name: the runtime
    loads: whether its newest known version loads it; None where nobody looked
    versions: those that do, `>=0.4.0,<=0.24.0`; None where none does or the first is not known
    newest_known: the newest version that was looked at
    note: what a user should know, one sentence
    source: address of the evidence
    vision: image input works; False: text only; None: not known, or a model without a tower
    """

    id: str
    name: str
    loads: bool | None
    versions: str | None
    newest_known: str
    note: str | None
    source: str | None
    vision: bool | None = None

    @property
    def versions_text(self) -> str:
        """`>=0.4.0,<=0.24.0` as `0.4.0 to 0.24.0`; what is not of that form stays as it is; empty where none is known."""
        first, _, last = (self.versions or "").replace(" ", "").partition(",")
        if first.startswith(">=") and last.startswith("<="):
            return f"{first[2:]} to {last[2:]}"
        if first.startswith((">=", "<=")) and not last:
            return f"{first[2:]} and {'newer' if first.startswith('>=') else 'older'}"
        return self.versions or ""


class Neighbour(NamedTuple):
    """A model that already runs on the machine, in a process of its own.

    quant, runtime, runtime_version, context_tokens: as in `Cell`
    need_bytes, host_need_bytes: its own, which count among the cell's
    command: what starts it
    """

    model: str
    quant: str
    runtime: str
    runtime_version: str | None
    context_tokens: int
    need_bytes: int
    host_need_bytes: int
    command: str

    @property
    def name(self) -> str:
        """`llama-3.2-3b@Q4_K_M`."""
        return f"{self.model}@{self.quant}"


class Spread(NamedTuple):
    """Which layers lie where.

    ranges: (device, first layer, layer behind the last) of each device that holds any, layers counted from 0
    output: device of the output layer
    host_experts: experts of the first so many layers lie on the host, whatever their layer's device
    cache_on_host: all caches do
    """

    ranges: tuple[tuple[str, int, int], ...]
    output: str
    host_experts: int
    cache_on_host: bool


class Cell(NamedTuple):
    """One quantization at one context on one machine.

    answer: None on an unlimited machine
    reason: why, one sentence; empty for a plain yes
    warnings: what the reader should know although the answer stands
    bits_per_weight, tensor_bytes: of the language model's tensors, as stored in the file
    need_bytes: over the GPUs, or over the host where there is none
    host_need_bytes: on the host beside the GPUs
    usable_bytes, headroom_bytes: over all devices; per device
    reserve_bytes: left free per device
    fits_context_tokens: the longest context at which this quantization still fits, 0 if none
    gpu_layers, layers: layers on the GPUs (of a no: the most that fit), of all, the output layer counted as one
    parts: everything that takes memory
    command: what starts it
    image_tokens: (least, most) tokens of context that the images take; None without images, or where it is not known
    draft: the draft model and its quantization, `llama-3.2-1b@Q4_K_M`; None without one
    mtp: next-token layers guess ahead
    beside: models that already run there; their parts are among the cell's, under labels that begin with their ids
    spread: which layers lie where; None where nothing was laid out
    speed: tokens per second; None where that is not known, and of a no
    speed_unknown: why a yes has none, in words that follow a colon; else empty
    """

    quant: str
    runtime: str
    runtime_version: str | None
    context_tokens: int
    sequences: int
    images: int
    cache_type_k: str
    cache_type_v: str
    batch_tokens: int | None
    flash_attention: bool | None
    answer: Answer | None
    reason: str
    warnings: tuple[str, ...]
    bits_per_weight: float | None
    tensor_bytes: int | None
    need_bytes: int | None
    host_need_bytes: int | None
    usable_bytes: int | None
    reserve_bytes: int | None
    headroom_bytes: tuple[int, ...]
    fits_context_tokens: int | None
    gpu_layers: int | None
    layers: int
    parts: tuple[Part, ...]
    command: str | None
    image_tokens: tuple[int, int] | None = None
    draft: str | None = None
    mtp: bool = False
    beside: tuple[Neighbour, ...] = ()
    spread: Spread | None = None
    speed: Speed | None = None
    speed_unknown: str = ""


class Shelf(NamedTuple):
    """What a buyer wants to know when no GPU was found.

    sizes: (size in GB as on the box, usable bytes, whether the headline cell fits), smallest first
    smallest_card: name of the smallest single card that would do, None if none does
    cheapest_pair: name of the cheapest pair that would do, None if none does
    need_bytes: what the headline cell needs on one card that is big enough
    """

    sizes: tuple[tuple[int, int, bool], ...]
    smallest_card: str | None
    cheapest_pair: str | None
    need_bytes: int | None = None


class MachineCheck(NamedTuple):
    """A model on one machine.

    cells: every asked-for cell, by quantization, then context
    headline: the cell that the answer in a sentence is about
    """

    machine: Machine
    cells: tuple[Cell, ...]
    headline: Cell
    shelf: Shelf | None = None


class Advice(NamedTuple):
    """A change that turns a no into a yes.

    saves_bytes: how much less it needs
    change: what to change, as an option or a sentence
    answer: the answer then
    command: the command that asks for it
    """

    saves_bytes: int
    change: str
    answer: Answer
    command: str


class Check(NamedTuple):
    """A model on one or several machines: the report of `runlocal check`.

    parameters, active_parameters: all, and those read for one text token
    asked_contexts: the columns of the grid, in tokens
    notes: what the reader should know of the model, a sentence each
    data: the day the bundled data was last checked, YYYY-MM-DD
    """

    model: ModelSpec
    license: License
    parameters: int
    active_parameters: int
    runtimes: tuple[Support, ...]
    machines: tuple[MachineCheck, ...]
    asked_contexts: tuple[int, ...]
    advice: tuple[Advice, ...]
    answer: Answer | None
    data: str | None = None
    notes: tuple[str, ...] = ()
