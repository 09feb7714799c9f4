"""Every file of data/models and data/licenses.toml is strict, sourced and consistent with the others. One test id per file."""

import datetime
import re
import tomllib
import types
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from runlocal.architectures import has_gguf, layout
from runlocal.catalog.models import spec_from_table
from runlocal.core.model import License, ModelSpec

DATA = Path(__file__).resolve().parents[2] / "data"
RECIPES = set(tomllib.loads((DATA / "quants" / "gguf.toml").read_text(encoding="utf-8"))["recipes"])
FILES = {path.stem: path for path in sorted((DATA / "models").rglob("*.toml"))}
IDS = sorted(FILES)

VARIANTS = {"instruct", "base", "reasoning", "guard", "embedding"}
KINDS = {"huggingface", "ollama", "gguf"}
CHECKPOINT_TYPES = {"F32", "F16", "BF16", "FP8", "MXFP4", "INT4"}
NORMS = {"rmsnorm", "layernorm", "layernorm_no_bias", "none"}
ALIAS_FORMS = {
    "huggingface": re.compile(r"[\w.-]+/[\w.-]+"),
    "gguf": re.compile(r"[\w.-]+/[\w.-]+-(GGUF|gguf)"),
    "ollama": re.compile(r"[a-z0-9.-]+:[\w.-]+"),
}
SLUG = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
ADDRESS = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+/\S*")
OLDEST_CHECK = datetime.date(2026, 1, 1)


@cache
def table(model_id: str) -> dict[str, Any]:
    return tomllib.loads(FILES[model_id].read_text(encoding="utf-8"))


@cache
def spec(model_id: str) -> ModelSpec:
    return spec_from_table(model_id, table(model_id))


@cache
def licenses() -> dict[str, License]:
    return {key: load(License, value, key) for key, value in tomllib.loads((DATA / "licenses.toml").read_text(encoding="utf-8")).items()}


def load(wanted: Any, value: Any, where: str, **known: Any) -> Any:
    """`value`, a part of a TOML file, as `wanted`: every key known, every required key there, every type exactly as annotated."""
    if get_origin(wanted) is types.UnionType:
        return load(next(kind for kind in get_args(wanted) if kind is not types.NoneType), value, where)
    if get_origin(wanted) is tuple:
        assert isinstance(value, list), where
        return tuple(load(get_args(wanted)[0], item, where) for item in value)
    if not hasattr(wanted, "_fields"):
        assert type(value) is wanted, f"{where}: {value!r} is not {wanted.__name__}"
        return value
    hints = get_type_hints(wanted)
    assert not set(value) - set(hints), f"{where}: unknown {sorted(set(value) - set(hints))}"
    missing = set(wanted._fields) - set(wanted._field_defaults) - set(value) - set(known)
    assert not missing or (wanted is License and missing <= {"url", "checked"}), f"{where}: {sorted(missing)} missing"
    absent = dict.fromkeys(missing)
    return wanted(**known, **absent, **{key: load(hints[key], item, f"{where}.{key}") for key, item in value.items()})


def defaults_stated(part: Any, given: dict[str, Any], where: str) -> list[str]:
    """Keys whose value is the default: they say nothing and are left out."""
    stated = [f"{where}.{key}" for key, item in given.items() if key in part._field_defaults and getattr(part, key) == part._field_defaults[key]]
    for key, item in given.items():
        if isinstance(item, dict):
            stated += defaults_stated(getattr(part, key), item, f"{where}.{key}")
    return stated


def assert_date(text: str) -> None:
    assert re.fullmatch(r"\d{4}-\d{2}(-\d{2})?", text), text
    datetime.date.fromisoformat(text if len(text) > len("2026-01") else f"{text}-01")


def test_every_id_stands_once() -> None:
    assert len(FILES) == sum(1 for _ in (DATA / "models").rglob("*.toml"))
    assert len(FILES) > 200


def test_no_alias_means_two_models() -> None:
    owners: dict[str, str] = {}
    for model_id in IDS:
        for name in (model_id, *(alias.name for alias in spec(model_id).aliases)):
            assert owners.setdefault(name.lower(), model_id) == model_id, name


def test_every_licence_is_used_and_says_what_it_asks() -> None:
    assert {spec(model_id).license for model_id in IDS} == set(licenses())
    for key, license in licenses().items():
        read = license.commercial != "not read"
        assert read == bool(license.checked), key
        assert read == bool(license.conditions), key
        assert license.url or not read, key
        assert license.url is None or ADDRESS.fullmatch(license.url), key


@pytest.mark.parametrize("model_id", IDS)
def test_file_is_strict(model_id: str) -> None:
    strict = load(ModelSpec, table(model_id), model_id, id=model_id)
    assert strict == spec(model_id)
    assert not defaults_stated(strict, table(model_id), model_id)


@pytest.mark.parametrize("model_id", IDS)
def test_path_is_the_family_and_the_id(model_id: str) -> None:
    path = FILES[model_id]
    assert SLUG.fullmatch(model_id)
    assert path.parent.parent == DATA / "models"
    assert path.parent.name == re.sub(r"[^a-z0-9.]+", "-", spec(model_id).family.lower()).strip("-")


@pytest.mark.parametrize("model_id", IDS)
def test_words_come_from_their_lists(model_id: str) -> None:
    model = spec(model_id)
    assert model.variant in VARIANTS
    assert model.license in licenses()
    assert model.checkpoint_type in CHECKPOINT_TYPES
    assert model.text.pooling in {"mean", "cls", "last", None}
    assert set(model.modalities) <= {"text", "vision", "audio"} and model.modalities[0] == "text"
    assert ("vision" in model.modalities) == (model.vision is not None)
    assert model.audio is None or "audio" in model.modalities
    assert model.text.norm in NORMS
    assert model.text.qk_norm in {None, "head", "per_head", "full"}
    assert model.text.rope_scaling in {None, "llama3", "longrope"}
    assert_date(model.released)
    for text in (model.name, model.family, model.vendor, model.note or "-"):
        assert text == text.strip() != ""
    if model.note:
        assert model.note.endswith(".") and "\n" not in model.note
    if model.text_twin:
        twin = spec(model.text_twin)
        assert twin.vision is None and twin.text.hidden_size == model.text.hidden_size


@pytest.mark.parametrize("model_id", IDS)
def test_aliases_are_addresses_people_type(model_id: str) -> None:
    model = spec(model_id)
    assert any(alias.kind == "huggingface" for alias in model.aliases)
    assert model.variant in {alias.variant for alias in model.aliases}
    for alias in model.aliases:
        assert alias.kind in KINDS and alias.variant in VARIANTS, alias
        assert ALIAS_FORMS[alias.kind].fullmatch(alias.name), alias
        assert (alias.kind == "gguf") == alias.name.lower().endswith("-gguf"), alias


@pytest.mark.parametrize("model_id", IDS)
def test_facts_are_sourced(model_id: str) -> None:
    model = spec(model_id)
    assert model.sources[0].url.startswith("https://huggingface.co/")
    assert len({source.url for source in model.sources}) == len(model.sources)
    for source in model.sources:
        assert ADDRESS.fullmatch(source.url), source
        assert source.what.strip(), source
        assert datetime.date.fromisoformat(source.checked) >= OLDEST_CHECK, source
    parameters = model.parameters
    assert parameters.published or parameters.exception
    assert (parameters.next_tokens is None) == (model.text.next_tokens is None)


@pytest.mark.parametrize("model_id", [model_id for model_id in IDS if spec(model_id).files])
def test_published_files_are_what_no_recipe_gives(model_id: str) -> None:
    model = spec(model_id)
    quants = [file.quant for file in model.files]
    assert len({quant.upper().replace("-", "_") for quant in quants}) == len(quants), "a name means one file"
    assert not {quant.upper().replace("-", "_") for quant in quants} & RECIPES, "a name that is a recipe's means the recipe"
    elements = sum(tensor.elements * tensor.count for tensor in layout(model).tensors() if not tensor.skipped)
    for file in model.files:
        assert ADDRESS.fullmatch(file.url)
        if has_gguf(model):
            assert f"/{file.repo}" in file.url
            assert ALIAS_FORMS["gguf"].fullmatch(file.repo), file.repo
        else:
            assert file.repo in {alias.name for alias in model.aliases}, "the checkpoint that it was made of"
        assert_date(file.checked)
        assert 1.5 < 8 * (file.bytes - (file.metadata_bytes or 0)) / elements < 16.1, "bits per weight"
        assert file.metadata_bytes is None or 1 << 20 < file.metadata_bytes < 1 << 24
        assert not file.rounded or file.bytes % 1_000_000 == 0 or file.bytes % (1 << 20) == 0, "the digits that were not read are zeros"
    for repo in {file.repo for file in model.files}:
        assert len({file.metadata_bytes for file in model.files if file.repo == repo}) == 1


@pytest.mark.parametrize("model_id", IDS)
def test_context_lengths_are_ordered(model_id: str) -> None:
    context = spec(model_id).context
    assert (context.extended_tokens is None) == (context.extension is None)
    assert context.extension in {None, "yarn"}
    assert context.native_tokens < (context.extended_tokens or context.native_tokens + 1)
    stretched = context.original_tokens or context.native_tokens
    assert stretched <= context.native_tokens and (context.extended_tokens or stretched) % stretched == 0
    assert context.original_tokens is None or context.original_tokens != context.native_tokens
    assert (context.recommended_tokens or 0) < context.native_tokens


@pytest.mark.parametrize("model_id", IDS)
def test_shapes_hang_together(model_id: str) -> None:
    text, vision = spec(model_id).text, spec(model_id).vision
    assert text.heads % text.kv_heads == 0 if text.kv_heads else text.heads == text.head_dim == 0
    assert text.rope_dimensions is None or (text.rope_dimensions < text.head_dim and text.rope_dimensions % 2 == 0)
    for layers in (text.window.full_layers if text.window else (), text.cross.layers if text.cross else (), (text.experts and text.experts.layers) or ()):
        assert list(layers) == sorted(set(layers))
        assert all(0 <= layer < text.layers for layer in layers)
    if text.latent:
        assert text.head_dim == text.latent.qk_nope_head_dim + text.latent.qk_rope_head_dim
        assert text.kv_heads == text.heads
    if text.experts:
        assert 0 < text.experts.used <= text.experts.count
        assert text.experts.leading_dense_layers < text.layers
        assert not (text.experts.layers and text.experts.leading_dense_layers)
    layers = [
        *(part.layers for part in (text.mamba, text.delta_net, text.kimi_delta, text.lightning, text.short_conv) if part),
        text.attention_layers,
        text.mlp_layers,
    ]
    assert all(list(named) == sorted(set(named)) and set(named) <= set(range(text.layers)) for named in layers if named is not None)
    everywhere = text.experts and not text.experts.leading_dense_layers and not text.experts.layers and not text.experts.parallel_dense
    assert (text.intermediate_size == 0) == bool(everywhere or not text.heads)
    if vision:
        assert vision.tower_parameters > 0 and vision.projector_parameters > 0
        assert vision.hidden_size * vision.patch_size > 0
        assert (vision.layers * vision.heads > 0) == (vision.tower != "gemma4_unified"), "that one has no transformer"
        assert all(0 <= layer < vision.layers for layer in (*vision.full_attention_layers, *vision.deepstack_layers, *vision.intermediate_layers))
