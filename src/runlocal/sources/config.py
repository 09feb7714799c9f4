"""config.json of Hugging Face's transformers to `ModelSpec`."""

import json
import os
from collections.abc import Mapping
from typing import Any

from runlocal.core.errors import Code, Problem
from runlocal.core.model import ModelSpec
from runlocal.sources import delta, gemma
from runlocal.sources import vision as towers
from runlocal.sources.encoders import ENCODERS, pooled
from runlocal.sources.families import FAMILIES
from runlocal.sources.files import bad_file, clean, identifier, label, read_all
from runlocal.sources.keys import Keys
from runlocal.sources.linear import LINEAR
from runlocal.sources.renamed import RENAMED
from runlocal.sources.searched import searched
from runlocal.sources.states import STATEFUL, stateful
from runlocal.sources.stranger import UNKNOWN, stranger
from runlocal.sources.text import read_text
from runlocal.sources.wrappers import MODEL_TYPES, WRAPPERS, Wrapper

LIMIT_BYTES = 4 << 20

# What LlamaConfig and MistralConfig assume, and a config nested in another one leaves out where it is so.
_NESTED = {
    "llama": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "max_position_embeddings": 2048,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "vocab_size": 32000,
    },
    "mistral": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
    },
}
_TYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "half": "F16", "float": "F32"}


def read_config(path: str) -> ModelSpec:
    """The model that the config.json at `path` describes; its id is the name of the folder it lies in.

    Raises Problem: bad_file where it is no JSON object or a field is missing (named) or senseless; not_computed for a class of model that this
    version does not lay out (named).
    """
    folder = os.path.dirname(os.path.abspath(path))
    return pooled(spec(parse_object(read_all(path, LIMIT_BYTES), path), path, identifier(os.path.basename(folder))), folder)


def parse_object(content: bytes, path: str) -> dict[str, Any]:
    """The JSON object in `content`. Raises Problem (bad_file)."""
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad_file(path, "is no JSON: the file is broken or cut short", hint="download it again") from error
    if not isinstance(table, dict):
        raise bad_file(path, "holds no JSON object")
    return table


def spec(table: Mapping[str, Any], path: str, model_id: str) -> ModelSpec:
    """The model that the object describes. Raises Problem as `read_config` does."""
    top = Keys(table, path)
    name = _class_name(top)
    if name is None:
        raise top.bad("architectures", "is missing")
    if wrapper := WRAPPERS.get(name):
        text_class, inner = _inner_text(top, wrapper)
        family = FAMILIES[text_class]
        if wrapper.architecture and family.architecture not in wrapper.keeps:
            family = family._replace(architecture=wrapper.architecture)
    elif found := FAMILIES.get(name):
        family, inner = found, top
    else:
        raise Problem(
            Code.NOT_COMPUTED,
            f"{label(path)} describes a {clean(name)}, a class of model that this version does not read",
            hint="`runlocal models` lists the models that are known by name",
        )
    keys = inner._replace(defaults={**inner.defaults, **family.defaults}, names=family.names)
    if rename := RENAMED.get(family.architecture):
        keys = rename(keys)
    gained: Mapping[str, Any] = {}
    if family.architecture == "deci":
        keys, gained = searched(keys)
    if family.architecture in delta.DELTA:
        keys, gained = delta.renamed(keys, family.architecture), delta.gained(keys, family.architecture)
    if family.architecture in STATEFUL:
        keys, gained, architecture = stateful(keys, family.architecture)
        family = family._replace(architecture=architecture)
    if reader := (LINEAR.get(family.architecture) or ENCODERS.get(family.architecture)):
        renamed, gained = reader(keys)
        keys = keys._replace(table={**keys.table, **renamed})
    text = read_text(keys, top, family)._replace(**gained)
    if family.architecture == "gemma4":
        text = gemma.gemma4(keys, text)
    elif family.architecture == "gemma3n":
        text = gemma.gemma3n(keys, text)
    unpriced = {**gemma.UNPRICED, **delta.UNPRICED}.get(family.architecture)
    seen = towers.read(top, wrapper.tower, text.hidden_size) if wrapper and not unpriced else None
    if text.cross and seen is None:
        raise top.bad("vision_config", "is missing")
    described = stranger(
        path,
        model_id=model_id,
        architecture=family.architecture,
        hf_architecture=name,
        checkpoint_type=checkpoint_type(top, keys),
        context_tokens=keys.number("max_position_embeddings"),
        text=text,
        what="config.json",
        vision=seen,
        note=unpriced if wrapper else None,
    )
    if family.architecture in gemma.HEARING and top.get("audio_config"):
        return described._replace(modalities=(*described.modalities, "audio"), note=gemma.NOTE)
    return described


def _class_name(keys: Keys) -> str | None:
    named = keys.items("architectures")
    return clean(named[0]) if named and isinstance(named[0], str) else MODEL_TYPES.get(keys.text("model_type") or "")


def _inner_text(top: Keys, wrapper: Wrapper) -> tuple[str, Keys]:
    """The class of the language model behind a tower, and its config: nested, or (in older files) the file itself."""
    nested = next((found for key in ("text_config", "llm_config", "language_config") if (found := top.inner(key)) is not None), top)
    named = wrapper.text or (_class_name(nested) if nested is not top else None)
    if named is None or named not in FAMILIES:
        raise nested.not_computed(f"its language model is {clean(named or nested.text('model_type') or 'not named')}")
    if nested is top:
        return named, top
    return named, nested._replace(defaults=_NESTED.get(nested.text("model_type") or "", {}))


def checkpoint_type(top: Keys, inner: Keys) -> str:
    """What the checkpoint is stored in: its quantization, else its dtype, `unknown` where config.json names neither."""
    for keys in (top, inner):
        quantized = keys.inner("quantization_config")
        method = quantized.text("quant_method") if quantized else None
        match method:
            case None:
                continue
            case "fp8" | "fbgemm_fp8":
                return "FP8"
            case "modelopt":
                return ((quantized and quantized.text("quant_algo")) or method).upper()
            case "compressed-tensors":
                form = (quantized and quantized.text("format")) or ""
                return "MXFP4" if form.startswith("mxfp4") else "INT4" if "pack" in form else "FP8"
            case _:
                return method.upper()
    for keys in (top, inner):
        for key in ("dtype", "torch_dtype"):
            if found := _TYPES.get((keys.text(key) or "").removeprefix("torch.")):
                return found
    return UNKNOWN
