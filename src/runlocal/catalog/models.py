"""Bundled models: tables to `ModelSpec`s by plain constructors (the strict door is `catalog.schema`)."""

from typing import Any

from runlocal.core.model import Alias, Context, Cross, Experts, Latent, ModelSpec, NextTokens, Parameters, Source, Text, Vision, Window

Table = dict[str, Any]


def spec_from_table(model_id: str, table: Table) -> ModelSpec:
    """The spec that a model's file describes. The file is trusted: unknown keys raise TypeError."""
    fields = dict(table)
    fields["modalities"] = tuple(fields["modalities"])
    fields["context"] = Context(**fields["context"])
    fields["parameters"] = Parameters(**fields["parameters"])
    fields["text"] = _text(fields["text"])
    fields["aliases"] = tuple(Alias(**alias) for alias in fields.get("aliases", ()))
    fields["sources"] = tuple(Source(**source) for source in fields["sources"])
    if "vision" in fields:
        fields["vision"] = Vision(**_tuples(fields["vision"]))
    return ModelSpec(id=model_id, **fields)


_PARTS = {"experts": Experts, "latent": Latent, "window": Window, "cross": Cross, "next_tokens": NextTokens}


def _text(table: Table) -> Text:
    return Text(**{key: _PARTS[key](**_tuples(value)) if key in _PARTS else value for key, value in table.items()})


def _tuples(table: Table) -> Table:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
