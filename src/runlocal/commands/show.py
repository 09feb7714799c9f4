"""`runlocal show MODEL`: what we know of one model, and where from."""

from collections.abc import Iterator, Mapping

from runlocal.architectures import layout
from runlocal.catalog.models import licence
from runlocal.catalog.runtimes import all_support
from runlocal.commands.check import open_model
from runlocal.core.cache import CacheKind
from runlocal.core.errors import Problem
from runlocal.core.listing import Column, Fact, Form, Listing, Page, Section, Value
from runlocal.core.model import ModelSpec
from runlocal.solve.check import open_for


def run(name: str) -> Page:
    """The page of the model that `name` means. Raises Problem."""
    opened = open_model(name)
    model = opened.model
    return Page(
        kind="model",
        title=f"{model.name} ({model.id})",
        sections=tuple(_known(section) for section in (_identity(model), _shape(model), _licence(model))),
        listings=(*_sizes(model), _runtimes(model), _aliases(model), _sources(model)),
        notes=opened.notes,
    )


def _known(section: Section) -> Section:
    """The section without what does not apply or is not known."""
    return section._replace(facts=tuple(fact for fact in section.facts if fact.value not in (None, ())))


def _identity(model: ModelSpec) -> Section:
    laid = layout(model)
    tower = model.vision.tower_parameters + model.vision.projector_parameters if model.vision else 0
    used = model.text.experts.used if model.text.experts else 0
    return Section(
        "Model",
        (
            Fact("id", "id", model.id),
            Fact("family", "family", f"{model.family}, {model.vendor}"),
            Fact("released", "released", model.released),
            Fact("variant", "variant", model.variant),
            Fact("modalities", "modalities", model.modalities),
            Fact("parameters", "parameters", laid.parameters() + tower, Form.PARAMETERS),
            Fact("active_parameters", "read per text token", laid.active_parameters(used), Form.PARAMETERS),
            Fact("published_parameters", "published total", model.parameters.published, Form.COUNT),
            Fact("parameters_exception", "why they differ", model.parameters.exception),
            Fact("context_native_tokens", "context", model.context.native_tokens, Form.TOKENS),
            Fact("context_extended_tokens", f"context with {model.context.extension}", model.context.extended_tokens, Form.TOKENS),
            Fact("context_recommended_tokens", "context the vendor advises", model.context.recommended_tokens, Form.TOKENS),
            Fact("text_twin", "same text weights", model.text_twin),
        ),
    )


def _shape(model: ModelSpec) -> Section:
    text = model.text
    facts = [
        Fact("architecture", "architecture", f"{model.architecture} ({model.hf_architecture})"),
        Fact("layers", "layers", text.layers),
        Fact("hidden_size", "hidden size", text.hidden_size),
        Fact("intermediate_size", "MLP width", text.intermediate_size or None),
        Fact("heads", "heads", text.heads),
        Fact("kv_heads", "KV heads", text.kv_heads),
        Fact("head_dim", "head_dim", text.head_dim),
        Fact("vocabulary_size", "vocabulary", text.vocabulary_size, Form.COUNT),
        Fact("tied_embeddings", "output matrix", "the embedding (tied)" if text.tied_embeddings else "its own"),
        Fact("cache", "cache per token", tuple(_caches(model))),
        Fact("checkpoint_type", "checkpoint", model.checkpoint_type),
    ]
    if experts := text.experts:
        facts.append(Fact("experts", "experts", f"{experts.count}, {experts.used} per token, width {experts.intermediate_size}"))
    if vision := model.vision:
        facts.append(
            Fact("vision_tower", "vision tower", f"{vision.tower}, {vision.tower_parameters + vision.projector_parameters:,} parameters with projector")
        )
    return Section("Shape", tuple(facts))


def _caches(model: ModelSpec) -> Iterator[str]:
    for cache in layout(model).caches():
        count = len(cache.layers)
        match cache.kind:
            case CacheKind.LATENT:
                yield f"{count} layers of a latent of {cache.k_values} values"
            case CacheKind.CROSS:
                yield f"{count} cross-attention layers of {cache.cells} image tokens, whatever the context"
            case CacheKind.RECURRENT:
                yield f"{count} layers of a fixed state"
            case CacheKind.SLIDING | CacheKind.CHUNKED:
                yield f"{count} layers of {cache.k_values} + {cache.v_values} values, within a window of {cache.window_tokens} tokens"
            case CacheKind.FULL:
                yield f"{count} layers of {cache.k_values} + {cache.v_values} values"


def _licence(model: ModelSpec) -> Section:
    found = licence(model)
    gated = {True: "yes: the repository asks for consent", False: "no", None: "not known"}[model.gated]
    return Section(
        "Licence",
        (
            Fact("license", "name", found.name),
            Fact("commercial", "commercial use", found.commercial),
            Fact("conditions", "conditions", found.conditions),
            Fact("gated", "gated", gated),
            Fact("license_url", "text", found.url),
            Fact("license_checked", "read on", found.checked),
        ),
    )


def _sizes(model: ModelSpec) -> Iterator[Listing]:
    """The file's size in every usual quantization of the runtime that loads the model; nothing where none is priced."""
    try:
        runtime = open_for(model, None, None)
    except Problem:
        return
    recipes = [runtime.recipe(name, None) for name in runtime.usual_quants()]
    yield Listing(
        kind="sizes",
        title=f"Sizes of the language model's tensors ({runtime.id} {runtime.version})",
        columns=(Column("quant", "quantization"), Column("bits_per_weight", "bits/weight", Form.NUMBER), Column("tensor_bytes", "download", Form.GB)),
        rows=tuple({"quant": r.name, "bits_per_weight": round(runtime.bits_per_weight(r), 2), "tensor_bytes": runtime.tensor_bytes(r)} for r in recipes),
    )


def _runtimes(model: ModelSpec) -> Listing:
    words = {True: "yes", False: "no", None: "not known"}
    rows = [
        {"id": s.id, "loads": words[s.loads], "versions": s.versions, "newest_known": s.newest_known, "note": s.note, "source": s.source}
        for s in all_support(model.architecture, model.hf_architecture, model.vision is not None)
    ]
    columns = (
        Column("id", "runtime"),
        Column("loads", "loads it today"),
        Column("versions", "versions"),
        Column("newest_known", "newest seen"),
        Column("note", "note"),
    )
    return Listing(kind="runtimes", title="Runtimes", columns=columns, rows=tuple(rows))


def _aliases(model: ModelSpec) -> Listing:
    rows = tuple({"name": alias.name, "kind": alias.kind, "variant": alias.variant} for alias in model.aliases)
    return Listing(kind="aliases", title="Other names", columns=(Column("name", "name"), Column("kind", "kind"), Column("variant", "weights")), rows=rows)


def _sources(model: ModelSpec) -> Listing:
    rows: tuple[Mapping[str, Value], ...] = (
        {"url": model.parameters.source, "what": "published parameter count", "checked": None},
        *({"url": s.url, "what": s.what, "checked": s.checked} for s in model.sources),
    )
    return Listing(kind="sources", title="Sources", columns=(Column("url", "where"), Column("what", "what"), Column("checked", "read on")), rows=rows)
