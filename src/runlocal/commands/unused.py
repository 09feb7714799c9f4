"""What was asked for and has nothing to act on: an option that changes no byte is said, never passed over in silence.

What is asked goes by the name of its field in `Options` or `Workload`, which agree where both have one; `given` has, of those that are not at
their default, how each was written.
"""

from collections.abc import Mapping, Sequence

from runlocal.commands.options import SPELLING, Options
from runlocal.core.machine import Machine, Origin
from runlocal.core.model import ModelSpec
from runlocal.core.workload import Workload
from runlocal.runtimes import Runtime

_LONG = {"kv": "--kv", "require_gpu": "--require-gpu"}
_OF_IMAGES = ("images", "image_size", "vision", "mmproj_type")
_OF_EXPERTS = ("cpu_moe", "n_cpu_moe")
_TO_THE_HOST = (*_OF_EXPERTS, "kv_offload", "gpu_layers")
_OF_A_GPU = (*_TO_THE_HOST, "tensor_split", "offload", "idle")
_OF_KEYS_AND_VALUES = ("kv", "cache_type_k", "cache_type_v")


def typed(options: Options) -> dict[str, str]:
    """Field → option, of every option that is not at its default."""
    names = SPELLING | _LONG
    return {field: names[field] for field, default in Options._field_defaults.items() if getattr(options, field) != default}


def on_machines(given: Mapping[str, str], workload: Workload, machines: Sequence[Machine]) -> tuple[str, ...]:
    """A sentence for each of what was given that acts on none of the machines."""
    why: dict[str, str] = {}
    if all(machine.origin is not Origin.HERE for machine in machines):
        why |= dict.fromkeys(("idle", "ignore_pid", "require_gpu"), "this is about the computer that runs this, and a machine is named")
    elif "idle" in given:
        why["ignore_pid"] = f"{given['idle']} counts what every process holds as free"
    solved = set(given).isdisjoint(_TO_THE_HOST)  # what is moved by hand spills whatever host memory there is
    if solved and all(machine.gpus and machine.host_bytes is None for machine in machines):
        why["offload"] = "how much host memory there is was not said (--ram 64GB)"
    if all(machine.gpus and all(gpu.unified for gpu in machine.gpus) for machine in machines):
        why |= dict.fromkeys(("ram", "offload") if solved else ("ram",), "the GPU's memory is the host's own")
    if all(not machine.gpus for machine in machines):
        why |= dict.fromkeys(_OF_A_GPU, "there is no GPU")
    elif all(len(machine.gpus) <= 1 for machine in machines) and len(workload.tensor_split or ()) <= 1:  # shares for more are refused
        why["tensor_split"] = "there is one GPU"
    return _said(given, why)


def of_model(given: Mapping[str, str], model: ModelSpec, workload: Workload) -> tuple[str, ...]:
    """A sentence for each of what was given that finds nothing in the model."""
    why = _of_images(model, workload) | _of_experts(model, workload)
    if not set(given).isdisjoint((*_OF_KEYS_AND_VALUES, "kv_offload")):
        why |= _of_caches(model)
    return (*_said(given, why), *_too_many_layers(given, model, workload))


def of_files(given: Mapping[str, str], quants: Sequence[str], runtime: Runtime) -> tuple[str, ...]:
    """A sentence where an importance matrix was asked for, and the files that were named are the same size with one and without."""
    if "imatrix" not in given or not quants:
        return ()
    with_one, without = ([runtime.tensor_bytes(runtime.recipe(quant, imatrix)) for quant in quants] for imatrix in (True, False))
    why = f"{', '.join(quants)} of {runtime.model.id} takes the same with an importance matrix and without"
    return _said(given, {"imatrix": why} if with_one == without else {})


def _said(given: Mapping[str, str], why: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{written}: {why[field]}, so it changes nothing." for field, written in given.items() if field in why)


def _of_images(model: ModelSpec, workload: Workload) -> dict[str, str]:
    if model.vision is None:
        return dict.fromkeys(_OF_IMAGES, f"{model.id} takes no images")
    if not workload.vision:
        return dict.fromkeys(("images", "image_size", "mmproj_type"), "images are left out")
    return {"image_size": "no image is processed"} if workload.images == 0 else {}


def _of_experts(model: ModelSpec, workload: Workload) -> dict[str, str]:
    experts = model.text.experts
    if experts is None:
        return dict.fromkeys(_OF_EXPERTS, f"{model.id} has no experts")
    if workload.cpu_moe:
        return {"n_cpu_moe": "the experts of all layers are kept in host memory anyway"}
    first = experts.leading_dense_layers if experts.layers is None else min(experts.layers, default=0)
    return {"n_cpu_moe": f"the experts of {model.id} begin with layer {first}, counted from 0"} if workload.n_cpu_moe <= first else {}


def _too_many_layers(given: Mapping[str, str], model: ModelSpec, workload: Workload) -> tuple[str, ...]:
    if "n_cpu_moe" not in given or model.text.experts is None or workload.cpu_moe or workload.n_cpu_moe <= model.text.layers:
        return ()
    return (f"{given['n_cpu_moe']}: {model.id} has {model.text.layers} layers, so the experts of all of them are kept in host memory.",)


def _of_caches(model: ModelSpec) -> dict[str, str]:
    from runlocal.architectures import layout
    from runlocal.core.cache import CacheKind

    caches = layout(model).caches()
    why = dict.fromkeys((*_OF_KEYS_AND_VALUES, "kv_offload") if not caches else _OF_KEYS_AND_VALUES, f"{model.id} keeps no keys and values")
    return why if all(cache.kind is CacheKind.RECURRENT for cache in caches) else {}
