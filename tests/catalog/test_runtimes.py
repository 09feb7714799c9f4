import pytest

from runlocal.catalog.runtimes import Support, all_support, auto, constants, find_runtime, loads_in, newest_known, parse_version, runtimes, support
from runlocal.core.errors import Code, Problem
from runlocal.core.units import GIB, MIB

MLLAMA = ("mllama", "MllamaForConditionalGeneration", True)
LLAMA = ("llama", "LlamaForCausalLM", False)


# Llama 3.2 Vision, the model that started this: loads today, range, newest version looked at.
MLLAMA_TABLE = [
    ("llama.cpp", False, None, "0c1e57098", None),
    ("ollama", False, ">=0.4.0,<=0.24.0", "0.34.1", True),
    ("vllm", False, ">=0.6.2,<=0.10.2", "0.33.0", True),
    ("sglang", True, ">=0.3.4.post1", "0.5.23", True),
    ("transformers", True, ">=4.45.0", "5.23.0", True),
    ("mlx", True, ">=0.1.0", "0.7.10", True),
    ("exllamav2", False, None, "0.3.2", None),
    ("exllamav3", False, None, "1.6.5", None),
    ("tensorrt-llm", True, None, "1.2.1", False),
    ("lmstudio", True, ">=0.3.5", "0.4.18", True),
    ("executorch", None, None, "1.5.1", None),
]


@pytest.mark.parametrize(("id", "loads", "versions", "newest", "vision"), MLLAMA_TABLE)
def test_llama_3_2_vision(id: str, loads: bool | None, versions: str | None, newest: str, vision: bool | None) -> None:
    found = support(id, *MLLAMA)
    assert (found.id, found.loads, found.versions, found.newest_known, found.vision) == (id, loads, versions, newest, vision)
    assert found.note and found.source and found.source.startswith("https://")


def test_llama_3_2_vision_is_answered_for_every_runtime_in_order() -> None:
    assert tuple(found.id for found in all_support(*MLLAMA)) == runtimes() == tuple(row[0] for row in MLLAMA_TABLE)


def test_mlx_names_the_package_that_loads_it() -> None:
    assert support("mlx", *MLLAMA).name == "mlx-vlm"
    assert support("mlx", *LLAMA).name == "mlx-lm"


def test_what_runs_llama_3_2_vision_where_nothing_is_named() -> None:
    assert auto(*MLLAMA) == ("ollama", "0.24.0")


@pytest.mark.parametrize(
    ("architecture", "hf_architecture", "has_vision", "expected"),
    [
        ("llama", "LlamaForCausalLM", False, ("llama.cpp", "0c1e57098")),
        ("llama", "MixtralForCausalLM", False, ("llama.cpp", "0c1e57098")),
        ("qwen3vlmoe", "Qwen3VLMoeForConditionalGeneration", True, ("llama.cpp", "0c1e57098")),
        ("solar", "SolarForCausalLM", False, ("ollama", "0.24.0")),
        ("k2_horizon", "K2HorizonForCausalLM", False, ("sglang", "0.5.23")),
        ("llava_onevision", "LlavaOnevisionForConditionalGeneration", True, ("vllm", "0.33.0")),
        ("nothing", "NobodyKnowsForCausalLM", False, None),
    ],
)
def test_auto(architecture: str, hf_architecture: str, has_vision: bool, expected: tuple[str, str] | None) -> None:
    assert auto(architecture, hf_architecture, has_vision) == expected


def test_a_model_that_everything_loads() -> None:
    assert [found.id for found in all_support(*LLAMA) if not found.loads] == ["executorch"], "models are exported for that one by one"


def test_an_architecture_of_its_own_goes_before_the_class_where_the_row_says_so() -> None:
    """Llama Guard 4 has the class of Llama 4 and no experts."""
    dense, scout = ("llama4-dense", "Llama4ForConditionalGeneration", True), ("llama4", "Llama4ForConditionalGeneration", True)
    assert [found.id for found in all_support(*dense) if found.loads] == ["vllm", "sglang", "transformers"]
    assert support("vllm", *dense).versions == ">=0.9.0"
    assert support("vllm", *scout).versions != ">=0.9.0"
    assert support("llama.cpp", *scout).loads is True
    assert auto(*dense) == ("sglang", "0.5.23")
    assert auto(*scout) == ("llama.cpp", "0c1e57098")


def test_the_class_of_config_json_is_more_specific_than_the_architecture() -> None:
    assert support("llama.cpp", "llama", "LlavaForConditionalGeneration", True).vision is True
    assert support("llama.cpp", "phi4mm", "Phi4MMForCausalLM", True).loads is False
    assert support("llama.cpp", "phi3", "Phi3ForCausalLM").vision is None
    assert support("ollama", "olmo2", "Olmo3ForCausalLM").versions == ">=0.13.4"
    assert support("ollama", "olmo2", "Olmo2ForCausalLM").versions == ">=0.5.2"


def test_a_whole_list_that_does_not_name_it_is_a_no_and_a_part_is_not_known() -> None:
    assert support("llama.cpp", "molmo", "MolmoForCausalLM", True).loads is False
    assert support("exllamav3", "falcon", "FalconForCausalLM").loads is False
    assert support("vllm", "nothing", "NobodyKnowsForCausalLM").loads is None
    assert support("ollama", "nothing", "NobodyKnowsForCausalLM").loads is None


def test_lm_studio_does_what_its_engines_do() -> None:
    assert support("lmstudio", *LLAMA)[2:4] == (True, None)
    assert "llama.cpp" in (support("lmstudio", *LLAMA).note or "")
    assert support("lmstudio", "nothing", "NobodyKnowsForCausalLM").loads is None


@pytest.mark.parametrize(
    ("runtime", "version", "model", "expected"),
    [
        ("ollama", "0.3.14", MLLAMA, False),
        ("ollama", "0.4.0", MLLAMA, True),
        ("ollama", "0.24", MLLAMA, True),
        ("ollama", "0.24.0", MLLAMA, True),
        ("ollama", "0.30.0", MLLAMA, False),
        ("ollama", None, MLLAMA, False),
        ("vllm", "0.6.1.post2", MLLAMA, False),
        ("vllm", "0.9.2", MLLAMA, True),
        ("vllm", "0.10.2", MLLAMA, True),
        ("vllm", "0.11.0", MLLAMA, False),
        ("sglang", "0.3.4", MLLAMA, False),
        ("sglang", "0.3.4.post1", MLLAMA, True),
        ("transformers", "4.44.2", MLLAMA, False),
        ("transformers", "5.23.0", MLLAMA, True),
        ("mlx", "0.0.15", MLLAMA, False),
        ("llama.cpp", "b4000", MLLAMA, False),
        ("llama.cpp", "b99999", MLLAMA, False),
        ("llama.cpp", None, LLAMA, True),
        ("llama.cpp", "0c1e57098", LLAMA, True),
        ("llama.cpp", "b4000", LLAMA, None),
        ("vllm", "0.8.0", LLAMA, None),
        ("vllm", "0.33.0", LLAMA, True),
        ("vllm", "0.34.0", LLAMA, True),
        ("vllm", "0.23.0", ("dots1", "Dots1ForCausalLM", False), True),
        ("vllm", "0.24.0", ("dots1", "Dots1ForCausalLM", False), False),
        ("vllm", "0.9.0", ("dots1", "Dots1ForCausalLM", False), None),
        ("vllm", "0.9.0", ("nothing", "NobodyKnowsForCausalLM", False), None),
    ],
)
def test_loads_in_a_version(runtime: str, version: str | None, model: tuple[str, str, bool], expected: bool | None) -> None:
    assert loads_in(runtime, version, *model) is expected


def test_versions_sort() -> None:
    ordered = [
        "0.3.4",
        "0.3.4.post1",
        "0.4.0",
        "0.6.1.post2",
        "0.6.2",
        "0.10.1.1",
        "0.10.2",
        "0.24.0",
        "0.25.0-rc0",
        "0.25.0",
        "0.33.0-rc2",
        "0.33.0",
        "1.0",
        "5.23.0",
    ]
    parsed = [parse_version(text) for text in ordered]
    assert None not in parsed
    assert parsed == sorted(parsed, key=lambda version: version or ("", (), 0, 0))
    assert len(set(parsed)) == len(parsed)
    assert parse_version("v0.24") == parse_version("0.24.0")
    assert (parse_version("b9452") or ()) < (parse_version("b10488") or ())


@pytest.mark.parametrize("text", ["", "latest", "0c1e57098", "b", "1..2", "0.24.0 ", "١.٢", "9" * 40, "1." * 30])
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ollama", ("ollama", None)),
        ("Ollama@0.24.0", ("ollama", "0.24.0")),
        ("ollama@v0.24.0", ("ollama", "0.24.0")),
        ("llama.cpp@b10488", ("llama.cpp", "b10488")),
        ("llama.cpp@0c1e57098", ("llama.cpp", "0c1e57098")),
        ("llamacpp", ("llama.cpp", None)),
        ("llama-server", ("llama.cpp", None)),
        ("LM Studio", ("lmstudio", None)),
        ("lm-studio", ("lmstudio", None)),
        ("trt-llm", ("tensorrt-llm", None)),
        ("TensorRT_LLM", ("tensorrt-llm", None)),
        ("mlx-lm", ("mlx", None)),
        ("mlx-vlm", ("mlx", None)),
        ("hf", ("transformers", None)),
        ("exl2", ("exllamav2", None)),
        ("exllama-v3", ("exllamav3", None)),
    ],
)
def test_find_runtime(text: str, expected: tuple[str, str | None]) -> None:
    assert find_runtime(text) == expected


@pytest.mark.parametrize(
    ("text", "code", "candidate"),
    [
        ("olama", Code.UNKNOWN_RUNTIME, "ollama"),
        ("vlm", Code.UNKNOWN_RUNTIME, "vllm"),
        ("", Code.UNKNOWN_RUNTIME, None),
        ("x\x1b[31m" * 1000, Code.UNKNOWN_RUNTIME, None),
        ("ollama@latest", Code.BAD_VALUE, None),
        ("ollama@", Code.BAD_VALUE, None),
    ],
)
def test_find_runtime_refuses(text: str, code: Code, candidate: str | None) -> None:
    with pytest.raises(Problem) as caught:
        find_runtime(text)
    assert caught.value.code is code
    assert candidate is None or candidate in caught.value.candidates
    assert "\x1b" not in caught.value.message and len(caught.value.message) < 400


def test_constants_that_the_defaults_of_reserve_are_made_of() -> None:
    assert constants("llama.cpp")["fit_target_bytes"].value == 1024 * MIB
    assert constants("ollama")["least_free_bytes"].value == 457 * MIB
    assert constants("ollama")["projector_headroom_bytes"].value == GIB
    assert constants("vllm")["gpu_memory_utilization_fraction"].value == 0.92


def test_constants_follow_the_version() -> None:
    assert constants("vllm", "0.10.2")["gpu_memory_utilization_fraction"].value == 0.9
    assert constants("vllm", "0.10.2")["mllama_image_slots"].value == 6404
    assert "mllama_image_slots" not in constants("vllm")
    assert constants("ollama", "0.24.0")["engine"].value == "own"
    assert constants("ollama")["engine"].value == "llama-server"
    assert constants("ollama", "0.32.15")["llama_cpp_build"].value == "b10488"
    assert "llama_cpp_build" not in constants("ollama")
    assert constants("ollama", "0.30.5")["projector_floor_bytes"].value == 10 * GIB
    assert "batch_tiers_tokens" not in constants("ollama", "0.24.0")


def test_the_image_cache_of_the_11b_in_ollama() -> None:
    # 8 cross-attention layers x 8 heads x (128 + 128) values x 4 bytes x 1601 positions x 4 tiles, plus 32 layers of 2048 tokens in F16: 656.2 MiB in the log.
    known = constants("ollama", "0.24.0")
    tile, tiles, element = (known[name].value for name in ("mllama_tile_tokens", "mllama_tiles", "mllama_cross_element_bytes"))
    assert isinstance(tile, int) and isinstance(tiles, int) and isinstance(element, int)
    cross, own = 8 * 8 * 256 * element * tile * tiles, 32 * 8 * 256 * 2 * 2048
    assert round((cross + own) / MIB, 1) == 656.2


def test_the_vision_graph_of_ollama_is_the_sum_of_its_terms() -> None:
    # F32: 8 + pixels of a tile + its patches + padded positions x 9 + attention scores of four tiles.
    assert constants("ollama", "0.24.0")["mllama_vision_graph_bytes"].value == 4 * (
        8 + 560 * 560 * 3 * 4 + 1280 * 1600 * 4 + 9 * 1280 * 1608 * 4 + (1608 * 4) ** 2 * 16
    )


def test_tiers_are_pairs() -> None:
    assert constants("ollama")["default_context_tokens"].value == ((47 * GIB, 262144), (23 * GIB, 32768), (0, 4096))


def test_newest_known_is_what_support_says() -> None:
    found = support("vllm", *LLAMA)
    assert isinstance(found, Support)
    assert newest_known("vllm") == found.newest_known == "0.33.0"
