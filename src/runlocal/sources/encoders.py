"""Encoders that make vectors of texts, as config.json and the files beside it describe them (llama.cpp's conversion/bert.py and base.py)."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from runlocal.core.errors import Code, Problem
from runlocal.core.model import ModelSpec
from runlocal.sources.files import bad_file, read_all
from runlocal.sources.keys import Keys

MAY_GENERATE = frozenset(("qwen2", "qwen3"))
POOLED = frozenset(("bert", "gemma-embedding", "nomic-bert", *MAY_GENERATE))
"""Architectures whose file says how it makes one vector of many, where the folder does."""

MODULES = "modules.json"
_LIMIT_BYTES = 1 << 20
_MODES = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
Gained = Mapping[str, Any]


def _bert(keys: Keys) -> tuple[Gained, Gained]:
    """Learned positions; a RoBERTa keeps those behind the padding token's."""
    if keys.text("position_embedding_type") not in (None, "absolute"):
        raise keys.not_computed("its positions are not learned ones")
    positions = keys.number("max_position_embeddings")
    if keys.text("model_type") in ("roberta", "xlm-roberta") and (padding := keys.maybe("pad_token_id")) is not None:
        positions -= 1 + padding
    if positions < 1:
        raise keys.bad("max_position_embeddings", "leaves no position")
    return {"max_position_embeddings": positions}, {"position_embeddings": positions, "token_types": keys.maybe("type_vocab_size") or 1}


def _nomic(keys: Keys) -> tuple[Gained, Gained]:
    """Nomic BERT, which was trained for fewer positions than config.json names."""
    if keys.maybe("moe_every_n_layers"):
        raise keys.not_computed("it has experts")
    positions, trained = keys.number("n_positions"), keys.maybe("max_trained_positions") or 2048
    if (positions, trained) != (8192, 2048):
        raise keys.not_computed(f"it has {positions:,} positions, of which {trained:,} were trained")
    if keys.text("activation_function") != "swiglu" or keys.flag("prenorm") or any(map(keys.flag, ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"))):
        raise keys.not_computed("it has another layer than Nomic Embed")
    renamed = {
        "hidden_size": keys.number("n_embd"),
        "num_attention_heads": keys.number("n_head"),
        "num_hidden_layers": keys.number("n_layer"),
        "intermediate_size": keys.number("n_inner"),
        "max_position_embeddings": trained,
    }
    return renamed, {"token_types": keys.maybe("type_vocab_size") or 1}


ENCODERS: Mapping[str, Callable[[Keys], tuple[Gained, Gained]]] = {"bert": _bert, "nomic-bert": _nomic}


def pooled(found: ModelSpec, folder: str) -> ModelSpec:
    """The model with the pooling that the files in `folder` name.

    Raises Problem: not_computed where an encoder's is not named, or is none that llama.cpp knows; bad_file where a file makes no sense.
    """
    if found.architecture not in POOLED:
        return found
    modules = _json(folder, MODULES)
    places = (one.get("path") for one in modules if isinstance(one, dict) and str(one.get("type")).endswith("Pooling")) if isinstance(modules, list) else ()
    place = next(iter(places), None)
    if place is None:
        if found.architecture in MAY_GENERATE:
            return found
        what = f"{found.id}: how it makes one vector of many is not in config.json, and no {MODULES} says it"
        raise Problem(Code.NOT_COMPUTED, what, hint=f"give the folder as it was published, {MODULES} and the folder that it names for the pooling included")
    if not isinstance(place, str) or not place or place != os.path.basename(place) or place.startswith("."):
        raise bad_file(MODULES, "names no folder beside it for the pooling")
    table = _json(os.path.join(folder, place), "config.json")
    if not isinstance(table, dict):
        raise bad_file(MODULES, "names a folder for the pooling that holds no config.json")
    mode = next((mode for key, mode in _FLAGS.items() if table.get(key) is True), None) or _MODES.get(str(table.get("pooling_mode")))
    if mode is None:
        raise Problem(Code.NOT_COMPUTED, f"{found.id}: it makes one vector of many by neither the mean, the first nor the last, which llama.cpp has no way for")
    return found._replace(text=found.text._replace(pooling=mode))


def _json(folder: str, name: str) -> Any:
    """What the file holds, None where there is none."""
    path = os.path.join(folder, name)
    if not os.path.lexists(path):
        return None
    try:
        return json.loads(read_all(path, _LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise bad_file(path, "is no JSON: the file is broken or cut short", hint="download it again") from error
