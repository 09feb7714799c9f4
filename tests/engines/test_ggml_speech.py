"""Speech encoders in the projector file: every tensor against published counts and file sizes, the graph against llama.cpp's own allocator.

Measured at commit 0c1e57098 (https://github.com/ggml-org/llama.cpp/tree/0c1e57098): projector files with the published shapes and no
weights, read by tools/mtmd/clip.cpp over a stub CUDA device, no kernel run. `measured` is what its context of the encoder took: weights,
the tower's patch embedding and the graph that it reserves when it starts.
"""

import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from runlocal.architectures import towers
from runlocal.catalog.facts import storage_types
from runlocal.catalog.models import bundled
from runlocal.core.errors import Code, Problem
from runlocal.core.model import Audio, ModelSpec
from runlocal.core.part import Kind
from runlocal.core.tensor import Tensor
from runlocal.core.workload import Workload
from runlocal.engines.ggml.speech import speech_buffer, speech_parts
from runlocal.engines.ggml.vision import weights_bytes

FACTS = tomllib.loads((Path(__file__).parents[2] / "data" / "engines" / "ggml-vision.toml").read_text(encoding="utf-8"))
TYPES = storage_types()
HEARING = ("qwen2.5-omni-3b", "qwen2.5-omni-7b", "qwen3-omni-30b-a3b")
POSITIONS = 1500 * 1280  # sines that the converter computes


class Measured(NamedTuple):
    """What llama.cpp's loader of the speech encoder takes on the GPU."""

    model: str
    mmproj_type: str
    flash_attention: bool
    total_bytes: int


MEASURED = [
    Measured("qwen2.5-omni-3b", "F16", True, 1_340_792_832),
    Measured("qwen2.5-omni-3b", "F16", False, 1_497_752_832),
    Measured("qwen2.5-omni-3b", "Q8_0", True, 751_521_792),
    Measured("qwen2.5-omni-3b", "Q8_0", False, 908_481_792),
    Measured("qwen2.5-omni-7b", "F16", True, 1_344_731_136),
    Measured("qwen2.5-omni-7b", "F16", False, 1_501_691_136),
    Measured("qwen2.5-omni-7b", "Q8_0", True, 753_616_896),
    Measured("qwen2.5-omni-7b", "Q8_0", False, 910_576_896),
    Measured("qwen3-omni-30b-a3b", "F16", True, 1_888_957_504),
    Measured("qwen3-omni-30b-a3b", "F16", False, 1_888_957_504),
    Measured("qwen3-omni-30b-a3b", "Q8_0", True, 1_298_678_848),
    Measured("qwen3-omni-30b-a3b", "Q8_0", False, 1_298_678_848),
]


def heard(model: ModelSpec) -> tuple[Tensor, ...]:
    assert model.audio is not None
    return towers.speech_tensors(model.audio, model.text.hidden_size)


def seen(model: ModelSpec) -> tuple[Tensor, ...]:
    assert model.vision is not None
    return towers.tensors(model.vision, model.text.hidden_size)


def values(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.elements * tensor.count for tensor in tensors)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row.model}-{row.mmproj_type}-{'flash' if row.flash_attention else 'plain'}")
def test_what_the_loader_took(row: Measured) -> None:
    workload = Workload(context_tokens=8192, mmproj_type=row.mmproj_type, flash_attention=row.flash_attention)
    parts = speech_parts(bundled(row.model), workload, "gpu0", TYPES, FACTS)
    assert [part.label for part in parts] == ["speech encoder", "patch embedding again", "speech graph"]
    assert sum(part.bytes for part in parts) == row.total_bytes


def test_whisper_of_qwen2_5_omni_by_hand() -> None:
    """Two convolutions over three frames, 32 blocks of 1280 and 5120 whose keys have no bias, a norm, and a matrix to the language model's width.

    The checkpoint has embeddings for the beginning and the end of a clip, which the converter leaves out, and no sines.
    """
    d = 1280
    block = 4 * d * d + 3 * d + (d * 5120 + 5120) + (5120 * d + d) + 2 * 2 * d
    encoder = (3 * 128 * d + d) + (3 * d * d + d) + 32 * block + 2 * d
    for model_id, width in (("qwen2.5-omni-3b", 2048), ("qwen2.5-omni-7b", 3584)):
        audio = bundled(model_id).audio
        assert audio is not None
        assert audio.parameters == encoder + (d * width + width) + 2 * width
        assert values(heard(bundled(model_id))) == audio.parameters - 2 * width + POSITIONS


def test_speech_encoder_of_qwen3_omni_by_hand() -> None:
    """Three convolutions of 3 x 3 and 480 channels leave 16 of 128 bands; 32 blocks with all biases; two matrices to 2048."""
    d = 1280
    block = 4 * (d * d + d) + (d * 5120 + 5120) + (5120 * d + d) + 2 * 2 * d
    convolutions = (9 * 480 + 480) + 2 * (9 * 480 * 480 + 480) + 480 * 16 * d
    audio = bundled("qwen3-omni-30b-a3b").audio
    assert audio is not None
    assert audio.parameters == convolutions + 32 * block + 2 * d + (d * d + d) + (d * 2048 + 2048) == 647_927_168
    assert values(heard(bundled("qwen3-omni-30b-a3b"))) == audio.parameters + POSITIONS


def test_projector_file_of_qwen3_omni_is_the_published_one() -> None:
    """1,325,020,128 bytes in Q8_0: 860 tensors, 526 of them heard with, and a header of 49,248 bytes (ggml-org's, revision 6e35a28f)."""
    model = bundled("qwen3-omni-30b-a3b")
    tensors = (*seen(model), *heard(model))
    assert sum(tensor.count for tensor in heard(model)) == 526
    assert sum(tensor.count for tensor in tensors) == 860
    assert 1_325_020_128 - weights_bytes(tensors, "Q8_0", TYPES) == 49_248


def test_projector_file_of_qwen2_5_omni_3b_is_the_published_one() -> None:
    """1,538,031,328 bytes in Q8_0: 1,008 tensors and a header of 59,104 bytes (ggml-org's, revision 75f1b73b).

    The converter of May 2025 wrote one of the two halves of the patch embedding in F16, where today's writes both in F32.
    """
    model = bundled("qwen2.5-omni-3b")
    tensors = (*seen(model), *heard(model))
    assert sum(tensor.count for tensor in tensors) == 1008
    half = 3 * 14 * 14 * 1280
    assert 1_538_031_328 - (weights_bytes(tensors, "Q8_0", TYPES) - 2 * half) == 59_104


def test_graphs_by_hand() -> None:
    """30 seconds: 1,500 positions of 7 x 1280 values, or 4 x 1280 and the scores of 20 heads; 3,000 frames of convolutions."""
    whisper, convolving = bundled("qwen2.5-omni-7b").audio, bundled("qwen3-omni-30b-a3b").audio
    assert whisper is not None and convolving is not None
    assert speech_buffer(whisper, True, FACTS)[0] == 4 * 1500 * 7 * 1280 == 53_760_000
    assert speech_buffer(whisper, False, FACTS)[0] == 4 * 1500 * (4 * 1280 + 20 * 1500) == 210_720_000
    first = 2 * 4 * 480 * 64 * 1500  # what the first convolution yields, twice: 64 bands, every second frame
    unrolled = 2 * 9 * 480 * 32 * 750  # nine values of every channel for the second one, in F16
    rest = 2 * 4 * 128 * 3000 + 2 * 9 * 64 * 1500  # the clip twice, and its own nine values
    assert speech_buffer(convolving, True, FACTS)[0] == first + unrolled + rest == 580_800_000


def test_no_towers_no_speech() -> None:
    workload = Workload(context_tokens=8192, vision=False)
    assert all(speech_parts(bundled(model_id), workload, "gpu0", TYPES, FACTS) == () for model_id in HEARING)
    assert speech_parts(bundled("qwen2.5-vl-7b"), Workload(context_tokens=8192), "gpu0", TYPES, FACTS) == ()


def test_parts_are_vision_parts() -> None:
    parts = speech_parts(bundled("qwen2.5-omni-7b"), Workload(context_tokens=8192), "gpu0", TYPES, FACTS)
    assert [part.kind for part in parts] == [Kind.VISION, Kind.VISION, Kind.VISION_BUFFER]


def test_every_encoder_has_a_graph() -> None:
    assert set(FACTS["encoders"]) == set(towers.ENCODERS)


def test_unknown_encoder_is_a_problem_with_a_hint() -> None:
    with pytest.raises(Problem) as problem:
        towers.speech_tensors(Audio(encoder="conformer", parameters=1), 64)
    assert problem.value.code is Code.NOT_COMPUTED
    assert "--no-vision" in problem.value.hint
