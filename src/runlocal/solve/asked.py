"""What a person asks of a model."""

from runlocal.core.noun import NamedTuple
from runlocal.core.workload import Workload

HEADLINE_TOKENS = 8192
USUAL_CONTEXTS = (4096, 8192, 16384, 32768, 65536, 131072)
HEADLINE_QUANT = "Q4_K_M"


class Asked(NamedTuple):
    """The question, machine apart.

    workload: everything but context and cache types, which the grid varies
    quants: quantizations; None: the runtime's usual list
    contexts: tokens of one sequence, None standing for what the model was trained for, as `max` does; None: the usual contexts
    caches: pairs of K and V types
    imatrix: recipe of files made with an importance matrix; None: as published files are
    runtime, version: None: chosen by what loads the model
    reserve_bytes: to leave free per device; None: what the runtime leaves
    strict: `tight` is a no
    offload: `spills` is a yes
    """

    workload: Workload
    quants: tuple[str, ...] | None = None
    contexts: tuple[int | None, ...] | None = None
    caches: tuple[tuple[str, str], ...] = (("f16", "f16"),)
    imatrix: bool | None = None
    runtime: str | None = None
    version: str | None = None
    reserve_bytes: int | None = None
    strict: bool = False
    offload: bool = False
