"""The facts of a model's page: what it is, what stands around it, its shape, its licence."""

from collections.abc import Iterator

from runlocal.architectures import layout
from runlocal.catalog.models import index, licence
from runlocal.core.cache import CacheKind
from runlocal.core.listing import Fact, Form, Section
from runlocal.core.model import ModelSpec
from runlocal.solve.ranks import ranks_in_vllm
from runlocal.solve.relatives import Relatives


def sections(model: ModelSpec, around: Relatives) -> tuple[Section, ...]:
    """Every section of which something is known."""
    known = (_known(section) for section in (_identity(model), _around(around), _shape(model), _licence(model)))
    return tuple(section for section in known if section.facts)


def _known(section: Section) -> Section:
    """The section without what does not apply or is not known."""
    return section._replace(facts=tuple(fact for fact in section.facts if fact.value not in (None, ())))


def _identity(model: ModelSpec) -> Section:
    laid = layout(model)
    used = model.text.experts.used if model.text.experts else 0
    return Section(
        "Model",
        (
            Fact("id", "id", model.id),
            Fact("family", "family", f"{model.family}, {model.vendor}"),
            Fact("released", "released", model.released),
            Fact("variant", "variant", model.variant),
            Fact("modalities", "modalities", model.modalities),
            Fact("parameters", "parameters", laid.parameters() + model.tower_parameters, Form.PARAMETERS),
            Fact("active_parameters", "read per text token", laid.active_parameters(used), Form.PARAMETERS),
            Fact("published_parameters", "published total", model.parameters.published, Form.COUNT),
            Fact("parameters_exception", "why they differ", model.parameters.exception),
            Fact("context_native_tokens", "context", model.context.native_tokens, Form.TOKENS),
            Fact("context_extended_tokens", f"context with {model.context.extension}", model.context.extended_tokens, Form.TOKENS),
            Fact("context_recommended_tokens", "context the vendor advises", model.context.recommended_tokens, Form.TOKENS),
        ),
    )


def _around(around: Relatives) -> Section:
    return Section(
        "Family",
        (
            Fact("predecessor", "before it", _named(around.predecessor)),
            Fact("successor", "after it", _named(around.successor)),
            Fact("siblings", "siblings", tuple(f"{_named(name)}" for name in around.siblings)),
            Fact("text_twin", "same text weights", around.twins),
        ),
    )


def _named(model_id: str | None) -> str | None:
    """The id with the month of release."""
    return None if model_id is None else f"{model_id} ({str(index()[model_id]['released'])[:7]})"


def _shape(model: ModelSpec) -> Section:
    text = model.text
    facts = [
        Fact("architecture", "architecture", f"{model.architecture} ({model.hf_architecture})" if model.hf_architecture else model.architecture),
        Fact("encoder_layers", "encoder layers", text.encoder_layers or None),
        Fact("layers", "decoder layers" if text.encoder_layers else "layers", text.layers),
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
    if sizes := ranks_in_vllm(model):
        facts.append(Fact("vllm_tensor_parallel", "ranks in vLLM (--tp)", ", ".join(str(size.number) for size in sizes)))
    if vision := model.vision:
        facts.append(
            Fact("vision_tower", "vision tower", f"{vision.tower}, {vision.tower_parameters + vision.projector_parameters:,} parameters with projector")
        )
    if audio := model.audio:
        facts.append(Fact("audio_encoder", "speech encoder", f"{audio.encoder}, {audio.parameters:,} parameters with projectors"))
    return Section("Shape", tuple(facts))


def _caches(model: ModelSpec) -> Iterator[str]:
    for cache in layout(model).caches():
        count = len(cache.layers)
        match cache.kind:
            case CacheKind.LATENT:
                yield f"{count} layers of a latent of {cache.k_values} values"
            case CacheKind.INDEXER:
                every = f" for every {cache.ratio} tokens" if cache.ratio > 1 else ""
                yield f"{count} layers of an indexer's key of {cache.k_values} values{every}"
            case CacheKind.COMPRESSED:
                yield f"{count} layers of {cache.k_values} values for every {cache.ratio} tokens"
            case CacheKind.CROSS:
                yield f"{count} cross-attention layers of {cache.cells} image tokens, whatever the context"
            case CacheKind.ENCODED:
                yield f"{count} layers of {cache.k_values} + {cache.v_values} values for every token of the input"
            case CacheKind.RECURRENT:
                yield f"{count} layers of a fixed state"
            case CacheKind.SLIDING | CacheKind.CHUNKED:
                yield f"{count} layers of {cache.k_values} + {cache.v_values} values, within a window of {cache.window_tokens} tokens"
            case CacheKind.FULL if cache.k_values:
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
