"""The cell of a runtime that is known and not priced, which is a no: nothing of what it would take is computed."""

from runlocal.core.machine import Machine, Origin
from runlocal.core.report import Cell
from runlocal.core.verdict import Answer
from runlocal.core.workload import Workload
from runlocal.quants.gguf import Recipe
from runlocal.runtimes import Runtime
from runlocal.solve.support import not_looked_at


def refused(runtime: Runtime, recipe: Recipe, workload: Workload, machine: Machine, reason: str) -> Cell:
    """A cell that cannot run, for that reason."""
    model = runtime.model
    return Cell(
        quant=recipe.name,
        runtime=runtime.id,
        runtime_version=runtime.version,
        context_tokens=workload.context_tokens,
        sequences=workload.sequences,
        images=workload.images_of(model),
        cache_type_k=workload.cache_type_k,
        cache_type_v=workload.cache_type_v,
        batch_tokens=None,
        flash_attention=None,
        answer=Answer.CANNOT_RUN,
        reason=reason,
        warnings=(*not_looked_at(runtime), *machine.notes),
        bits_per_weight=None,
        tensor_bytes=None,
        need_bytes=None,
        host_need_bytes=None,
        usable_bytes=None if machine.origin is Origin.UNLIMITED else machine.usable_bytes,
        reserve_bytes=None,
        headroom_bytes=(),
        fits_context_tokens=None,
        gpu_layers=None,
        layers=model.text.layers + 1,
        parts=(),
        command=None,
        draft=runtime.draft_of(workload),
        mtp=workload.mtp,
    )
