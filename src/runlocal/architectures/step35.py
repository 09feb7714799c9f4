"""Step 3.5: a gate per head, more query heads in the layers with a window, several dense next-token layers that are loaded although nothing runs them."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec

# Files of a config.json that scales its rotation hold `rope_freqs` too (256 bytes), which the files that were measured do not.
# The loader asks for these without TENSOR_SKIP (https://github.com/ggml-org/llama.cpp/blob/0c1e57098/src/models/step35.cpp).
_LOADED_AHEAD = (
    "attn_q_norm",
    "attn_k_norm",
    "attn_gate",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "exp_probs_b",
    "nextn.embed_tokens",
    "nextn.shared_head_head",
    "nextn.shared_head_norm",
)


def layout(model: ModelSpec) -> Layout:
    return decoder(model, head_gate=True, next_dense=True, next_input=False)._replace(loaded_ahead=_LOADED_AHEAD)
