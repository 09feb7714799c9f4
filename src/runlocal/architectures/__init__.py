"""A model's shapes laid out as tensors and caches: one family per module, composed from blocks.

Names and shapes are those that llama.cpp's converter writes (conversion/*.py, gguf-py/gguf/tensor_mapping.py). Of what it does not convert, those
of the nearest that it does, and else the checkpoint's.
"""

from importlib import import_module
from typing import cast

from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec

ARCHITECTURES = {
    "afmoe": "afmoe",
    "apertus": "llama",
    "arcee": "llama",
    "bailingmoe": "mixture",
    "bailingmoe2": "mixture",
    "bert": "bert",
    "bitnet": "bitnet",
    "chatglm": "glm",
    "cohere2": "cohere",
    "cohere2moe": "cohere",
    "command-r": "cohere",
    "dbrx": "mixture",
    "deci": "deci",
    "deepseek": "mixture",
    "deepseek2": "deepseek",
    "deepseek2-ocr": "mixture",
    "deepseek32": "deepseek",
    "deepseek4": "deepseek4",
    "dots1": "mixture",
    "ernie4_5": "llama",
    "ernie4_5-moe": "mixture",
    "exaone": "llama",
    "exaone-moe": "mixture",
    "exaone4": "olmo",
    "falcon": "falcon",
    "falcon-h1": "hybrid",
    "gemma": "gemma",
    "gemma-embedding": "bert",
    "gemma2": "gemma",
    "gemma3": "gemma",
    "gemma3n": "gemma3n",
    "gemma4": "gemma4",
    "glm-dsa": "deepseek",
    "glm4": "glm",
    "glm4moe": "glm",
    "glm5-next": "glm5_next",
    "gpt-oss": "gpt_oss",
    "granite": "llama",
    "granitehybrid": "hybrid",
    "granitemoe": "mixture",
    "grok": "mixture",
    "hunyuan-dense": "llama",
    "hunyuan-moe": "mixture",
    "hy_v3": "hy_v3",
    "internlm2": "llama",
    "jamba": "hybrid",
    "kimi-k3": "kimi_k3",
    "kimi-linear": "kimi_linear",
    "laguna": "laguna",
    "lfm2": "lfm2",
    "lfm2moe": "lfm2",
    "llama": "llama",
    "llama4": "mixture",
    "mamba": "mamba",
    "mamba2": "mamba",
    "mellum": "mixture",
    "mimo2": "mimo2",
    "minicpm": "llama",
    "minicpm3": "deepseek",
    "minimax-01": "minimax_01",
    "minimax-m2": "mixture",
    "minimax-m3": "mixture",
    "mistral3": "llama",
    "mistral4": "deepseek",
    "mllama": "mllama",
    "muse-glimmer": "afmoe",
    "nemotron": "llama",
    "nemotron_h": "hybrid",
    "nemotron_h_moe": "hybrid",
    "nomic-bert": "bert",
    "olmo": "olmo",
    "olmo2": "olmo",
    "olmoe": "mixture",
    "phi2": "phi",
    "phi3": "phi",
    "phimoe": "phi",
    "qwen": "llama",
    "qwen2": "llama",
    "qwen2moe": "mixture",
    "qwen2vl": "llama",
    "qwen3": "llama",
    "qwen35": "qwen3next",
    "qwen35moe": "qwen3next",
    "qwen3moe": "mixture",
    "qwen3next": "qwen3next",
    "qwen3vl": "llama",
    "qwen3vlmoe": "mixture",
    "qwen4exp": "qwen4exp",
    "rwkv6": "rwkv",
    "rwkv7": "rwkv",
    "seed_oss": "llama",
    "smollm3": "llama",
    "spark2_5": "llama",
    "stablelm": "llama",
    "starcoder2": "llama",
    "step35": "step35",
}

CHECKPOINTS = {
    "aya_vision": "cohere",
    "cohere2_vision": "cohere",
    "ernie4_5_vl_moe": "ernie_vl",
    "florence2": "florence2",
    "k2_horizon": "llama",
    "llama-int4": "llama",
    "llama4-dense": "llama",
    "llava_onevision": "llama",
    "longcat_flash": "deepseek",
    "molmo": "llama",
    "paligemma": "gemma",
    "phi3_v": "phi",
    "phi3small": "phi",
    "phi4mm": "phi",
    "solar": "llama",
}
"""Architectures of which there is no GGUF file that llama.cpp loads: only the checkpoint, in its own type. Names are the checkpoint's `model_type`
where it has one that says enough."""


def layout(model: ModelSpec) -> Layout:
    """The model's tensors and caches.

    Raises Problem (not_computed) for an architecture that no module here lays out: it is never approximated by a neighbour.
    """
    module = ARCHITECTURES.get(model.architecture) or CHECKPOINTS.get(model.architecture)
    if module is None:
        raise Problem(
            Code.NOT_COMPUTED,
            f"{model.id} is of the architecture {model.architecture!r}, whose layout this version does not compute",
            hint="`runlocal models` lists the models that it does",
        )
    return cast(Layout, import_module(f"runlocal.architectures.{module}").layout(model))


def has_gguf(model: ModelSpec) -> bool:
    """Whether there are GGUF files of the model, so that its tensors can be had in a quantization of llama.cpp's."""
    return model.architecture in ARCHITECTURES


def counts(model: ModelSpec) -> tuple[int, int]:
    """Parameters with the tower's, and those that are read for one text token."""
    laid = layout(model)
    return laid.parameters() + model.tower_parameters, laid.active_parameters(model.text.experts.used if model.text.experts else 0)
