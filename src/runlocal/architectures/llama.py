"""Llama and the many that share its layer: two norms, separate projections, a gated MLP or Mixtral's experts.

Biases, norms of queries and keys, tying and rotary tables are data; what is left to code is that SeedOSS names its second norm otherwise, that
Spark gates every head, and that the first Qwen keeps queries, keys and values in one matrix.
"""

from runlocal.architectures.blocks.stack import LAYER_NORMS, decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec

_OTHER_NORMS = {"seed_oss": ("attn_norm", "post_attention_norm")}


def layout(model: ModelSpec) -> Layout:
    norms, architecture = _OTHER_NORMS.get(model.architecture, LAYER_NORMS), model.architecture
    return decoder(model, norms=norms, head_gate=architecture == "spark2_5", fused_qkv=architecture == "qwen")
