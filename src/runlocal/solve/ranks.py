"""How many ranks vLLM cuts a model for: what can be said of it before what it takes is computed."""

from collections.abc import Sequence

from runlocal.catalog.runtimes import constants, newest_known
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.report import Cell, MachineCheck
from runlocal.core.verdict import Answer
from runlocal.engines.vllm import parallel
from runlocal.solve.asked import HEADLINE_TOKENS, Asked

VLLM = "vllm"


def rank_sizes(model: ModelSpec) -> tuple[int, ...] | None:
    """The tensor-parallel sizes that vLLM takes for the language model; None where its rules for it are not known here."""
    return parallel.sizes(model, _multiple(None))


def refuses_ranks(model: ModelSpec, asked: Asked) -> str | None:
    """Why vLLM does not cut the model for the ranks asked for, with those that it does, one sentence; None for other runtimes, and where it may."""
    if asked.runtime != VLLM:
        return None
    multiple = _multiple(asked.version)
    reason = parallel.refuses(model, asked.workload.tensor_parallel, multiple)
    if reason is None:
        return None
    taken = parallel.sizes(model, multiple)
    return f"{reason}; --tp {_or(taken)}" if taken else reason


def refused(model: ModelSpec, asked: Asked, machines: Sequence[Machine], reason: str) -> tuple[MachineCheck, ...]:
    """A cell that cannot run for each quantization, at the headline's context: nothing of it is priced."""
    native = model.context.native_tokens
    tokens = (asked.contexts[0] or native) if asked.contexts else min(HEADLINE_TOKENS, native)
    return tuple(_on(model, asked, machine, tokens, reason) for machine in machines)


def _on(model: ModelSpec, asked: Asked, machine: Machine, tokens: int, reason: str) -> MachineCheck:
    key_type, value_type = asked.caches[0]
    cells = tuple(
        Cell(
            quant=quant,
            runtime=VLLM,
            runtime_version=asked.version or newest_known(VLLM),
            context_tokens=tokens,
            sequences=asked.workload.sequences,
            images=asked.workload.images_of(model),
            cache_type_k=key_type,
            cache_type_v=value_type,
            batch_tokens=None,
            flash_attention=None,
            answer=Answer.CANNOT_RUN,
            reason=reason,
            warnings=machine.notes,
            bits_per_weight=None,
            tensor_bytes=None,
            need_bytes=None,
            host_need_bytes=None,
            usable_bytes=sum(device.usable_bytes for device in machine.gpus) if machine.gpus else machine.host_bytes,
            reserve_bytes=None,
            headroom_bytes=(),
            fits_context_tokens=None,
            gpu_layers=None,
            layers=model.text.layers + 1,
            parts=(),
            command=None,
        )
        for quant in asked.quants or (model.checkpoint_type,)
    )
    return MachineCheck(machine=machine, cells=cells, headline=cells[0])


def _multiple(version: str | None) -> int:
    value = constants(VLLM, version)["vocabulary_multiple"].value
    assert isinstance(value, int)
    return value


def _or(sizes: Sequence[int]) -> str:
    words = [str(size) for size in sizes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
