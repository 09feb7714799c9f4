"""A model beside others that already run on the same machine, each in a process of its own.

They were started first, in the order in which they are named: each lies as its runtime lays it out where it stands alone, wholly on the
GPUs, in the memory that those before it left; the model that is asked about has the rest.
"""

from collections.abc import Sequence
from operator import add
from typing import Any, cast

from runlocal.core.load import Load
from runlocal.core.machine import Machine
from runlocal.core.noun import NamedTuple
from runlocal.core.part import Part
from runlocal.core.report import Neighbour
from runlocal.core.workload import Workload
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.split import Laid, lay_best
from runlocal.solve.support import does_not_load

_SERVE = "ollama serve & "
_OLLAMA_PORT = 11434
_SERVER, _FIRST_PORT = "llama-server ", 8081  # its own is 8080, which the model that is asked about takes


class Running(NamedTuple):
    """A model that already runs.

    runtime: the model, opened
    recipe, workload: its quantization, and what it is asked to do
    """

    runtime: Runtime
    recipe: Recipe
    workload: Workload

    @property
    def name(self) -> str:
        """`llama-3.2-3b@Q4_K_M`."""
        return f"{self.runtime.model.id}@{self.recipe.name}"

    def refuses(self, machine: Machine) -> str | None:
        """Why it does not run there at all, one sentence; None where it does, if there is room."""
        reason = does_not_load(self.runtime.model, self.runtime) or self.runtime.refuses(self.recipe, self.workload, machine)
        return f"{self.runtime.model.id} beside it: {reason}" if reason else None


class Held(NamedTuple):
    """What those that already run take of a machine.

    parts, load: of all of them
    told: for the report
    left: the machine with the memory that they leave
    """

    parts: tuple[Part, ...]
    load: Load
    told: tuple[Neighbour, ...]
    left: Machine


class Beside:
    """A runtime, with others running on its machines: what takes memory counts them, everything else is the runtime's own."""

    def __init__(self, runtime: Runtime, others: Sequence[Running]) -> None:
        self.alone, self.others = runtime, tuple(others)
        self._held: dict[Machine, Held] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.alone, name)

    def refuses(self, recipe: Recipe, workload: Workload, machine: Machine) -> str | None:
        if reason := self.alone.refuses(recipe, workload, machine):
            return reason
        return next((reason for other in self.others if (reason := other.refuses(machine))), None)

    def placement(self, workload: Workload, machine: Machine, shares: Sequence[float] | None = None) -> Placement:
        return self.alone.placement(workload, self.held(machine).left, shares)

    def parts(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> tuple[Part, ...]:
        return (*self.alone.parts(recipe, workload, placement, machine, rough=rough), *self.held(machine).parts)

    def load(self, recipe: Recipe, workload: Workload, placement: Placement, machine: Machine, *, rough: bool = False) -> Load:
        return self.alone.load(recipe, workload, placement, machine, rough=rough).plus(self.held(machine).load)

    def held(self, machine: Machine) -> Held:
        """What the others take of the machine."""
        if machine not in self._held:
            self._held[machine] = _lay(self.others, machine)
        return self._held[machine]


def beside(runtime: Runtime, others: Sequence[Running]) -> Runtime:
    """The runtime with those running on its machines."""
    return cast(Runtime, Beside(runtime, others)) if others else runtime


def alike(runtime: Runtime, other: Runtime) -> Runtime:
    """Another runtime with the same ones running on its machines."""
    return beside(other, runtime.others) if isinstance(runtime, Beside) else other


def alone(runtime: Runtime) -> Runtime | None:
    """The runtime without any that run beside it; None where none does."""
    return runtime.alone if isinstance(runtime, Beside) else None


def neighbours(runtime: Runtime, machine: Machine) -> tuple[Neighbour, ...]:
    """Those that run beside the runtime's model on that machine, for the report."""
    return runtime.held(machine).told if isinstance(runtime, Beside) else ()


def in_one_server(command: str, before: Sequence[Neighbour]) -> str:
    """The command without the start of Ollama's server where one of those before starts it with the same settings: it keeps several models loaded.

    With other settings it is another server, which listens on a port of its own.
    """
    settings, serve, rest = command.partition(_SERVE)
    if not serve:
        return command
    servers = [one.command.partition(_SERVE)[0] for one in before if _SERVE in one.command]
    for place, started in enumerate(servers):
        if started == _host(place) + settings:
            return _to(place, rest)
    return _host(len(servers)) + settings + serve + _to(len(servers), rest)


def _host(place: int) -> str:
    """What says where an Ollama server listens, and to which one a command speaks; nothing for the first."""
    return f"OLLAMA_HOST=127.0.0.1:{_OLLAMA_PORT + place} " if place else ""


def _to(place: int, commands: str) -> str:
    return " && ".join((_host(place) + one) if one.startswith("ollama ") else one for one in commands.split(" && "))


def counted_twice(others: Sequence[Running], machine: Machine) -> tuple[str, ...]:
    """Of those that are said to run, which a process here runs indeed: what it holds is in use already, a sentence each."""
    ids = {other.runtime.model.id for other in others}
    return tuple(
        f"{holder.name or 'A process'} (pid {holder.pid}) runs {holder.model} here, and what it holds counts as in use; "
        f"--with counts it again, and --ignore-pid {holder.pid} counts it once."
        for holder in machine.holders
        if holder.model in ids
    )


def _lay(others: Sequence[Running], machine: Machine) -> Held:
    """One after the other, each in what is left."""
    none = (0,) * len(machine.gpus)
    parts: list[Part] = []
    told: list[Neighbour] = []
    load, left = Load(none, 0, none, 0), machine
    for other in others:
        runtime = other.runtime
        laid = lay_best(runtime, other.recipe, other.workload, left, runtime.reserves(other.workload, left))
        own = runtime.parts(other.recipe, laid.workload, laid.placement, left)
        parts += [part._replace(label=f"{runtime.model.id}: {part.label}") for part in own]
        load = load.plus(laid.load)
        told.append(_told(other, laid, told))
        left = left.holding(tuple(map(add, laid.load.gpus, laid.load.gpu_margins)), laid.load.host)
    return Held(tuple(parts), load, tuple(told), left)


def _told(other: Running, laid: Laid, before: Sequence[Neighbour]) -> Neighbour:
    command = in_one_server(other.runtime.command(other.recipe, laid.workload, laid.placement), before)
    if command.startswith(_SERVER):
        command += f" --port {_FIRST_PORT + len(before)}"
    return Neighbour(
        model=other.runtime.model.id,
        quant=other.recipe.name,
        runtime=other.runtime.id,
        runtime_version=other.runtime.version,
        context_tokens=other.workload.context_tokens,
        need_bytes=sum(laid.load.gpus) if laid.load.gpus else laid.load.host,
        host_need_bytes=laid.load.host,
        command=command,
    )
