"""What every model has whose file a stranger made: shapes that were read, and nothing else that is known of it."""

from runlocal.core.model import Context, ModelSpec, Parameters, Source, Text, Vision
from runlocal.sources.files import source_url

UNKNOWN = "unknown"


def stranger(
    path: str,
    *,
    model_id: str,
    architecture: str,
    hf_architecture: str,
    checkpoint_type: str,
    context_tokens: int,
    text: Text,
    what: str,
    vision: Vision | None = None,
    name: str | None = None,
    vendor: str | None = None,
    variant: str | None = None,
    note: str | None = None,
) -> ModelSpec:
    """A spec of what the file at `path` says; what it does not say is `unknown`, never a guess."""
    from datetime import date

    return ModelSpec(
        id=model_id,
        name=name or model_id,
        family=UNKNOWN,
        vendor=vendor or UNKNOWN,
        released=UNKNOWN,
        variant=variant or UNKNOWN,
        architecture=architecture,
        hf_architecture=hf_architecture,
        modalities=("text", "vision") if vision else ("text",),
        checkpoint_type=checkpoint_type,
        license=UNKNOWN,
        context=Context(native_tokens=context_tokens),
        parameters=Parameters(source=source_url(path)),
        text=text,
        aliases=(),
        sources=(Source(url=source_url(path), what=what, checked=date.today().isoformat()),),
        vision=vision,
        note=note,
    )
