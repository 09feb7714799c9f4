"""Model folders: config.json beside a checkpoint in safetensors."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runlocal.core.errors import Code, Problem
from runlocal.sources import read

TINY: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 2048,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 100,
}

# Embedding and output 2·100·64, final norm 64; per layer q and o 2·64·64, k and v 2·64·32, MLP 3·64·128, two norms.
PARAMETERS = 2 * 100 * 64 + 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64)


def tensors(kind: str = "BF16", width: int = 2) -> dict[str, Any]:
    shapes: dict[str, list[int]] = {"model.embed_tokens.weight": [100, 64], "lm_head.weight": [100, 64], "model.norm.weight": [64]}
    for layer in range(2):
        for name, shape in {
            "self_attn.q_proj": [64, 64],
            "self_attn.k_proj": [32, 64],
            "self_attn.v_proj": [32, 64],
            "self_attn.o_proj": [64, 64],
            "mlp.gate_proj": [128, 64],
            "mlp.up_proj": [128, 64],
            "mlp.down_proj": [64, 128],
            "input_layernorm": [64],
            "post_attention_layernorm": [64],
        }.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    entries, at = {}, 0
    for name, shape in shapes.items():
        size = width * (shape[0] * (shape[1] if len(shape) > 1 else 1))
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return entries


def shard(path: Path, entries: Any) -> None:
    content = json.dumps(entries).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    it = tmp_path / "Tiny_Llama-0.1B"
    it.mkdir()
    (it / "config.json").write_text(json.dumps(TINY))
    return it


def test_a_whole_checkpoint(folder: Path) -> None:
    shard(folder / "model.safetensors", {"__metadata__": {"format": "pt"}, **tensors()})
    found = read(str(folder))
    assert (found.spec.id, found.spec.checkpoint_type, found.warnings) == ("Tiny_Llama-0.1B", "BF16", ())
    assert found.stored_bytes == 2 * PARAMETERS
    assert read(f"{folder}/").spec.id == found.spec.id


def test_shards_and_their_index(folder: Path) -> None:
    entries = tensors()
    names = list(entries)
    parts = {f"model-0000{part + 1}-of-00002.safetensors": names[part::2] for part in range(2)}
    for name, held in parts.items():
        shard(folder / name, {tensor: entries[tensor] for tensor in held})
    index = {"metadata": {"total_size": 2 * PARAMETERS}, "weight_map": {tensor: name for name, held in parts.items() for tensor in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = read(str(folder))
    assert (found.stored_bytes, found.warnings) == (2 * PARAMETERS, ())
    (folder / "model-00002-of-00002.safetensors").unlink()
    found = read(str(folder))
    assert found.stored_bytes == 2 * PARAMETERS
    assert found.warnings == ("The folder lacks model-00002-of-00002.safetensors: the download did not finish.",)


def test_what_the_files_hold_wins(folder: Path) -> None:
    shard(folder / "model.safetensors", tensors("F32", 4))
    found = read(str(folder))
    assert (found.spec.checkpoint_type, found.stored_bytes) == ("F32", 4 * PARAMETERS)


def test_a_checkpoint_of_another_shape_is_said(folder: Path) -> None:
    entries = tensors()
    del entries["lm_head.weight"]
    shard(folder / "model.safetensors", entries)
    assert read(str(folder)).warnings == (f"The checkpoint holds {PARAMETERS - 6400:,} parameters, its config.json describes {PARAMETERS:,}.",)


def test_layers_behind_the_last_and_scales_are_no_difference(folder: Path) -> None:
    entries = tensors()
    for name, kind in (("model.layers.2.eh_proj.weight", "BF16"), ("model.layers.0.mlp.up_proj.weight_scale_inv", "F32")):
        entries[name] = {"dtype": kind, "shape": [64, 128], "data_offsets": [0, 16384]}
    shard(folder / "model.safetensors", entries)
    assert read(str(folder)).warnings == ()


def test_packed_weights_are_not_counted(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**TINY, "quantization_config": {"quant_method": "gptq", "bits": 4}}))
    shard(folder / "model.safetensors", {"x.qweight": {"dtype": "I32", "shape": [8, 64], "data_offsets": [0, 2048]}})
    found = read(str(folder))
    assert (found.spec.checkpoint_type, found.stored_bytes, found.warnings) == ("GPTQ", 2048, ())


def test_without_a_checkpoint(folder: Path) -> None:
    found = read(str(folder))
    assert found.stored_bytes is None
    assert found.warnings == ("The folder holds no safetensors: the sizes are computed from config.json alone.",)


def test_a_folder_without_config(tmp_path: Path) -> None:
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(Problem, match=r"the folder holds no config\.json") as caught:
        read(str(tmp_path))
    assert caught.value.code is Code.BAD_FILE
    assert "model-Q4_K_M.gguf" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x01", "no safetensors file, or cut short"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "no safetensors file, or cut short"),
        ((100).to_bytes(8, "little") + b'{"a":', "cut short"),
        ((5).to_bytes(8, "little") + b'{"a":', "is no JSON"),
        ((2).to_bytes(8, "little") + b"[]", "holds no JSON object"),
        ((8).to_bytes(8, "little") + b'{"a": 1}', "the tensor a is described wrongly"),
    ],
)
def test_malformed(content: bytes, words: str, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(Problem, match=words) as caught:
        read(str(folder))
    assert caught.value.code is Code.BAD_FILE


ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["BF16", "F32", "U8"]) | st.none(),
        "shape": st.lists(st.integers(-2, 1 << 60), max_size=4) | st.text(max_size=2),
        "data_offsets": st.lists(st.integers(-2, 1 << 60), max_size=3) | st.none(),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(max_size=6), ENTRY | st.integers() | st.none(), max_size=4))
def test_any_header(folder: Path, entries: dict[str, Any]) -> None:
    shard(folder / "model.safetensors", entries)
    try:
        size, said = read(str(folder)).stored_bytes, ""
    except Problem as problem:
        size, said = None, problem.message
    assert said.isprintable()
    assert size is None or size >= 0
