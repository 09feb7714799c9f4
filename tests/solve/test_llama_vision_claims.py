"""What public model pages say about Llama 3.2 Vision, held against what follows from its shapes.

Each test names the claim, says whether it holds, and what is right. The pages: a model page for the 90B, the same site's page for the
11B, an encyclopedia page, and a VRAM calculator's page; what the claims are held against is arithmetic, or a log whose address stands beside it.
Sizes of files are in GB (10^9), as downloads are; memory is in GiB.
"""

import pytest

from runlocal.architectures import layout
from runlocal.catalog.gpus import find_gpu
from runlocal.catalog.models import bundled, find_model
from runlocal.catalog.runtimes import all_support, loads_in, newest_known, support
from runlocal.core.cache import CacheKind
from runlocal.core.report import Support

from .asking import GB, GIB, Answered, ask, summed

NINETY, ELEVEN = "llama-3.2-90b-vision", "llama-3.2-11b-vision"
YES = ("fits", "tight")


def cell(model: str, quant: str = "Q4_K_M", tokens: int = 8192, **more: object) -> Answered:
    return ask(model, quant=quant, context_tokens=tokens, **more)


def file_gb(model: str, quant: str) -> float:
    """Text tensors, and tower and projector as Ollama stores them: F16 matrices, tables and vectors in F32."""
    found = cell(model, quant)
    return (found["tensor_bytes"] + summed(found, "vision")) / GB


@pytest.mark.parametrize(
    ("model", "quant", "claimed", "right", "tolerance"),
    [
        # Wrong by more than the tolerance of what is right.
        pytest.param(NINETY, "Q4_K_M", 50.8, 55.0, 0.01, id="90B Q4_K_M is not 50.8 GB"),  # Ollama's own file is 55 GB
        pytest.param(NINETY, "Q4_K_M", 50.6, 55.0, 0.01, id="90B Q4_K_M is not 50.6 GB"),
        pytest.param(NINETY, "Q8_0", 89.8, 95.15, 0.002, id="90B Q8_0 is not 89.8 GB"),
        pytest.param(NINETY, "F16", 180.7, 177.19, 0.002, id="90B in 16 bits is not 180.7 GB"),  # 2 × 88,593,355,323
        pytest.param(NINETY, "F16", 180.0, 177.19, 0.002, id="90B in 16 bits is not 180 GB"),
        pytest.param(NINETY, "Q2_K", 29.3, 34.6, 0.02, id="90B Q2_K is not 29.3 GB"),
        pytest.param(ELEVEN, "F16", 22.0, 21.34, 0.01, id="11B in 16 bits is not quite 22 GB"),
        pytest.param(ELEVEN, "Q4_K_M", 6.2, 7.9, 0.015, id="11B Q4_K_M is not 6.2 GB"),  # 7.8 GB pulled (ollama/ollama#16547), 7.9 in its README
        pytest.param(ELEVEN, "Q4_K_M", 6.5, 7.9, 0.015, id="11B Q4_K_M is not 6.5 GB"),
        pytest.param(ELEVEN, "Q6_K", 9.1, 9.8, 0.02, id="11B Q6_K is not 9.1 GB"),
        pytest.param(ELEVEN, "Q5_K_M", 7.8, 8.8, 0.02, id="11B Q5_K_M is not 7.8 GB"),
        pytest.param(ELEVEN, "Q3_K_M", 5.4, 6.7, 0.02, id="11B Q3_K_M is not 5.4 GB"),
        pytest.param(ELEVEN, "Q2_K", 3.6, 5.7, 0.02, id="11B Q2_K is not 3.6 GB"),
    ],
)
def test_wrong_sizes(model: str, quant: str, claimed: float, right: float, tolerance: float) -> None:
    ours = file_gb(model, quant)
    assert ours == pytest.approx(right, rel=tolerance)
    assert abs(claimed / ours - 1) > tolerance


@pytest.mark.parametrize(
    ("model", "quant", "claimed", "tolerance"),
    [
        pytest.param(NINETY, "Q8_0", 96.0, 0.012, id="90B Q8_0 about 96 GB"),
        pytest.param(NINETY, "Q6_K", 73.2, 0.012, id="90B Q6_K 73.2 GB"),
        pytest.param(NINETY, "Q6_K", 74.3, 0.012, id="90B Q6_K about 74.3 GB"),
        pytest.param(NINETY, "Q5_K_M", 64.1, 0.012, id="90B Q5_K_M about 64.1 GB"),
        pytest.param(NINETY, "Q3_K_M", 43.9, 0.012, id="90B Q3_K_M about 43.9 GB"),
        pytest.param(ELEVEN, "Q8_0", 12.0, 0.03, id="11B Q8_0 about 12 GB"),
    ],
)
def test_right_sizes(model: str, quant: str, claimed: float, tolerance: float) -> None:
    assert file_gb(model, quant) == pytest.approx(claimed, rel=tolerance)


def test_wrong_bits_per_weight() -> None:
    """Not 4.5: Q4_K_M mixes Q6_K in, 4.81 over the file; Q8_0 is 34 bytes per 32 values, 8.5; Q6_K 210 per 256, 6.5625, not 6.5."""
    assert cell(NINETY)["bits_per_weight"] == pytest.approx(4.81, abs=0.005)
    assert cell(NINETY, "Q8_0")["bits_per_weight"] == pytest.approx(8.5, abs=0.001)
    assert cell(NINETY, "Q6_K")["bits_per_weight"] == pytest.approx(6.5625, abs=0.001)


def test_wrong_that_the_projector_takes_3_to_5_gb() -> None:
    """2.00 GB for the 90B, 1.94 for the 11B, tower included; the image graph beside them was set aside with 2.8 GiB (ollama/ollama#7664)."""
    for model, gigabytes in ((NINETY, 2.00), (ELEVEN, 1.94)):
        found = cell(model)
        assert summed(found, "vision") / GB == pytest.approx(gigabytes, rel=0.005)
        assert summed(found, "vision_buffer") / GIB == pytest.approx(2.8, abs=0.05)


def test_wrong_that_all_of_the_90b_is_read_per_token() -> None:
    """Without an image 69.5 B of 88.6: the cross-attention layers idle, the embedding is a lookup, the tower runs once per image."""
    assert layout(bundled(NINETY)).active_parameters(0) == 69_503_033_344
    assert layout(bundled(ELEVEN)).active_parameters(0) == pytest.approx(7.51e9, rel=0.001)


def test_right_that_they_have_10_6_and_88_8_billion() -> None:
    for model, claimed, exact in ((ELEVEN, 10.6e9, 10_670_220_835), (NINETY, 88.8e9, 88_593_355_323)):
        spec = bundled(model)
        assert spec.vision is not None
        assert layout(spec).parameters() + spec.vision.tower_parameters + spec.vision.projector_parameters == exact
        assert claimed == pytest.approx(exact, rel=0.01)


def test_wrong_that_the_90b_has_80_layers() -> None:
    """100: 80 with self-attention, 20 with cross-attention at 3, 8, …, 98; Ollama counts 101 with the output."""
    crossing = {cache.kind: cache.layers for cache in layout(bundled(NINETY)).caches()}[CacheKind.CROSS]
    assert crossing == tuple(range(3, 100, 5))
    assert cell(NINETY)["layers"] == 101
    assert cell(ELEVEN)["layers"] == 41


def test_right_about_heads_tower_and_tiles() -> None:
    """8 KV heads of 128; a tower of 32 + 8 blocks and 863.6 M parameters ("about 850 M"), features of five of them; 1601 tokens per 560-pixel tile."""
    spec = bundled(NINETY)
    vision = spec.vision
    assert vision is not None
    assert (spec.text.kv_heads, spec.text.head_dim) == (8, 128)
    assert (vision.layers, vision.global_layers, vision.intermediate_layers) == (32, 8, (3, 7, 15, 23, 30))
    assert vision.tower_parameters == pytest.approx(850e6, rel=0.02)
    assert (vision.image_size, vision.tokens_per_image) == (560, (560 // 14) ** 2 + 1)


def test_wrong_that_the_cache_at_8k_takes_15_gb() -> None:
    """80 layers × 2 × 8 heads × 128 × 2 bytes are 320 KiB per token: 2.5 GiB at 8K, and 1000.6 MiB for an image in f32."""
    sizes = {part["label"]: part["bytes"] for part in cell(NINETY)["parts"] if part["kind"] == "cache"}
    assert sizes["KV cache"] == 8192 * 320 * 1024 == 5 * GIB // 2
    assert sizes["cross-attention cache"] == 20 * 6404 * 2048 * 4
    assert sum(sizes.values()) < 15 * GB / 3


@pytest.mark.parametrize(
    ("model", "tokens", "gib", "share"), [(NINETY, 4096, 1.25, 0.025), (NINETY, 131072, 40.0, 0.78), (ELEVEN, 4096, 0.5, 0.07), (ELEVEN, 131072, 16.0, 2.2)]
)
def test_wrong_that_the_cache_is_a_third_or_a_half_of_the_weights(model: str, tokens: int, gib: float, share: float) -> None:
    """It follows the tokens: from 2.5 % of the 90B's file at 4K to more than twice the 11B's at 131K."""
    (size,) = (part["bytes"] for part in cell(model, tokens=tokens)["parts"] if part["label"] == "KV cache")
    assert size == gib * GIB
    assert size / (file_gb(model, "Q4_K_M") * GB) == pytest.approx(share, rel=0.08)
    assert not 0.3 <= size / (file_gb(model, "Q4_K_M") * GB) <= 0.5


@pytest.mark.parametrize("gpu", ["a100-80", "h100"])
def test_wrong_that_no_single_gpu_runs_the_90b(gpu: str) -> None:
    """Q4_K_M with an image at 8K is about 58 GiB: one card of 80 GB is comfortable, four are not needed."""
    found = cell(NINETY, gpu=gpu)
    assert found["answer"] == "fits"
    assert found["need_bytes"] / GIB == pytest.approx(58.5, abs=1.0)


def test_one_b200_or_mi300x_holds_even_16_bits() -> None:
    for gpu in ("b200", "mi300x"):
        assert cell(NINETY, "F16", gpu=gpu)["answer"] in YES
    assert cell(NINETY, "F16", gpu="h200")["answer"] not in YES


def test_wrong_that_48_gb_run_q4_k_m_text_only() -> None:
    """49.1 GiB of weights alone, in one card of 48 GB or in two of 24."""
    assert summed(cell(NINETY), "weights") / GIB > 48
    for gpu in ("rtx-a6000", "2x3090"):
        found = cell(NINETY, gpu=gpu, vision=False)
        assert found["answer"] == "does_not_fit"
        assert found["fits_context_tokens"] == 0


def test_wrong_that_64_gb_macs_run_q4_k_m() -> None:
    """A Mac gives its GPU a part of its memory: 64 GB are too few at 8K, 128 are enough."""
    assert cell(NINETY, gpu="m4-max-64")["answer"] == "does_not_fit"
    assert cell(NINETY, gpu="m4-max-64", vision=False)["answer"] == "does_not_fit"
    assert cell(NINETY, gpu="m4-max-128")["answer"] == "fits"


def test_wrong_that_a_5090_runs_q4_k_m_with_the_cache_in_host_memory() -> None:
    """Ollama cannot be told to, and the weights do not fit: 40 % of the layers would have to go too."""
    assert cell(NINETY, gpu="rtx-5090", vision=False, kv_offload=False)["reason"] == "Ollama has no switch that keeps the cache on the host"
    found = cell(NINETY, gpu="rtx-5090", vision=False)
    assert found["answer"] == "does_not_fit"
    assert 0.5 < found["gpu_layers"] / found["layers"] < 0.7


def test_wrong_that_a_b200_has_90_gb_and_4100_gb_per_second() -> None:
    """That is one of its two dies: 180 to 192 GB, about 8 TB/s."""
    card = find_gpu("b200")
    assert 175 * GIB < card.memory_bytes < 192 * GIB
    assert card.gpu(0).bandwidth_bytes == pytest.approx(8e12, rel=0.05)


def test_wrong_that_12_gb_hold_the_11b_comfortably() -> None:
    """Ollama reserved 11.3 GiB at 2K (ollama/ollama#9311), and gave an RTX 4070 Super 34 of 41 layers (ollama/ollama#8310)."""
    assert cell(ELEVEN, tokens=2048)["need_bytes"] / GIB == pytest.approx(11.3, rel=0.03)
    assert cell(ELEVEN, tokens=2048, gpu="rtx-4070-super")["answer"] != "fits"
    assert cell(ELEVEN, gpu="rtx-4070-super")["answer"] == "does_not_fit"


def test_wrong_that_the_11b_takes_9_gb() -> None:
    """The text part takes 6.6 GiB at 8K, embedding included; with tower and image more than 9 GB at any context."""
    assert (cell(ELEVEN)["tensor_bytes"] + 8192 * 128 * 1024) / GIB == pytest.approx(6.6, abs=0.1)
    assert cell(ELEVEN, tokens=2048)["need_bytes"] > 9 * GB


def test_half_wrong_that_q8_0_of_the_11b_needs_48_gb() -> None:
    """12.3 GB and 4 more: a 24 GB card."""
    assert cell(ELEVEN, "Q8_0", gpu="rtx-4090")["answer"] == "fits"


def test_right_that_the_11b_at_131k_is_beyond_24_gb() -> None:
    assert cell(ELEVEN, tokens=131072, gpu="rtx-4090")["answer"] == "does_not_fit"


def test_misleading_that_images_take_context() -> None:
    """They are read by the cross-attention layers alone: the growing cache is the same with and without."""
    sizes = [sum(part["bytes"] for part in cell(NINETY, **more)["parts"] if part["label"] == "KV cache") for more in ({}, {"images": 0}, {"vision": False})]
    assert len(set(sizes)) == 1


def runtimes(model: str = NINETY) -> dict[str, Support]:
    spec = bundled(model)
    return {found.id: found for found in all_support(spec.architecture, spec.hf_architecture, True)}


def test_wrong_that_llama_cpp_loads_it() -> None:
    found = runtimes()["llama.cpp"]
    assert (found.loads, found.versions) == (False, None)
    assert cell(NINETY, runtime="llama.cpp")["answer"] == "cannot_run"


def test_outdated_that_ollama_runs_it() -> None:
    """0.4.0 to 0.24.0; 0.30.0 took the engine out."""
    found = runtimes()["ollama"]
    assert (found.loads, found.versions) == (False, ">=0.4.0,<=0.24.0")
    assert loads_in("ollama", "0.24.0", "mllama", "MllamaForConditionalGeneration", True) is True
    assert loads_in("ollama", "0.30.0", "mllama", "MllamaForConditionalGeneration", True) is False
    refused = cell(NINETY, runtime=f"ollama@{newest_known('ollama')}")
    assert refused["answer"] == "cannot_run"
    assert "0.24.0" in refused["reason"]
    assert (cell(NINETY)["runtime"], cell(NINETY)["runtime_version"]) == ("ollama", "0.24.0"), "what is priced where nobody names a runtime"


def test_wrong_that_vllm_runs_it_since_0_7() -> None:
    found = runtimes()["vllm"]
    assert (found.loads, found.versions) == (False, ">=0.6.2,<=0.10.2")


def test_right_that_transformers_does_from_4_45() -> None:
    found = runtimes()["transformers"]
    assert found.loads is True
    assert found.versions is not None
    assert found.versions.startswith(">=4.45.0")


def test_the_name_is_mlx_vlm_and_it_does() -> None:
    found = runtimes()["mlx"]
    assert (found.name, found.loads, found.versions) == ("mlx-vlm", True, ">=0.1.0")


def test_right_that_tensorrt_llm_does_in_part() -> None:
    found = runtimes()["tensorrt-llm"]
    assert found.loads is True
    assert found.note is not None
    assert "text only" in found.note


def test_sglang_does_and_exllama_never_did() -> None:
    assert runtimes()["sglang"].loads is True
    assert [(runtimes()[id].loads, runtimes()[id].versions) for id in ("exllamav2", "exllamav3")] == [(False, None)] * 2


def test_right_that_the_context_is_128k_and_one_image_at_a_time_in_ollama() -> None:
    assert bundled(NINETY).context.native_tokens == 131_072
    assert cell(NINETY, images=2)["answer"] == "cannot_run"
    assert support("ollama", "mllama", "MllamaForConditionalGeneration", True).versions is not None


def test_base_and_instruct_are_told_apart() -> None:
    """A page describes the base model and links the instruct one: both names mean these shapes, and each says which it is."""
    for name in ("meta-llama/Llama-3.2-90B-Vision", "meta-llama/Llama-3.2-90B-Vision-Instruct", "llama3.2-vision:90b", "llama-3.2-90b-vision"):
        assert find_model(name).id == NINETY
    kinds = {alias.name: alias.variant for alias in bundled(NINETY).aliases}
    assert kinds["meta-llama/Llama-3.2-90B-Vision"] == "base"
    assert kinds["meta-llama/Llama-3.2-90B-Vision-Instruct"] == "instruct"
