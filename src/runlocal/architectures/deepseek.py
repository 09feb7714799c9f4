"""DeepSeek V2 and V3 and those that share their layer: latent attention, experts behind leading dense layers.

V3.2 and GLM-5 have an indexer. MiniCPM3 keeps the latents expanded. A layer of LongCat-Flash is two of these, with experts beside the first's MLP.
"""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec

# The loaders of sparse attention ask for this one without TENSOR_SKIP (https://github.com/ggml-org/llama.cpp/blob/0c1e57098/src/models/deepseek32.cpp).
_LOADED_AHEAD = ("exp_probs_b",)


def layout(model: ModelSpec) -> Layout:
    if model.architecture == "minicpm3":
        return decoder(model, expanded_latent=True)
    # The cache holds one latent for all heads, so the converter writes one KV head.
    return decoder(model)._replace(kv_group=model.text.heads, loaded_ahead=_LOADED_AHEAD if model.text.indexer else ())
