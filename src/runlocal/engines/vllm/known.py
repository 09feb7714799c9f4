"""What is known of vLLM, whose memory is not computed: what it refuses before it allocates anything, and what its weights are.

https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py (verify_with_parallel_config, _get_and_verify_max_len),
…/vllm/config/parallel.py (world_size), …/vllm/config/cache.py (CacheDType), …/vllm/model_executor/models/interfaces.py (SupportsPP)
"""

from collections.abc import Iterator

from runlocal.core.facts import Facts
from runlocal.core.model import ModelSpec
from runlocal.core.units import gib
from runlocal.core.workload import Workload
from runlocal.engines.vllm.parallel import refuses as refuses_size
from runlocal.engines.vllm.parallel import sizes
from runlocal.engines.vllm.shards import rank_bytes

NAME = "vLLM"


def refuses(model: ModelSpec, workload: Workload, gpus: int, facts: Facts) -> str | None:
    """Why vLLM would not start the model so, one sentence; None where nothing known here forbids it.

    gpus: of the machine; 0: none, where ranks are processes on its CPU
    """
    return next(_reasons(model, workload, gpus, facts), None)


def weights(model: ModelSpec, workload: Workload, facts: Facts) -> str | None:
    """The weights of the checkpoint that a rank holds, in words; None where that is not known."""
    stages, ranks = workload.pipeline_parallel, workload.tensor_parallel
    if stages > model.text.layers or not workload.vision:
        return None
    held = rank_bytes(model, tensor_parallel=ranks, pipeline_parallel=stages, constants=facts.runtime)
    if held is None:
        return None
    if stages * ranks == 1:
        return f"the weights alone are {gib(held[0])}"
    whose = f"the fullest of {stages * ranks} ranks" if stages > 1 else f"each of {ranks} ranks"
    return f"of the weights alone, {whose} holds {gib(max(held))}"


def _reasons(model: ModelSpec, workload: Workload, gpus: int, facts: Facts) -> Iterator[str]:
    if elsewhere := tuple(_of_llama_cpp(workload)):
        yield f"{NAME} has no {' and no '.join(elsewhere)}: leave what is llama.cpp's out"
    kinds = dict.fromkeys((workload.cache_type_k, workload.cache_type_v))
    if strange := next((kind for kind in kinds if kind not in facts.runtime["cache_types"]), None):
        yield f"{NAME} has no cache of type {strange}; it has {_listed(facts.runtime['cache_types'], 'and')}"
    if len(kinds) > 1:
        yield f"{NAME} sets one type for the whole cache (--kv-cache-dtype)"
    longest = max(model.context.native_tokens, model.context.extended_tokens or 0)
    if workload.context_tokens > longest:
        yield f"{NAME} refuses a context beyond the {longest:,} tokens of the model (--max-model-len)"
    stages, ranks = workload.pipeline_parallel, workload.tensor_parallel
    if stages > 1 and model.hf_architecture in facts.runtime.get("unpipelined_classes", ()):
        yield f"{NAME} deals no layers of {model.hf_architecture} out over pipeline stages; leave --pp out"
    if reason := refuses_size(model, ranks, facts.runtime):
        taken = sizes(model, facts.runtime)
        yield f"{reason}; --tp {_listed(taken, 'or')}" if taken else reason
    if 0 < gpus < stages * ranks:
        asked = " × ".join([*([f"--tp {ranks}"] if ranks > 1 else []), *([f"--pp {stages}"] if stages > 1 else [])])
        yield f"{NAME} runs {stages * ranks} ranks ({asked}) on as many GPUs, and here {'is' if gpus == 1 else 'are'} {gpus}"


def _of_llama_cpp(workload: Workload) -> Iterator[str]:
    """What was asked for that is llama.cpp's alone, as options, or as keys of a batch that are no options."""
    asked = {
        "--ubatch": workload.batch_tokens is not None,
        "--no-flash-attn": workload.flash_attention is not None,
        "--no-kv-offload": not workload.kv_offload,
        "--cpu-moe": workload.cpu_moe,
        "--n-cpu-moe": workload.n_cpu_moe > 0,
        "--tensor-split": workload.tensor_split is not None,
        "--gpu-layers": workload.gpu_layers is not None,
        "pool_tokens": workload.pool_tokens is not None,
        "unified_kv": workload.unified_kv,
        "output_tokens": workload.output_tokens is not None,
        "swa_full": workload.swa_full,
    }
    return (option for option, is_asked in asked.items() if is_asked)


def _listed(values: tuple[object, ...], last: str) -> str:
    words = [str(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
