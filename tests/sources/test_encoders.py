"""Encoders: their config.json, and the pooling that the files beside it name."""

import json
from pathlib import Path
from typing import Any

import pytest

from runlocal.architectures import layout
from runlocal.catalog.models import bundled
from runlocal.core.errors import Code, Problem
from runlocal.sources import read

_BERT: dict[str, Any] = {
    "architectures": ["BertModel"],
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "model_type": "bert",
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
BGE_SMALL = {**_BERT, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "num_hidden_layers": 12}
BGE_M3: dict[str, Any] = {
    "architectures": ["XLMRobertaModel"],
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "max_position_embeddings": 8194,
    "model_type": "xlm-roberta",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "type_vocab_size": 1,
    "vocab_size": 250002,
}
NOMIC: dict[str, Any] = {
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "causal": False,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 768,
    "n_head": 12,
    "n_inner": 3072,
    "n_layer": 12,
    "n_positions": 8192,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_fraction": 1.0,
    "torch_dtype": "float32",
    "type_vocab_size": 2,
    "vocab_size": 30528,
}
EMBEDDING_GEMMA: dict[str, Any] = {
    "_sliding_window_pattern": 6,
    "architectures": ["Gemma3TextModel"],
    "attention_bias": False,
    "dtype": "float32",
    "head_dim": 256,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 4,
    "max_position_embeddings": 2048,
    "model_type": "gemma3_text",
    "num_attention_heads": 3,
    "num_hidden_layers": 24,
    "num_key_value_heads": 1,
    "sliding_window": 512,
    "use_bidirectional_attention": True,
    "vocab_size": 262144,
}
QWEN3_EMBEDDING: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "head_dim": 128,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 32768,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 151669,
}
CLS, MEAN, LAST = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode_mean_tokens": True}, {"pooling_mode": "lasttoken"}
PUBLISHED = {
    "bge-small-en-v1.5": (BGE_SMALL, CLS),
    "bge-m3": (BGE_M3, CLS),
    "nomic-embed-text-v1.5": (NOMIC, MEAN),
    "embeddinggemma-300m": (EMBEDDING_GEMMA, MEAN),
    "qwen3-embedding-0.6b": (QWEN3_EMBEDDING, LAST),
}
MODULES = [{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]


def published(folder: Path, config: dict[str, Any], pooling: Any, modules: Any = MODULES) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return str(folder)


@pytest.mark.parametrize("model_id", PUBLISHED)
def test_the_same_as_the_bundled_model(tmp_path: Path, model_id: str) -> None:
    folder, expected = published(tmp_path, *PUBLISHED[model_id]), bundled(model_id)
    for path in (folder, f"{folder}/config.json"):
        found = read(path).spec
        assert found.text == expected.text
        assert layout(found) == layout(expected)
        assert (found.architecture, found.hf_architecture) == (expected.architecture, expected.hf_architecture)
        assert (found.context.native_tokens, found.checkpoint_type) == (expected.context.native_tokens, expected.checkpoint_type)


def test_a_qwen_without_pooling_generates(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN3_EMBEDDING))
    assert read(str(tmp_path)).spec.text.pooling is None


@pytest.mark.parametrize(
    ("modules", "pooling", "code", "words"),
    [
        ([], CLS, Code.NOT_COMPUTED, "no modules.json says it"),
        ({"path": "1_Pooling"}, CLS, Code.NOT_COMPUTED, "no modules.json says it"),
        ([{"path": "../elsewhere", "type": "x.Pooling"}], CLS, Code.BAD_FILE, "names no folder beside it"),
        ([{"path": "..", "type": "x.Pooling"}], CLS, Code.BAD_FILE, "names no folder beside it"),
        ([{"path": 7, "type": "x.Pooling"}], CLS, Code.BAD_FILE, "names no folder beside it"),
        ([{"path": "2_Pooling", "type": "x.Pooling"}], CLS, Code.BAD_FILE, "holds no config.json"),
        (MODULES, [], Code.BAD_FILE, "holds no config.json"),
        (MODULES, {"pooling_mode_max_tokens": True}, Code.NOT_COMPUTED, "neither the mean, the first nor the last"),
    ],
)
def test_what_a_folder_says_of_pooling(tmp_path: Path, modules: Any, pooling: Any, code: Code, words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        read(published(tmp_path, BGE_SMALL, pooling, modules))
    assert caught.value.code is code


def test_a_broken_file_beside_config_json(tmp_path: Path) -> None:
    folder = published(tmp_path, BGE_SMALL, CLS)
    (tmp_path / "modules.json").write_text("[" * 100_000)
    with pytest.raises(Problem, match="no JSON"):
        read(folder)


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        (BGE_SMALL, {"position_embedding_type": "relative_key"}, "positions are not learned"),
        (BGE_SMALL, {"architectures": ["BertForSequenceClassification"]}, "a class of model that this version does not read"),
        (BGE_M3, {"max_position_embeddings": 2}, "leaves no position"),
        (NOMIC, {"moe_every_n_layers": 2}, "it has experts"),
        (NOMIC, {"n_positions": 2048}, "it has 2,048 positions"),
        (NOMIC, {"activation_function": "gelu"}, "another layer"),
        (NOMIC, {"qkv_proj_bias": True}, "another layer"),
        (NOMIC, {"n_inner": None}, "n_inner is missing"),
    ],
)
def test_what_is_not_laid_out(tmp_path: Path, config: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem, match=words):
        read(published(tmp_path, {**config, **changes}, CLS))
