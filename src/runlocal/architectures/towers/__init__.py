"""The tensors of a vision tower or speech encoder and its projector, one family per module.

Names and shapes are those of llama.cpp's projector files (`mmproj`): conversion/*.py, gguf-py/gguf/tensor_mapping.py. The family `mllama`
is what Ollama's own engine stored inside the model's file.
"""

from importlib import import_module
from typing import cast

from runlocal.core.errors import Code, Problem
from runlocal.core.model import Audio, Vision
from runlocal.core.tensor import Tensor

TOWERS = {
    "deepseekocr": "runlocal.architectures.towers.deepseekocr",
    "exaone4_5": "runlocal.architectures.towers.qwen2_5vl",
    "gemma4": "runlocal.architectures.towers.gemma4",
    "gemma4_unified": "runlocal.architectures.towers.gemma4_unified",
    "glm4v": "runlocal.architectures.towers.glm4v",
    "glm5v": "runlocal.architectures.towers.glm5v",
    "idefics3": "runlocal.architectures.towers.idefics3",
    "internvl": "runlocal.architectures.towers.internvl",
    "kimik25": "runlocal.architectures.towers.kimivl",
    "kimivl": "runlocal.architectures.towers.kimivl",
    "lfm2": "runlocal.architectures.towers.lfm2",
    "llama4": "runlocal.architectures.towers.llama4",
    "llava-clip": "runlocal.architectures.towers.llava",
    "llava-siglip": "runlocal.architectures.towers.llava_siglip",
    "minicpmv": "runlocal.architectures.towers.minicpmv",
    "minicpmv4_6": "runlocal.architectures.towers.minicpmv4_6",
    "minimax-m3": "runlocal.architectures.towers.minimax_m3",
    "mllama": "runlocal.architectures.towers.mllama",
    "moondream": "runlocal.architectures.towers.moondream",
    "muse": "runlocal.architectures.towers.muse",
    "pixtral": "runlocal.architectures.towers.pixtral",
    "qwen2_5vl": "runlocal.architectures.towers.qwen2_5vl",
    "qwen2vl": "runlocal.architectures.towers.qwen2vl",
    "qwen3vl": "runlocal.architectures.towers.qwen3vl",
    "siglip": "runlocal.architectures.towers.siglip",
    "step3vl": "runlocal.architectures.towers.step3vl",
}

CHECKPOINTS = {
    "cohere-vision": "runlocal.architectures.towers.cohere_vision",
    "davit": "runlocal.architectures.towers.davit",
    "ernie-vl": "runlocal.architectures.towers.ernie_vl",
    "llava-onevision": "runlocal.architectures.towers.llava_onevision",
    "molmo": "runlocal.architectures.towers.molmo",
    "paligemma": "runlocal.architectures.towers.paligemma",
    "phi3v": "runlocal.architectures.towers.phi3v",
    "phi4mm": "runlocal.architectures.towers.phi4mm",
}
"""Towers of which there is only the checkpoint: no projector file holds them, and no graph of them is known."""

ENCODERS = {
    "qwen2a": "runlocal.architectures.towers.qwen2a",
    "qwen3a": "runlocal.architectures.towers.qwen3a",
}
"""Speech encoders, which llama.cpp loads from the projector file together with the tower."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Every tensor of the tower and its projector, as stored in the projector file.

    Raises Problem (not_computed) for a tower that no module here lays out, or whose shapes are not known.
    """
    module = TOWERS.get(vision.tower) or CHECKPOINTS.get(vision.tower)
    if module is None or not (vision.hidden_size and vision.patch_size):
        raise Problem(
            Code.NOT_COMPUTED,
            f"the vision tower {vision.tower!r} is not computed in this version",
            hint="--no-vision prices the language model alone",
        )
    return cast(tuple[Tensor, ...], import_module(module).tensors(vision, text_hidden_size))


def speech_tensors(audio: Audio, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Every tensor of the speech encoder and its projector, as stored in the projector file.

    Raises Problem (not_computed) for an encoder that no module here lays out.
    """
    module = ENCODERS.get(audio.encoder)
    if module is None:
        raise Problem(
            Code.NOT_COMPUTED,
            f"the speech encoder {audio.encoder!r} is not computed in this version",
            hint="--no-vision prices the language model alone",
        )
    return cast(tuple[Tensor, ...], import_module(module).tensors(audio, text_hidden_size))


def is_projector(tensor: Tensor) -> bool:
    """Whether the tensor belongs to the projector (which maps features to the language model's width), not to the tower."""
    return tensor.role.startswith(("mm.", "resampler.", "v.deepstack."))
