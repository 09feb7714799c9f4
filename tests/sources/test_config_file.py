"""config.json to ModelSpec: the shapes that the bundled models have, and a sentence for everything else."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.architectures import ARCHITECTURES, layout
from runlocal.architectures.towers import TOWERS, tensors
from runlocal.catalog.models import spec_from_table
from runlocal.core.errors import Code, Problem
from runlocal.core.model import ModelSpec
from runlocal.sources import read
from runlocal.sources.config import LIMIT_BYTES, spec
from runlocal.sources.families import FAMILIES
from runlocal.sources.gguf.origin import BY_NAME_ONLY, hugging_face_name
from runlocal.sources.keys import LARGEST
from runlocal.sources.wrappers import MODEL_TYPES, WRAPPERS

from . import configs, configs_linear, configs_sparse, configs_states, configs_vision
from .configs import DEEPSEEK_V2_LITE, GEMMA_3_27B, GPT_OSS_20B, LLAMA_31_8B, LLAVA_15_7B, QWEN3_30B_A3B

DATA = Path(__file__).parents[2] / "data/models"
BUNDLED = {**configs.BUNDLED, **configs_vision.BUNDLED, **configs_states.BUNDLED, **configs_sparse.BUNDLED, **configs_linear.BUNDLED}
KIMI_LINEAR, MINIMAX_M1, RWKV_7 = (configs_linear.BUNDLED[name] for name in ("kimi-linear-48b-a3b", "minimax-m1-456b", "rwkv-7-0.1b"))
QWEN3_CODER_NEXT = configs_vision.BUNDLED["qwen3-coder-next-80b-a3b"]

# As published: safetensors totals of the models' repositories (Gemma's with its tower of 423,060,336).
TOTALS = {
    "llama-3.1-8b": 8_030_261_248,
    "qwen3-30b-a3b": 30_532_122_624,
    "deepseek-v2-lite-16b": 15_706_484_224,
    "gemma-3-27b": 27_432_406_640 - 423_060_336,
    "gpt-oss-20b": 20_914_757_184,
}


def bundled(model_id: str) -> ModelSpec:
    path = next(DATA.glob(f"*/{model_id}.toml"))
    return spec_from_table(model_id, tomllib.loads(path.read_text()))


def written(folder: Path, table: Any) -> str:
    path = folder / "config.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return str(path)


def test_a_next_token_layer_that_shares_the_embedding() -> None:
    found = spec(configs.HY3, "config.json", "x")
    assert found.text == bundled("hy3-295b-a21b").text
    assert found.architecture == "hy_v3"


def test_a_second_set_of_heads() -> None:
    found = spec(configs.STEP_35_FLASH, "config.json", "x")
    assert found.text == bundled("step-3.5-flash-196b-a11b").text._replace(rope_scaling="llama3")
    assert found.context.native_tokens == 262144


def test_a_tower_whose_mlp_is_a_ratio() -> None:
    table = {
        "architectures": ["Step3p7ForConditionalGeneration"],
        "projector_bias": False,
        "text_config": {**configs.STEP_35_FLASH, "torch_dtype": "bfloat16"},
        "understand_projector_stride": 2,
        "vision_config": {"heads": 16, "image_size": 728, "layers": 47, "model_type": "perception_encoder", "patch_size": 14, "width": 1536},
    }
    found, expected = spec(table, "config.json", "x"), bundled("step-3.7-flash-198b-a11b")
    assert (found.vision, found.architecture, found.checkpoint_type) == (expected.vision, expected.architecture, expected.checkpoint_type)
    with pytest.raises(Problem, match="not built as Step 3's"):
        spec({**table, "vision_config": {**table["vision_config"], "use_cls_token": True}}, "config.json", "x")
    with pytest.raises(Problem, match="mlp_ratio is no sensible ratio"):
        spec({**table, "vision_config": {**table["vision_config"], "mlp_ratio": -1}}, "config.json", "x")


@pytest.mark.parametrize(
    ("table", "changes", "words"),
    [
        (configs.LAGUNA_XS, {"gating": "per-element"}, "no gate per head"),
        (configs.LAGUNA_XS, {"num_attention_heads_per_layer": [48, *range(41, 80)]}, "layers differ in num_attention_heads_per_layer"),
        (configs.LAGUNA_XS, {"mlp_layer_types": ["dense", *["sparse"] * 38, "dense"]}, "not every layer behind the dense ones"),
        (configs.LAGUNA_XS, {"shared_expert_intermediate_size": 640}, "not as wide as the others"),
        (configs.MIMO_V2_FLASH, {"swa_head_dim": 128}, "swa_head_dim is not head_dim"),
        (configs.MIMO_V2_FLASH, {"add_full_attention_sink_bias": True}, "not in the layers with a window alone"),
        (configs.LFM2_700M, {"conv_bias": True}, "its convolutions have biases"),
        (configs.NORTH_MINI_CODE, {"rms_norm_eps": None}, "another layer than North Mini Code"),
        (configs.NORTH_MINI_CODE, {"num_shared_experts": 4}, "has shared experts"),
        (QWEN3_CODER_NEXT, {"attn_output_gate": False}, "its attention has no gate"),
        (QWEN3_CODER_NEXT, {"layer_types": ["linear_attention"] * 47 + ["mamba"]}, "layers of mamba"),
        (QWEN3_CODER_NEXT, {"linear_value_head_dim": 64}, "do not go together"),
        (MINIMAX_M1, {"shared_intermediate_size": 1024}, "has shared experts"),
        (RWKV_7, {"head_dim": 100}, "divided into heads of 100"),
        (configs.STEP_35_FLASH, {"use_head_wise_attn_gate": False}, "no gate per head"),
        (configs.STEP_35_FLASH, {"moe_layers_enum": "3,5"}, "not every layer behind the dense ones"),
        (configs_sparse.MINIMAX_M3_TEXT, {"moe_layer_freq": [0] * 4 + [1] * 56}, "those that choose blocks of tokens are not the same"),
        (configs_sparse.MINIMAX_M3_TEXT, {"attention_output_gate": True}, "its attention has a gate"),
        (configs_sparse.MINIMAX_M3_TEXT, {"num_key_value_heads": 8}, "not one head per key and value head"),
        (KIMI_LINEAR, {"num_attention_heads": 16}, "another number of heads"),
        ({**configs_sparse.KIMI_K3_TEXT, "architectures": ["KimiK3LinearForCausalLM"]}, {"mla_use_output_gate": False}, "other gates than Kimi K3"),
        ({**configs_sparse.GLM_53_FLASH_TEXT, "architectures": ["Glm5NextForCausalLM"]}, {"mhc": False}, "no residual streams"),
    ],
)
def test_what_no_loader_lays_out_so_is_not_computed(table: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        spec({**table, **changes}, "config.json", "x")
    assert caught.value.code is Code.NOT_COMPUTED


@pytest.mark.parametrize(
    ("table", "changes", "words"),
    [
        (KIMI_LINEAR, {"linear_attn_config": None}, "linear_attn_config is missing"),
        (KIMI_LINEAR, {"linear_attn_config": {}}, "linear_attn_config.full_attn_layers is missing"),
        (KIMI_LINEAR, {"linear_attn_config": {"full_attn_layers": [28]}}, "full_attn_layers names a layer that is not there"),
        (KIMI_LINEAR, {"linear_attn_config": {"full_attn_layers": [4], "kda_layers": [1]}}, "kda_layers does not name the layers without"),
        (MINIMAX_M1, {"attn_type_list": [0, 1]}, "attn_type_list does not name every layer"),
        (MINIMAX_M1, {"attn_type_list": [2] * 80}, "attn_type_list does not name every layer"),
        (MINIMAX_M1, {"rotary_dim": 256}, "rotary_dim is 256, more than a head has"),
        (RWKV_7, {"head_dim": None}, "head_size is missing"),
    ],
)
def test_fields_of_linear_attention(table: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        spec({**table, **changes}, "config.json", "x")
    assert caught.value.code is Code.BAD_FILE


@pytest.mark.parametrize("model_id", BUNDLED)
def test_the_same_as_the_bundled_model(model_id: str) -> None:
    expected, found = bundled(model_id), spec(BUNDLED[model_id], "config.json", "x")
    assert found.architecture == expected.architecture
    assert found.hf_architecture == expected.hf_architecture
    assert found.checkpoint_type == expected.checkpoint_type
    assert found.context.native_tokens == expected.context.native_tokens
    assert found.modalities == expected.modalities
    assert layout(found) == layout(expected)
    assert found.text == expected.text
    if expected.vision is None:
        assert found.vision is None
        return
    assert found.vision is not None
    hidden = expected.text.hidden_size
    assert tensors(found.vision, hidden) == tensors(expected.vision, hidden)
    # Counts follow from the shapes; the bundled Llama 4 leaves the usual width of its features out.
    others = {field: getattr(expected.vision, field) for field in ("tower_parameters", "projector_parameters", "output_dim")}
    assert found.vision._replace(**others) == expected.vision
    assert found.vision.tower_parameters + found.vision.projector_parameters == sum(t.elements * t.count for t in tensors(expected.vision, hidden))


@pytest.mark.parametrize("model_id", TOTALS)
def test_parameters_as_published(model_id: str) -> None:
    assert layout(spec(BUNDLED[model_id], "config.json", "x")).parameters() == TOTALS[model_id]


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    folder = tmp_path / "My Model; rm -rf"
    folder.mkdir()
    found = read(written(folder, LLAMA_31_8B)).spec
    assert found.id == "My-Model-rm-rf"
    assert (found.license, found.vendor, found.variant, found.released) == ("unknown",) * 4
    assert found.parameters.published is None
    assert [source.url for source in found.sources] == ["file:config.json"]


@pytest.mark.parametrize(
    ("table", "field"),
    [
        (LLAMA_31_8B, "hidden_size"),
        (LLAMA_31_8B, "num_hidden_layers"),
        (LLAMA_31_8B, "num_attention_heads"),
        (LLAMA_31_8B, "vocab_size"),
        (LLAMA_31_8B, "intermediate_size"),
        (LLAMA_31_8B, "max_position_embeddings"),
        (QWEN3_30B_A3B, "num_experts"),
        (QWEN3_30B_A3B, "moe_intermediate_size"),
        (DEEPSEEK_V2_LITE, "kv_lora_rank"),
        (DEEPSEEK_V2_LITE, "v_head_dim"),
        (GPT_OSS_20B, "num_local_experts"),
        (GEMMA_3_27B, "mm_tokens_per_image"),
    ],
)
def test_a_missing_field_is_named(table: dict[str, Any], field: str, tmp_path: Path) -> None:
    path = written(tmp_path, {key: value for key, value in table.items() if key != field})
    with pytest.raises(Problem, match=rf"field {field} is missing") as caught:
        read(path)
    assert caught.value.code is Code.BAD_FILE


def test_a_missing_field_of_a_nested_config_is_named(tmp_path: Path) -> None:
    table = {**GEMMA_3_27B, "text_config": {"model_type": "gemma3_text", "hidden_size": 5376}}
    with pytest.raises(Problem, match=r"field text_config\.num_hidden_layers is missing"):
        read(written(tmp_path, table))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"architectures": ["RwkvForCausalLM"]}, Code.NOT_COMPUTED, "RwkvForCausalLM"),
        ({"architectures": ["\x1b[31mEvil\u202e"]}, Code.NOT_COMPUTED, r"a \[31mEvil,"),
        ({"architectures": None, "model_type": "nobody"}, Code.BAD_FILE, "field architectures is missing"),
        ({"architectures": "LlamaForCausalLM"}, Code.BAD_FILE, "architectures is no list"),
        ({"hidden_size": "4096"}, Code.BAD_FILE, "hidden_size is '4096'"),
        ({"hidden_size": True}, Code.BAD_FILE, "hidden_size is True"),
        ({"hidden_size": -1}, Code.BAD_FILE, "hidden_size is -1"),
        ({"hidden_size": 0}, Code.BAD_FILE, "hidden_size is 0"),
        ({"num_hidden_layers": 10**9}, Code.BAD_FILE, "num_hidden_layers is 1,000,000,000"),
        ({"num_hidden_layers": LARGEST + 1}, Code.BAD_FILE, "num_hidden_layers"),
        ({"num_key_value_heads": 7}, Code.BAD_FILE, "num_key_value_heads is 7"),
        ({"tie_word_embeddings": "no"}, Code.BAD_FILE, "tie_word_embeddings is 'no'"),
        ({"rope_scaling": [1]}, Code.BAD_FILE, "rope_scaling is no object"),
    ],
)
def test_senseless_values(changes: dict[str, Any], code: Code, words: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=words) as caught:
        read(written(tmp_path, {**LLAMA_31_8B, **changes}))
    assert caught.value.code is code
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("model_id", "changes", "code", "words"),
    [
        ("mamba-130m", {"use_conv_bias": False}, Code.NOT_COMPUTED, "convolutions have no bias"),
        ("mamba-codestral-7b", {"use_bias": True}, Code.NOT_COMPUTED, "have biases"),
        ("mamba-codestral-7b", {"num_heads": 100}, Code.NOT_COMPUTED, "cannot be divided into 100 heads"),
        ("mamba-130m", {"time_step_rank": "some"}, Code.BAD_FILE, "time_step_rank is 'some'"),
        ("granite-4.0-h-350m", {"layer_types": ["mamba"]}, Code.NOT_COMPUTED, "1 layers of 32"),
        ("granite-4.0-h-350m", {"layer_types": ["mamba"] * 31 + ["mlp"]}, Code.NOT_COMPUTED, "layers of 'mlp'"),
        ("granite-4.0-h-350m", {"layer_types": [["mamba"]] * 32}, Code.NOT_COMPUTED, "layers of"),
        ("jamba-v0.1-52b", {"num_experts_per_tok": 17}, Code.NOT_COMPUTED, "17 of 16 experts"),
        ("jamba-v0.1-52b", {"expert_layer_offset": 40}, Code.NOT_COMPUTED, "contradict each other"),
        ("nemotron-h-56b", {"hybrid_override_pattern": "M" * 118}, Code.NOT_COMPUTED, "no layers of one kind"),
        ("nemotron-h-56b", {"hybrid_override_pattern": "M?*-"}, Code.NOT_COMPUTED, "4 layers of 118"),
    ],
)
def test_state_space_layers_that_nothing_lays_out(model_id: str, changes: dict[str, Any], code: Code, words: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=words) as caught:
        read(written(tmp_path, {**BUNDLED[model_id], **changes}))
    assert caught.value.code is code


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", "{" * 100_000, '{"a":' * 100_000, "\x00\xff"])
def test_no_object(content: str, tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        read(written(tmp_path, content))
    assert caught.value.code is Code.BAD_FILE


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="larger than the 4 MiB"):
        read(written(tmp_path, " " * (LIMIT_BYTES + 1)))


def test_layers_that_differ_are_not_computed(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="layers of linear_attention") as caught:
        read(written(tmp_path, {**GPT_OSS_20B, "layer_types": ["linear_attention", "full_attention"] * 12}))
    assert caught.value.code is Code.NOT_COMPUTED


def test_experts_that_no_converter_reads_are_not_computed(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="it has experts") as caught:
        read(written(tmp_path, {**configs.MINICPM4_05B, "num_experts": 8}))
    assert caught.value.code is Code.NOT_COMPUTED


def test_an_unknown_tower_is_not_computed(tmp_path: Path) -> None:
    table = {**LLAVA_15_7B, "vision_config": {"model_type": "eva"}}
    with pytest.raises(Problem, match="its vision tower is eva") as caught:
        read(written(tmp_path, table))
    assert caught.value.code is Code.NOT_COMPUTED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "BF16"),
        ({"torch_dtype": None, "dtype": "float16"}, "F16"),
        ({"torch_dtype": None}, "unknown"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "AWQ"),
        ({"quantization_config": {"quant_method": "fp8"}}, "FP8"),
        ({"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}}, "INT4"),
        ({"quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"}}, "FP8"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "NVFP4"),
    ],
)
def test_checkpoint_type(changes: dict[str, Any], expected: str) -> None:
    assert spec({**LLAMA_31_8B, **changes}, "config.json", "x").checkpoint_type == expected


def test_a_window_as_long_as_the_context_is_none() -> None:
    table = BUNDLED["mistral-7b-v0.1"]
    window = spec(table, "config.json", "x").text.window
    assert window is not None
    assert (window.tokens, window.full_layers) == (4096, ())
    assert spec({**table, "sliding_window": 32768}, "config.json", "x").text.window is None


def test_a_window_that_qwen_switches_on() -> None:
    table = {**QWEN3_30B_A3B, "use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 40}
    window = spec(table, "config.json", "x").text.window
    assert window is not None
    assert window.full_layers == tuple(range(40))


def test_the_tables_name_what_exists() -> None:
    assert {family.architecture for family in FAMILIES.values()} <= ARCHITECTURES.keys()
    assert set(MODEL_TYPES.values()) <= FAMILIES.keys()
    assert {wrapper.tower for wrapper in WRAPPERS.values()} - {None} <= TOWERS.keys()
    assert {wrapper.text for wrapper in WRAPPERS.values()} - {None} <= FAMILIES.keys()
    assert all(hugging_face_name(architecture) for architecture in ARCHITECTURES.keys() - BY_NAME_ONLY)
    assert ARCHITECTURES.keys() >= BY_NAME_ONLY


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.integers(0, 64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(BUNDLED)), st.data())
def test_anything_in_any_field_is_a_spec_or_a_sentence(model_id: str, data: st.DataObject) -> None:
    table = dict(BUNDLED[model_id])
    inner = data.draw(st.sampled_from([key for key in table if isinstance(table[key], dict)] + [""]))
    target = dict(table[inner]) if inner else table
    key = data.draw(st.sampled_from(sorted(target)))
    target[key] = data.draw(ANYTHING)
    if inner:
        table[inner] = target
    try:
        parameters, said = layout(spec(table, "config.json", "x")).parameters(), ""
    except Problem as problem:
        parameters, said = 0, problem.message
    assert said.isprintable()
    assert (parameters > 0) == (not said)
