"""Weights and image buffers of towers: by hand, and against what llama.cpp itself took."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.architectures import towers
from runlocal.core.errors import Code, Problem
from runlocal.core.model import Vision
from runlocal.core.part import Basis, Kind
from runlocal.core.tensor import StorageType
from runlocal.core.workload import Workload
from runlocal.engines.ggml import vision as engine

ROOT = Path(__file__).parents[2]
ENGINES = {name: tomllib.loads((ROOT / "data" / "engines" / f"{name}.toml").read_text(encoding="utf-8")) for name in ("ggml", "ggml-vision")}
FACTS = {**ENGINES["ggml-vision"], "flash_attention_head_dims": ENGINES["ggml"]["flash_attention_head_dims"]}
MEASURED = tomllib.loads((ROOT / "tests" / "measured" / "vision.toml").read_text(encoding="utf-8"))["model"]
TYPES = {
    name: StorageType(name=name, block_elements=elements, block_bytes=size)
    for name, elements, size in (("F32", 1, 4), ("F16", 1, 2), ("BF16", 1, 2), ("Q8_0", 32, 34))
}
MIB = 1 << 20
PRINTED = 0.006 * MIB  # two decimals of MiB
ESTIMATE_TOLERANCE = 0.2
CONVOLUTION_OF_LLAMA_4 = 2 * 1408 * 588


def vision_of(table: dict[str, Any]) -> Vision:
    return Vision(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


SHAPES = {model["id"]: (vision_of(model["vision"]), model["text_hidden_size"]) for model in MEASURED}
ROWS = [(model["id"], row) for model in MEASURED for row in model["measured"]]
IDS = [f"{model}-{row['mmproj_type']}-{'auto' if row['flash_attention'] else 'off'}" for model, row in ROWS]


@pytest.mark.parametrize(("model", "row"), ROWS, ids=IDS)
def test_weights_are_those_measured(model: str, row: dict[str, Any]) -> None:
    vision, width = SHAPES[model]
    weights = engine.weights_bytes(towers.tensors(vision, width), row["mmproj_type"], TYPES)
    if vision.tower == "llama4" and row["mmproj_type"] == "BF16":
        # The file measured held the patch matrix in BF16; the converter writes F32, as for every tower.
        assert weights - CONVOLUTION_OF_LLAMA_4 == row["weights_bytes"]
    else:
        assert weights == row["weights_bytes"]


@pytest.mark.parametrize(("model", "row"), ROWS, ids=IDS)
def test_buffer_is_that_measured_within_what_is_said(model: str, row: dict[str, Any]) -> None:
    vision, width = SHAPES[model]
    buffer = engine.image_buffer(vision, width, row["flash_attention"] or False, 1, FACTS)
    real = row["buffer_mib"] * MIB
    tolerance = FACTS["towers"][vision.tower]["residual"] if buffer.basis is Basis.MEASURED else ESTIMATE_TOLERANCE
    assert abs(buffer.bytes - real) <= tolerance * real + PRINTED
    assert f"{row['image_pixels']} × {row['image_pixels']} image" in buffer.because


def test_gemma_3_by_hand() -> None:
    """4 bytes × 64² patches × (4304 + 3 × 1152); without flash attention 6 × 1152 and 16 heads × 4096 scores."""
    vision, width = SHAPES["gemma-3-4b"]
    assert engine.image_buffer(vision, width, None, 1, FACTS).bytes == 4 * 4096 * (4304 + 3 * 1152) == 127_139_840
    assert engine.image_buffer(vision, width, False, 1, FACTS).bytes == 4 * 4096 * (6 * 1152 + 16 * 4096)
    # F32: position table, patch embedding and every vector; the projection is F16 even here.
    vectors = 1152 + 27 * (4 * 1152 + 4304 + 1152 + 4 * 1152) + 2 * 1152 + 1152
    tables = 4096 * 1152 + 588 * 1152
    matrices = 27 * (4 * 1152 * 1152 + 2 * 1152 * 4304) + 1152 * 2560
    assert engine.weights_bytes(towers.tensors(vision, width), "BF16", TYPES) == 4 * (vectors + tables) + 2 * matrices


def test_pixtral_by_hand() -> None:
    """The patch embedding (1024 × 768) doubles in a BF16 file; 16 × 16 patches and 16 row breaks in the buffer."""
    vision, width = SHAPES["pixtral-12b"]
    tensors = towers.tensors(vision, width)
    assert engine.weights_bytes(tensors, "BF16", TYPES) - engine.weights_bytes(tensors, "F16", TYPES) == 2 * 1024 * 768
    rows = 4 * 16 * 5120
    assert engine.image_buffer(vision, width, None, 1, FACTS).bytes == 4 * 256 * (3 * 4096 + int(3.5 * 1024) + 768) + rows
    assert engine.image_buffer(vision, width, False, 1, FACTS).bytes == 4 * 256 * (3 * 4096 + 3 * 1024 + 768) + rows


def test_qwen_2_5_vl_by_hand() -> None:
    """46 × 46 tokens of 2 × 2 patches: 92² = 8464; the window mask is held in F32 and F16."""
    vision, width = SHAPES["qwen2.5-vl-3b"]
    patches = 92 * 92
    with_flash = 4 * patches * (3420 + 4 * 1280 + 588 + 4) + (4 + 2) * patches * patches
    assert abs(engine.image_buffer(vision, width, None, 1, FACTS).bytes - with_flash) < engine.ALIGNMENT
    without = 4 * patches * (5 * 1280 + 588 + 1) + 4 * patches * patches * (1 + 16)
    assert abs(engine.image_buffer(vision, width, False, 1, FACTS).bytes - without) < engine.ALIGNMENT


def mllama() -> Vision:
    return Vision(
        tower="mllama",
        tower_parameters=863_567_379,
        projector_parameters=62_922_752,
        hidden_size=1280,
        layers=32,
        heads=16,
        intermediate_size=5120,
        patch_size=14,
        image_size=560,
        max_tiles=4,
        global_layers=8,
        output_dim=7680,
        tokens_per_image=1601,
    )


def test_mllama_by_hand() -> None:
    """Ollama's estimate of the image graph, 2853 MiB, and the 1.8 and 1.9 GiB that its log prints for the weights."""
    graph = engine.mllama_image_graph(mllama())
    assert graph.bytes == 4 * (8 + 560 * 560 * 3 * 4 + 1280 * 1600 * 4 + 9 * 1280 * 1608 * 4 + (1608 * 4) ** 2 * 16)
    assert graph.bytes // MIB == 2853
    assert graph.basis is Basis.ESTIMATED
    f32 = 863_567_379 - 588 * 1280 - 40 * (4 * 1280 * 1280 + 2 * 1280 * 5120)
    for width, gib in ((4096, 1.809), (8192, 1.868)):
        weights = engine.weights_bytes(towers.tensors(mllama(), width), "F16", TYPES)
        assert weights == 2 * (863_567_379 - f32 + 7680 * width) + 4 * (f32 + width)
        assert abs(weights / (1 << 30) - gib) < 0.001


def test_rows_that_are_no_whole_blocks_stay_f16() -> None:
    """SigLIP's MLP is 4304 wide, no multiple of Q8_0's 32: its down projection is F16 in a Q8_0 file."""
    vision, width = SHAPES["gemma-3-4b"]
    by_role = {tensor.role: engine.storage_name(tensor, "Q8_0", TYPES) for tensor in towers.tensors(vision, width)}
    assert by_role["v.blk.ffn_down"] == "F16"
    assert by_role["v.blk.ffn_up"] == "Q8_0"
    assert by_role["mm.input_projection"] == "F16"
    assert by_role["v.patch_embd"] == by_role["v.position_embd"] == by_role["v.blk.ln1.bias"] == "F32"


def test_unknown_projector_type_is_wrong_usage() -> None:
    vision, width = SHAPES["gemma-3-4b"]
    with pytest.raises(Problem) as problem:
        engine.weights_bytes(towers.tensors(vision, width), "Q4_X", TYPES)
    assert problem.value.code is Code.BAD_VALUE


@pytest.mark.parametrize(
    ("model", "available"), [("mistral-large-3-675b", False), ("llama-4-scout-17b-16e", False), ("gemma-3-4b", True), ("qwen2-vl-2b", True)]
)
def test_odd_heads_have_no_flash_attention(model: str, available: bool) -> None:
    assert engine.flash_available(SHAPES[model][0], FACTS) is available


@given(model=st.sampled_from(sorted(SHAPES)), images=st.integers(1, 64))
def test_more_images_take_context_not_buffer(model: str, images: int) -> None:
    vision, width = SHAPES[model]
    one = engine.image_buffer(vision, width, None, 1, FACTS)
    several = engine.image_buffer(vision, width, None, images, FACTS)
    assert several.bytes == one.bytes
    assert ("one after another" in several.because or "go through together" in several.because) is (images > 1)
    tokens, single = engine.image_tokens(vision, images, FACTS), engine.image_tokens(vision, 1, FACTS)
    assert tokens == (single.least * images, single.most * images)
    assert 0 < single.least <= single.most


@given(model=st.sampled_from(sorted(SHAPES)))
def test_flash_attention_never_costs_much_more(model: str) -> None:
    """It saves the scores, and costs a 16-bit copy of the keys at most: half of the tower's width."""
    vision, width = SHAPES[model]
    flash, plain = (engine.image_buffer(vision, width, wanted, 1, FACTS).bytes for wanted in (None, False))
    assert flash <= plain * 1.04


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [
        ("gemma-3-4b", 256, 256),  # 16 × 16 pooled patches, one tile
        ("pixtral-12b", 16 * 16 + 15, 32 * 32 + 31),  # a row break between rows
        ("qwen2.5-vl-3b", 46 * 46, 4096),
        ("internvl3-2b", 256, 13 * 256),  # twelve tiles and the overview
        ("llava-1.5-7b", 576, 576),
    ],
)
def test_tokens_of_an_image(model: str, least: int, most: int) -> None:
    assert engine.image_tokens(SHAPES[model][0], 1, FACTS) == (least, most)


def test_mllama_takes_no_context() -> None:
    assert engine.image_tokens(mllama(), 3, FACTS) == (0, 0)


class TestParts:
    """What the engine yields for a model; only `vision` and the width of the text are read."""

    def model(self, vision: Vision | None, width: int) -> Any:
        class Text:
            hidden_size = width

        class Model:
            text = Text

        Model.vision = vision  # type: ignore[attr-defined]
        return Model

    def test_tower_projector_and_buffer(self) -> None:
        vision, width = SHAPES["gemma-3-4b"]
        parts = engine.vision_parts(self.model(vision, width), Workload(context_tokens=8192), "gpu0", TYPES, FACTS)
        assert [part.kind for part in parts] == [Kind.VISION, Kind.VISION, Kind.VISION_BUFFER]
        assert parts[0].bytes + parts[1].bytes == engine.weights_bytes(towers.tensors(vision, width), "F16", TYPES)
        assert {part.device for part in parts} == {"gpu0"}
        assert all(part.source.startswith("https://") for part in parts)

    def test_no_image_keeps_the_weights(self) -> None:
        parts = engine.vision_parts(self.model(*SHAPES["gemma-3-4b"]), Workload(context_tokens=8192, images=0), "gpu0", TYPES, FACTS)
        assert {part.kind for part in parts} == {Kind.VISION}

    def test_no_vision_takes_nothing(self) -> None:
        workload = Workload(context_tokens=8192, vision=False)
        assert engine.vision_parts(self.model(*SHAPES["gemma-3-4b"]), workload, "gpu0", TYPES, FACTS) == ()
        assert engine.vision_parts(self.model(None, 2560), Workload(context_tokens=8192), "gpu0", TYPES, FACTS) == ()

    def test_mllama_is_stored_in_f16_whatever_is_asked(self) -> None:
        f16, q8 = (
            engine.vision_parts(self.model(mllama(), 8192), Workload(context_tokens=8192, mmproj_type=kind), "gpu0", TYPES, FACTS) for kind in ("F16", "Q8_0")
        )
        assert f16 == q8
        assert f16[2].bytes == engine.mllama_image_graph(mllama()).bytes

    def test_tower_without_a_known_graph_is_a_problem(self) -> None:
        vision = SHAPES["gemma-3-4b"][0]._replace(tower="davit")
        with pytest.raises(Problem) as problem:
            engine.image_buffer(vision, 2560, None, 1, FACTS)
        assert problem.value.code is Code.NOT_COMPUTED


def test_every_tower_laid_out_has_a_graph() -> None:
    assert set(FACTS["towers"]) == set(towers.TOWERS) - {"mllama"}


def test_terms_of_every_form_exist() -> None:
    known = set(engine._term_values(SHAPES["gemma-3-4b"][0], 2560, 1))
    used = {name for family in FACTS["towers"].values() for key in ("flash", "plain") for form in family[key] for name in form}
    assert used <= known
