"""Towers and projectors, tensor by tensor, against the published parameter counts."""

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from runlocal.architectures import towers
from runlocal.architectures.towers.encoder import merge_size
from runlocal.core.errors import Code, Problem
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

ROOT = Path(__file__).parents[2]
MINICPM_KEYS = 70 * 70
SIGLIP_HEAD = 15_238_352  # a probe, attention, a norm and an MLP that pool the features
MOONDREAM_REGION = 60_317_312  # encoders and decoders of coordinates and sizes (RegionConfig of its config.py)
MERGER = 2 * 4608 + (4608 * 4608 + 4608) + (4608 * 2048 + 2048)  # four features of 1152, to 2048
LEFT_OUT = {"qwen3-omni-30b-a3b": 3 * MERGER}
"""Of the published tower, what the projector file of that model leaves out: mergers for the features of deeper layers."""
CLIP_BLOCK = 4 * (1024 * 1024 + 1024) + (1024 * 4096 + 4096) + (4096 * 1024 + 1024) + 2 * 2 * 1024


def vision_of(table: dict[str, Any]) -> Vision:
    return Vision(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


def bundled() -> dict[str, tuple[Vision, int]]:
    """Vision table and width of the language model of every bundled model with a tower."""
    found = {}
    for path in sorted((ROOT / "data" / "models").glob("*/*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if "vision" in table:
            found[path.stem] = vision_of(table["vision"]), table["text"]["hidden_size"]
    return found


def measured() -> dict[str, tuple[Vision, int]]:
    """The same of the models whose projector files were measured."""
    models = tomllib.loads((ROOT / "tests" / "measured" / "vision.toml").read_text(encoding="utf-8"))["model"]
    return {model["id"]: (vision_of(model["vision"]), model["text_hidden_size"]) for model in models}


EXAONE = Vision(  # https://huggingface.co/LGAI-EXAONE/EXAONE-4.5-33B/blob/main/config.json
    tower="exaone4_5",
    tower_parameters=1_177_415_680,
    projector_parameters=109_067_264,
    hidden_size=2048,
    layers=28,
    heads=32,
    kv_heads=8,
    intermediate_size=5120,
    patch_size=14,
    spatial_merge_size=2,
    temporal_patch_size=2,
)
GEMMA_4_12B = Vision(  # https://huggingface.co/google/gemma-4-12b-it/blob/main/config.json
    tower="gemma4_unified",
    tower_parameters=35_176_704,
    projector_parameters=17_203_200,
    hidden_size=3840,
    patch_size=48,
    tokens_per_image=280,
)
BUNDLED = bundled()
ALL = measured() | {"exaone-4.5-33b": (EXAONE, 5120), "gemma-4-12b": (GEMMA_4_12B, 3840)} | BUNDLED


def values(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.elements * tensor.count for tensor in tensors)


def beside_the_checkpoint(vision: Vision, text_hidden_size: int) -> int:
    """Values of the projector file less those of the checkpoint's tower and projector."""
    match vision.tower:
        case "pixtral":  # the embedding of [IMG_BREAK], copied from the language model
            return text_hidden_size
        case "llava-clip":  # the last block is not used, so not in the file
            return -CLIP_BLOCK
        case "minicpmv":  # sines and cosines for the resampler's keys, computed by the converter
            return MINICPM_KEYS * text_hidden_size
        case "llava-siglip":  # neither the last norm nor the pooling head is in the file
            return -2 * vision.hidden_size - SIGLIP_HEAD
        case "moondream":  # the last block twice; features of one image where the checkpoint has two side by side; nothing that points or finds
            d, inner = vision.hidden_size, vision.projector_intermediate_size or 0
            block = 4 * (d * d + d) + (d * vision.intermediate_size + vision.intermediate_size) + (vision.intermediate_size * d + d) + 2 * 2 * d
            return block - d * inner - MOONDREAM_REGION
        case "muse":  # the converter adds up the two frames of a patch
            return -3 * vision.patch_size**2 * vision.hidden_size
        case "gemma4_unified":  # the audio projection counts as projector there: 640 values per frame
            return -640 * text_hidden_size
    return 0


@pytest.mark.parametrize("model", sorted(ALL))
def test_count_is_the_published_one(model: str) -> None:
    vision, width = ALL[model]
    published = vision.tower_parameters + vision.projector_parameters
    assert values(towers.tensors(vision, width)) == published + beside_the_checkpoint(vision, width) - LEFT_OUT.get(model, 0)


def test_every_tower_is_met_by_a_published_count() -> None:
    assert {vision.tower for vision, _ in ALL.values()} == {*towers.TOWERS, *towers.CHECKPOINTS}


@pytest.mark.parametrize("tower", sorted({*towers.TOWERS, *towers.CHECKPOINTS}))
def test_every_registered_module_is_there(tower: str) -> None:
    assert callable(import_module({**towers.TOWERS, **towers.CHECKPOINTS}[tower]).tensors)


@pytest.mark.parametrize("model", sorted(ALL))
def test_roles_are_unique_and_vectors_stay_f32(model: str) -> None:
    vision, width = ALL[model]
    tensors = towers.tensors(vision, width)
    assert len({tensor.role for tensor in tensors}) == len(tensors)
    assert all(not tensor.quantizable for tensor in tensors if tensor.rows == 1)
    assert all(tensor.role.startswith(("v.", "mm.", "resampler.")) for tensor in tensors)


def test_siglip_of_gemma_3_by_hand() -> None:
    """Patch 1152 × 3 × 14², 64² positions, 27 blocks of 1152 and 4304, a norm; projector 1152 × 2560 and a norm."""
    vision = Vision(
        tower="siglip",
        tower_parameters=0,
        projector_parameters=0,
        hidden_size=1152,
        layers=27,
        heads=16,
        intermediate_size=4304,
        patch_size=14,
        image_size=896,
        tokens_per_image=256,
    )
    block = 4 * (1152 * 1152 + 1152) + (1152 * 4304 + 4304) + (4304 * 1152 + 1152) + 2 * 2 * 1152
    tower = (1152 * 588 + 1152) + 4096 * 1152 + 27 * block + 2 * 1152
    assert tower == 416_866_032
    tensors = towers.tensors(vision, 2560)
    assert values(tuple(t for t in tensors if not towers.is_projector(t))) == tower
    assert values(tuple(t for t in tensors if towers.is_projector(t))) == 1152 + 1152 * 2560
    assert merge_size(vision) == 4  # 64 × 64 patches become 16 × 16 tokens


def test_davit_by_hand() -> None:
    """Four stages of 128 to 1024, one pair of blocks each but the third of nine; the first convolution is 7 x 7, the others 3 x 3."""
    vision, width = BUNDLED["florence-2-base"]

    def pair(d: int) -> int:
        block = 2 * (9 * d + d) + 2 * 2 * d + (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d)
        return 2 * block

    convolutions = (49 * 3 * 128 + 128 + 2 * 128) + sum(9 * d * 2 * d + 2 * d + 2 * d for d in (128, 256, 512))
    tower = convolutions + pair(128) + pair(256) + 9 * pair(512) + pair(1024)
    assert tower == vision.tower_parameters == 90_368_000
    positions = 50 * 512 + 50 * 512 + 100 * 1024  # half a vector each for row and column; times
    assert vision.projector_parameters == 1024 * width + 2 * width + positions
    assert values(towers.tensors(vision, width)) == tower + vision.projector_parameters


def test_region_model_of_moondream_by_hand() -> None:
    """Coordinates of 256 features and 1,024 bins, sizes of 512 and 2,048, MLPs of 8,192 over 2,048 values, and the features themselves."""
    coordinates = (256 * 2048 + 2048) + (2048 * 8192 + 8192) + (8192 * 1024 + 1024) + 256 // 2
    sizes = (512 * 2048 + 2048) + (2048 * 8192 + 8192) + (8192 * 2048 + 2048) + 2 * 512 // 2
    assert coordinates + sizes == MOONDREAM_REGION


def test_projector_file_of_moondream_is_the_published_one() -> None:
    """909,777,984 bytes: 457 tensors in F16, vectors in F32, and a header of 26,176 bytes."""
    found = towers.tensors(*BUNDLED["moondream2"])
    assert sum(tensor.count for tensor in found) == 457
    stored = sum(tensor.elements * tensor.count * (2 if tensor.rows > 1 else 4) for tensor in found)
    assert 909_777_984 - stored == 26_176


def test_projector_file_of_minicpm_v_4_6_is_the_published_one() -> None:
    """1,108,746,944 bytes: 459 tensors in F16, vectors and the position table in F32, and a header of 26,624 bytes (openbmb/MiniCPM-V-4.6-gguf).

    SigLIP of 27 blocks; attention of one block, an MLP of 4 x 1152 to 4 x 4304 to 1152; behind it 4 x 1152 twice and to the text's 1024.
    """
    vision, width = BUNDLED["minicpm-v-4.6-1.3b"]
    found = towers.tensors(vision, width)
    d, four = 1152, 4 * 1152
    siglip = 416_866_032 + (70 * 70 - 64 * 64) * d  # Gemma 3's with more positions
    inserted = 2 * d + 4 * (d * d + d) + 2 * four + (four * 4 * 4304 + 4 * 4304) + (4 * 4304 * d + d)
    assert siglip + inserted == vision.tower_parameters
    assert 2 * four + (four * four + four) + (four * width + width) == vision.projector_parameters
    assert sum(tensor.count for tensor in found) == 459
    stored = sum(tensor.elements * tensor.count * (2 if tensor.quantizable else 4) for tensor in found)
    assert 1_108_746_944 - stored == 26_624


def test_mllama_by_hand() -> None:
    """32 + 8 blocks of 1280 and 5120; 9 rows of tile embeddings; six outputs of 1280 joined for the projector."""
    vision = Vision(
        tower="mllama",
        tower_parameters=0,
        projector_parameters=0,
        hidden_size=1280,
        layers=32,
        heads=16,
        intermediate_size=5120,
        patch_size=14,
        image_size=560,
        max_tiles=4,
        global_layers=8,
        intermediate_layers=(3, 7, 15, 23, 30),
    )
    block = 4 * 1280 * 1280 + (1280 * 5120 + 5120) + (5120 * 1280 + 1280) + 2 * 2 * 1280
    positions = 1601 * 1280 + 1 + 9 * 4 * 1601 * 1280
    tiles = 2 * (9 * 4 * 1280 + 1)
    tower = 588 * 1280 + 1280 + positions + tiles + 32 * block + 8 * (block + 2) + 2 * 2 * 1280
    assert tower == 863_567_379
    tensors = towers.tensors(vision, 8192)
    assert values(tuple(t for t in tensors if not towers.is_projector(t))) == tower
    assert values(tuple(t for t in tensors if towers.is_projector(t))) == 7680 * 8192 + 8192


def test_unknown_tower_is_a_problem_with_a_hint() -> None:
    with pytest.raises(Problem) as problem:
        towers.tensors(Vision(tower="sam", tower_parameters=1, projector_parameters=1, hidden_size=8, patch_size=2), 64)
    assert problem.value.code is Code.NOT_COMPUTED
    assert "--no-vision" in problem.value.hint


def test_tower_without_shapes_is_a_problem() -> None:
    with pytest.raises(Problem):
        towers.tensors(Vision(tower="siglip", tower_parameters=1, projector_parameters=1), 64)
