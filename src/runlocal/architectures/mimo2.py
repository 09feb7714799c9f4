"""MiMo V2: values narrower than keys, sinks and more KV heads in the layers with a window, several dense next-token layers."""

from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    return decoder(model, windowed_sinks=True, next_norm="layer_output_norm", next_dense=True)
