"""What becomes of an image: by hand, and against what llama.cpp's own preprocessing made of it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runlocal.core.model import Vision
from runlocal.engines.ggml import vision as engine
from runlocal.engines.ggml.image_size import Piece, pieces

ROOT = Path(__file__).parents[2]
ENGINES = {name: tomllib.loads((ROOT / "data" / "engines" / f"{name}.toml").read_text(encoding="utf-8")) for name in ("ggml", "ggml-vision")}
FACTS = {**ENGINES["ggml-vision"], "flash_attention_head_dims": ENGINES["ggml"]["flash_attention_head_dims"]}
MODELS = tomllib.loads((ROOT / "tests" / "measured" / "vision.toml").read_text(encoding="utf-8"))["model"]
SHAPES = {
    model["id"]: (Vision(**{key: tuple(value) if isinstance(value, list) else value for key, value in model["vision"].items()}), model["text_hidden_size"])
    for model in MODELS
}
ROWS = [pytest.param(model["id"], row, id="{}-{}x{}".format(model["id"], *row["size"])) for model in MODELS for row in model.get("images", ())]
DYNAMIC = [model for model, (vision, _) in SHAPES.items() if FACTS["towers"][vision.tower].get("preprocess") == "dynamic"]
KNOWN = [model for model, (vision, _) in SHAPES.items() if "preprocess" in FACTS["towers"][vision.tower]]
SIDES = st.integers(1, 8192)
HUNDREDTHS = st.integers(1000, 2200)  # of a token along a side
MORE = st.integers(0, 1000)


def made(model: str, width: int, height: int) -> tuple[Piece, ...]:
    vision = SHAPES[model][0]
    found = pieces(vision, FACTS["towers"][vision.tower], (width, height))
    assert found is not None
    return found


def tokens(model: str, width: int, height: int) -> int:
    return engine.image_tokens(SHAPES[model][0], 1, FACTS, (width, height)).least


@pytest.mark.parametrize(("model", "row"), ROWS)
def test_tokens_are_those_that_came_out(model: str, row: dict[str, Any]) -> None:
    width, height = row["size"]
    assert engine.image_tokens(SHAPES[model][0], 1, FACTS, (width, height)) == (row["tokens"], row["tokens"])


@pytest.mark.parametrize(("model", "row"), ROWS)
def test_buffer_is_that_measured_within_what_is_said(model: str, row: dict[str, Any]) -> None:
    vision, text = SHAPES[model]
    residual = FACTS["towers"][vision.tower]["residual"]
    for key, flash in (("buffer_bytes", None), ("buffer_bytes_without_flash", False)):
        ours = engine.image_buffer(vision, text, flash, 1, FACTS, tuple(row["size"]))
        assert ours.bytes == pytest.approx(row[key], rel=residual)


@pytest.mark.parametrize(
    ("model", "at_224", "at_1024", "at_4032"),
    [
        # 28 pixels to a token. 224 / 28 = 8; 1024 / 28 = 36.6, 768 / 28 = 27.4; 144 × 108 is more than 4096: both by
        # sqrt(4032 × 3024 / (4096 × 28²)) = 1.9485: 2069 / 28 = 73.9, 1552 / 28 = 55.4.
        ("qwen2.5-vl-3b", 8 * 8, 37 * 27, 73 * 55),
        ("qwen2-vl-2b", 8 * 8, 37 * 27, 73 * 55),
        ("glm-4.1v-9b", 8 * 8, 37 * 27, 73 * 55),
        # 36.6 × 27.4 go up; of 4:3 the most rows with no more than 8,000 tokens are 77, 77 × 28 × 4 / 3 / 28 = 102.7 columns go up: 7,931; 78 × 104 are 8,112.
        ("glm-5.3-flash-321b-a18b", 8 * 8, 37 * 28, 103 * 77),
        # The same up to 4,096 tokens, and at most 1,024 here: 1024 × 768 is 37 × 27 = 999; 144 / 3.897 = 36.9, 108 / 3.897 = 27.7.
        ("kimi-vl-a3b", 8 * 8, 37 * 27, 36 * 27),
        # 32 pixels to a token: 7, 32 × 24; 126 × 95 (94.5 goes up) is more than 4096: sqrt(4032 × 3024 / (4096 × 32²)) = 1.705: 73.9, 55.4.
        ("qwen3-vl-8b", 7 * 7, 32 * 24, 73 * 55),
        # 48 pixels to a token, 70 at least: 5 × 5 is too few, sqrt(70 × 48² / 224²) = 1.793: 401.6 / 48 = 8.4 goes up. 21.3 × 16.
        # 84 × 63 is more than 1120: sqrt(84 × 63 / 1120) = 2.174: 38.6, 28.98.
        ("gemma-4-26b-a4b", 9 * 9, 21 * 16, 38 * 28),
        ("gemma-4-12b", 9 * 9, 21 * 16, 38 * 28),
        # 16 pixels to a token and a row break between rows: 14 × 14; 64 × 48 is more than 1024: 64 / sqrt(3) = 36.95, 27.7; so is 252 × 189.
        ("pixtral-12b", 14 * 14 + 13, 36 * 27 + 26, 36 * 27 + 26),
        # 28 pixels to a token, row breaks: 37 × 27 are allowed; 144 × 108 by 3.897.
        ("ministral-3-3b", 8 * 8 + 7, 37 * 27 + 26, 36 * 27 + 26),
        # One square: 64² patches, 4 × 4 to a token; 24² patches.
        ("gemma-3-4b", 256, 256, 256),
        ("llava-1.5-7b", 576, 576, 576),
        # Grids 2 × 1, 1 × 2, 2 × 2, 3 × 1 and 1 × 3 of 336 pixels: of 4:3 the most goes on 2 × 2; the small one is the overview alone.
        ("llava-1.6-mistral-7b", 576, 5 * 576, 5 * 576),
        # 448 pixels: 4:3 goes best on 3 × 2 of what shows all 786,432 pixels; 4 × 3 shows the most of the large one.
        ("internvl3-2b", 256, 7 * 256, 13 * 256),
        # Up to 3 × 3 of 336 pixels.
        ("llama-4-scout-17b-16e", 144, 10 * 144, 10 * 144),
        # The longer side becomes 2048, whatever it was: 4 × 4 for a square, 4 × 3 for 2048 × 1536.
        ("smolvlm-256m", 17 * 64, 13 * 64, 13 * 64),
        # 1536 in tiles of 384.
        ("smolvlm2-2.2b", 17 * 81, 13 * 81, 13 * 81),
        # 786,432 / 448² = 3.9: 4 slices, of 3, 4 and 5 the grid nearest 4:3 is 2 × 2; 60.7 areas: 9 slices, 8 or 9: 3 × 3.
        ("minicpm-v-2.6-8b", 64, 5 * 64, 10 * 64),
        ("minicpm-llama3-v-2.5-8b", 96, 5 * 96, 10 * 96),
        # 448 pixels in whole tokens of 56: a square is 8 × 8; 4:3 is 448 / sqrt(4 / 3) = 387 high and 516 wide: 9 × 7, in each of 2 × 2 and 3 × 3 slices.
        ("minicpm-v-4.6-1.3b", 64, 5 * 63, 10 * 63),
        # 224: 7 × 7 is too few, sqrt(64 × 32² / 224²) = 8 × 8. 1024 × 768 is more than 2 × 512²: grids of 2 to 10 tiles, the one of 4:3
        # with an area below the image's twice is 3 × 2 (1.5) before 4 × 3 (12 tiles); the thumbnail: 32 × 24 / 3: 18 × 13.
        ("lfm2-vl-450m", 8 * 8, 6 * 256 + 18 * 13, 6 * 256 + 18 * 13),
        # A square of 728 is 13 × 13; 1024 / 504 = 2.03 and 768 / 504 = 1.5 (above .2: up): 2 × 2 windows of 9 × 9; 3024 × 2268: 6 × 5 (4.5).
        ("step-3.7-flash-198b-a11b", 169, 169 + 4 * 81, 169 + 30 * 81),
        ("kimi-k2.5-1t", 8 * 8, 37 * 27, 73 * 55),
        # 28 pixels to a token: of 36 or 37 × 27 or 28 the nearest to 4:3 is 36 × 27 = 4:3; sqrt(4096 × 4 / 3) = 73.9, × 3 / 4 = 55.4: 73 × 55.
        ("muse-glimmer-30b", 8 * 8, 36 * 27, 73 * 55),
        # 384 pixels, up to ten tiles: 1024 × 768 shows all of itself on 3 × 2, the large one the most on 3 × 3.
        ("granite-vision-3.2-2b", 729, 7 * 729, 10 * 729),
    ],
)
def test_tokens_by_hand(model: str, at_224: int, at_1024: int, at_4032: int) -> None:
    assert (tokens(model, 224, 224), tokens(model, 1024, 768), tokens(model, 4032, 3024)) == (at_224, at_1024, at_4032)


@given(model=st.sampled_from(DYNAMIC), width=HUNDREDTHS, height=HUNDREDTHS, wider=MORE, higher=MORE)
def test_more_pixels_are_never_fewer_tokens_up_to_the_cap(model: str, width: int, height: int, wider: int, higher: int) -> None:
    """From 10 to 32 tokens along each side, which every family lets through as it is."""
    vision = SHAPES[model][0]
    token = vision.patch_size * int(FACTS["towers"][vision.tower].get("merge") or vision.spatial_merge_size)
    small, large = ((w * token // 100, h * token // 100) for w, h in ((width, height), (width + wider, height + higher)))
    assert tokens(model, *small) <= tokens(model, *large)


@given(model=st.sampled_from(KNOWN), width=SIDES, height=SIDES)
def test_no_image_breaks_it_and_none_is_above_the_most(model: str, width: int, height: int) -> None:
    assume(max(width, height) <= 32 * min(width, height))
    vision, text = SHAPES[model]
    found = made(model, width, height)
    assert all(min(piece) >= 1 for piece in found)
    unknown = engine.image_tokens(vision, 1, FACTS)
    row_breaks = unknown.most if FACTS["towers"][vision.tower].get("row_breaks") else 0
    assert tokens(model, width, height) <= unknown.most + row_breaks
    assert engine.image_buffer(vision, text, None, 1, FACTS, (width, height)).bytes >= engine.image_buffer(vision, text, None, 1, FACTS).bytes


@given(model=st.sampled_from(KNOWN), width=SIDES, height=SIDES, images=st.integers(1, 16))
def test_images_take_as_much_each(model: str, width: int, height: int, images: int) -> None:
    vision = SHAPES[model][0]
    assert engine.image_tokens(vision, images, FACTS, (width, height)).most == images * tokens(model, width, height)


def test_a_piece_of_the_tile_towers_is_whole_tokens() -> None:
    assert made("internvl3-2b", 1024, 768) == (Piece(448, 448, 7, 256),)
    assert made("minicpm-v-2.6-8b", 1024, 768) == (Piece(518, 392, 1, 64), Piece(518, 392, 4, 64))
    assert made("lfm2-vl-450m", 1024, 768) == (Piece(576, 416, 1, 234), Piece(512, 512, 6, 256))


def test_several_pieces_go_through_together() -> None:
    """InternVL: four tiles of 256 tokens are 1,024; three small images of Gemma 4 with 336 tokens are 1,008."""
    vision, text = SHAPES["internvl3-2b"]
    assert engine.image_buffer(vision, text, None, 1, FACTS, (1024, 768)).bytes == 4 * engine.image_buffer(vision, text, None, 1, FACTS).bytes
    assert engine.image_buffer(vision, text, None, 2, FACTS, (224, 224)).bytes == 2 * engine.image_buffer(vision, text, None, 1, FACTS).bytes
    vision, text = SHAPES["gemma-4-26b-a4b"]
    one, three, eight = (engine.image_buffer(vision, text, None, images, FACTS, (1024, 768)) for images in (1, 3, 8))
    assert three.bytes == eight.bytes == pytest.approx(3 * one.bytes, abs=256)
    assert "3 images of 1008 × 768 at once" in three.because


def test_a_size_that_nobody_knows_the_rule_for_keeps_the_range() -> None:
    vision, text = SHAPES["exaone-4.5-33b"]
    assert engine.image_tokens(vision, 1, FACTS, (1024, 768)) == engine.image_tokens(vision, 1, FACTS)
    buffer = engine.image_buffer(vision, text, None, 1, FACTS, (4032, 3024))
    assert buffer.bytes == engine.image_buffer(vision, text, None, 1, FACTS).bytes
    assert "not known" in buffer.because


def test_the_range_of_tiles() -> None:
    """SmolVLM always cuts: 4 × 1 tiles and the overview at least. Llama 4 cuts into 3 × 3 at most in llama.cpp, LFM2-VL into ten."""
    assert engine.image_tokens(SHAPES["smolvlm-256m"][0], 1, FACTS) == (5 * 64, 17 * 64)
    assert engine.image_tokens(SHAPES["llama-4-scout-17b-16e"][0], 1, FACTS) == (144, 10 * 144)
    assert engine.image_tokens(SHAPES["lfm2-vl-450m"][0], 1, FACTS) == (256, 11 * 256)
    assert engine.image_tokens(SHAPES["llava-1.6-mistral-7b"][0], 1, FACTS) == (576, 5 * 576)
