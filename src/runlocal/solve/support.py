"""Whether a runtime loads a model at all."""

from runlocal.architectures import has_gguf
from runlocal.catalog.runtimes import loads_in, looked_at, newest_known, support
from runlocal.core.model import ModelSpec
from runlocal.runtimes import Runtime

ON_GGML = ("llama.cpp", "ollama")
"""Of the runtimes that are priced, those that run GGUF files."""


def does_not_load(model: ModelSpec, runtime: Runtime) -> str | None:
    """Why this version of the runtime does not load the model; None where it does or nobody looked."""
    vision = model.vision is not None
    if runtime.id in ON_GGML and not has_gguf(model):
        found = support(runtime.id, model.architecture, model.hf_architecture, vision)
        return f"{found.name} runs GGUF files, and there is none of {model.id} that it loads"
    if loads_in(runtime.id, runtime.version, model.architecture, model.hf_architecture, vision) is not False:
        return None
    found = support(runtime.id, model.architecture, model.hf_architecture, vision)
    ever = f"{found.versions_text} {'do' if found.loads else 'did'}" if found.versions else "no version did"
    return f"{found.name} {runtime.version} does not load {model.architecture} ({ever})"


def not_looked_at(runtime: Runtime) -> tuple[str, ...]:
    """A sentence where the rules are another version's than the one that was named."""
    if looked_at(runtime.id, runtime.version):
        return ()
    return (f"{runtime.id} {runtime.version} was not looked at: the rules are those of {newest_known(runtime.id)}.",)
