"""Qwen3-Next and Qwen3.5 to 3.8: three layers of gated delta net to one of gated attention, dense or with experts."""

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.delta import GatedDeltaNet
from runlocal.architectures.blocks.stack import decoder
from runlocal.core.layout import Block, Layout
from runlocal.core.model import ModelSpec


def layout(model: ModelSpec) -> Layout:
    text = model.text
    built = decoder(model, norms=("attn_norm", "post_attention_norm"))
    placed = tuple(part._replace(block=_gated(part.block, joined=model.architecture == "qwen3next")) for part in built.placed)
    # The file states one number of KV heads for all layers, those without attention included.
    return built._replace(placed=placed, kv_group=text.heads // text.kv_heads)


def _gated(block: Block, *, joined: bool) -> Block:
    match block:
        case Attention():
            return block._replace(query_gate=True)
        case GatedDeltaNet():
            return block._replace(joined=joined)
        case _:
            return block
