"""Hunyuan 3: experts behind a leading dense layer, and a next-token layer whose experts are loaded although nothing runs them."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec

# The loader asks for these without TENSOR_SKIP (https://github.com/ggml-org/llama.cpp/blob/0c1e57098/src/models/hy-v3.cpp).
_LOADED_AHEAD = ("ffn_gate", "ffn_up", "ffn_down", "exp_probs_b", "nextn.shared_head", "nextn.embed_tokens")


def layout(model: ModelSpec) -> Layout:
    return decoder(model, correction="exp_probs_b")._replace(loaded_ahead=_LOADED_AHEAD)
