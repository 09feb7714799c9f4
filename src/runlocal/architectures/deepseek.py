"""DeepSeek V2 and V3 and those that share their layer: latent attention, experts behind leading dense layers. MiniCPM3 keeps the latents expanded."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    if model.architecture == "minicpm3":
        return decoder(model, expanded_latent=True)
    # The cache holds one latent for all heads, so the converter writes one KV head.
    return decoder(model)._replace(kv_group=model.text.heads)
