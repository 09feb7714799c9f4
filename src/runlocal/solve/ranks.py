"""Over how many ranks vLLM cuts a model, and what each then holds of the weights: what is known of it before what it takes is computed."""

from runlocal.catalog.facts import facts
from runlocal.catalog.runtimes import constants, support
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.engines.vllm import parallel
from runlocal.engines.vllm.shards import rank_bytes

_VLLM = "vllm"


class Ranks(NamedTuple):
    """A tensor-parallel size.

    number: of ranks
    weight_bytes: of the checkpoint, that each rank holds, to the byte; None where that is not known
    """

    number: int
    weight_bytes: int | None


def ranks_in_vllm(model: ModelSpec) -> tuple[Ranks, ...]:
    """The sizes that the newest vLLM takes for the language model; empty where it does not load the model, or its rules for it are not known here."""
    if support(_VLLM, model.architecture, model.hf_architecture, model.vision is not None).loads is not True:
        return ()
    known = facts(_VLLM, None).runtime
    found = []
    for number in parallel.sizes(model, known) or ():
        held = rank_bytes(model, tensor_parallel=number, pipeline_parallel=1, constants=known)
        found.append(Ranks(number, None if held is None else held[0]))
    return tuple(found)


def source() -> str:
    """Where the layers were read that vLLM cuts."""
    return constants(_VLLM)["read_classes"].source
