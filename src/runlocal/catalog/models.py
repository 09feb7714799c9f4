"""Bundled models: tables to `ModelSpec`s by plain constructors (the strict door is `catalog.schema`)."""

from typing import Any

from runlocal.catalog import bundle
from runlocal.catalog.names import resolve
from runlocal.core.model import (
    Alias,
    AltUp,
    Audio,
    Compressed,
    Context,
    Cross,
    DeltaNet,
    Experts,
    Indexer,
    KimiDelta,
    Latent,
    License,
    Lightning,
    Loss,
    Mamba,
    ModelSpec,
    NextTokens,
    Ngrams,
    Parameters,
    PublishedFile,
    Rwkv,
    Score,
    ShortConv,
    Source,
    Text,
    Vision,
    Window,
)

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
    fields["scores"] = tuple(Score(**score) for score in fields.get("scores", ()))
    fields["losses"] = tuple(Loss(**loss) for loss in fields.get("losses", ()))
    fields["files"] = tuple(PublishedFile(**file) for file in fields.get("files", ()))
    if "vision" in fields:
        fields["vision"] = Vision(**_tuples(fields["vision"]))
    if "audio" in fields:
        fields["audio"] = Audio(**fields["audio"])
    return ModelSpec(id=model_id, **fields)


_PARTS = {
    "altup": AltUp,
    "compressed": Compressed,
    "cross": Cross,
    "experts": Experts,
    "indexer": Indexer,
    "latent": Latent,
    "mamba": Mamba,
    "next_tokens": NextTokens,
    "short_conv": ShortConv,
    "rwkv": Rwkv,
    "window": Window,
    "delta_net": DeltaNet,
    "kimi_delta": KimiDelta,
    "lightning": Lightning,
    "ngrams": Ngrams,
}


def _text(table: Table) -> Text:
    return Text(**{key: _PARTS[key](**_tuples(value)) if key in _PARTS else value for key, value in _tuples(table).items()})


def _tuples(table: Table) -> Table:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def find_model(name: str) -> ModelSpec:
    """The bundled model that a name means. Raises Problem (unknown_model) with the nearest ids."""
    return bundled(resolve(name, bundle.read("names"), lambda: bundle.read("loose_names")))


def is_exact(name: str) -> bool:
    """Whether the name is an id or alias as it stands, case apart."""
    return name.strip().lower() in bundle.read("names")


def index() -> dict[str, Table]:
    """What a list shows of every bundled model, by id: name, family, vendor, released, parameters, context_tokens, aliases …"""
    table: dict[str, Table] = bundle.read("index")
    return table


def bundled(model_id: str) -> ModelSpec:
    """The bundled model of that id."""
    return spec_from_table(model_id, bundle.read(f"models/{model_id}"))


def licence(model: ModelSpec) -> License:
    """The licence of a model's weights; one that nobody read says so."""
    return licence_called(model.license)


def licence_called(key: str) -> License:
    """The licence of that key of data/licenses.toml; one that nobody read says so."""
    table = bundle.read("licenses").get(key)
    if table is None:
        return License(name=key, commercial="not read", conditions=(), url=None, checked=None)
    return License(
        name=table["name"], commercial=table["commercial"], conditions=tuple(table.get("conditions", ())), url=table.get("url"), checked=table.get("checked")
    )


def alias_variant(model: ModelSpec, name: str) -> str:
    """What the weights behind `name` were trained to do: the alias's own variant where `name` is one, else the model's."""
    typed = name.strip().lower()
    return next((alias.variant for alias in model.aliases if alias.name.lower() == typed), model.variant)
