"""Florence-2: BART's encoder and decoder with norms behind every part, one embedding for both and for the output.

Names are those of a decoder where it has the same part; nothing makes GGUF files of it
(https://github.com/huggingface/transformers/tree/main/src/transformers/models/bart).
"""

from collections.abc import Iterator

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.encoder_decoder import ENCODER, EncodedAttention, Encoder
from runlocal.architectures.blocks.mlp import DenseMlp, Norms
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec, Text
from runlocal.core.tensor import Tensor


def layout(model: ModelSpec) -> Layout:
    text, d = model.text, model.text.hidden_size
    attention = Attention(
        hidden_size=d,
        heads=text.heads,
        kv_heads=text.kv_heads,
        head_dim=text.head_dim,
        value_dim=text.head_dim,
        qkv_bias=text.qkv_bias,
        output_bias=text.output_bias,
    )
    mlp = DenseMlp(hidden_size=d, intermediate_size=text.intermediate_size, gated=text.gated_mlp, bias=text.mlp_bias)
    norms = Norms(hidden_size=d, roles=("attn_output_norm", "layer_output_norm"), bias=True)
    crossing = EncodedAttention(hidden_size=d, heads=text.heads, head_dim=text.head_dim)
    decoder = (attention, Norms(hidden_size=d, roles=("cross_attn_output_norm",), bias=True), crossing, mlp, norms)
    encoding, decoding = tuple(range(text.encoder_layers)), tuple(range(text.layers))
    return Layout(
        architecture=model.architecture,
        hidden_size=d,
        vocabulary_size=text.vocabulary_size,
        layers=text.layers,
        stored_layers=text.layers,
        outer=tuple(_outer(text)),
        placed=(
            *(Placed(Encoder(block), encoding) for block in (attention._replace(cached=False), mlp, norms)),
            *(Placed(block, decoding) for block in decoder),
        ),
        tied=text.tied_embeddings,
        kv_group=text.heads // text.kv_heads,
        experts=0,
    )


def _outer(text: Text) -> Iterator[Tensor]:
    """The embedding, the positions of both halves with a norm behind each, and what is added to the logits."""
    d = text.hidden_size
    yield Tensor(role="token_embd", columns=d, rows=text.vocabulary_size)
    for half in (ENCODER, ""):
        if text.position_embeddings:
            yield Tensor(role=f"{half}position_embd", columns=d, rows=text.position_embeddings, quantizable=False)
        yield Tensor(role=f"{half}token_embd_norm", columns=d, quantizable=False)
        yield Tensor(role=f"{half}token_embd_norm.bias", columns=d, quantizable=False)
    yield Tensor(role="output.bias", columns=text.vocabulary_size, quantizable=False)
