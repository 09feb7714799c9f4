"""`runlocal models`: what we know."""

from runlocal.catalog.models import index
from runlocal.catalog.names import normal
from runlocal.core.listing import Column, Form, Listing


def run(query: str) -> Listing:
    """Every bundled model, or those whose id, name, family, vendor, architecture or alias holds every word of the query."""
    words = normal(query).split()
    rows = [
        {
            "id": model_id,
            "parameters": entry["parameters"],
            "context_tokens": entry["context_tokens"],
            "released": entry["released"],
            "modalities": "+".join(entry["modalities"]),
            "architecture": entry["architecture"],
            "vendor": entry["vendor"],
            "family": entry["family"],
            "license": entry["license"],
        }
        for model_id, entry in index().items()
        if matches(words, model_id, entry)
    ]
    return Listing(
        kind="models",
        title=f"{len(rows)} model{'' if len(rows) == 1 else 's'}" + (f" for {query!r}" if query else ""),
        columns=(
            Column("id", "id"),
            Column("parameters", "parameters", Form.PARAMETERS),
            Column("context_tokens", "context", Form.TOKENS),
            Column("released", "released"),
            Column("modalities", "modalities", extra=True),
            Column("vendor", "vendor", extra=True),
            Column("architecture", "architecture", extra=True),
        ),
        rows=tuple(rows),
        notes=("`runlocal show ID` says more; `runlocal check ID` says whether it runs here.",)
        if rows
        else ("No model matches. `runlocal models` lists them all.",),
    )


def matches(words: list[str], model_id: str, entry: dict[str, object]) -> bool:
    """Whether one of a model's names holds every word."""
    aliases = entry["aliases"]
    names = [model_id, *(str(entry[key]) for key in ("name", "family", "vendor", "architecture")), *(aliases if isinstance(aliases, list) else ())]
    return any(all(word in normal(name) for word in words) for name in names)
