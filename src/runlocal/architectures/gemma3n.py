"""Gemma 3n: several streams of hidden states, layers that read the cache of earlier ones, an embedding per layer."""

from runlocal.architectures.blocks.gemma import LayerInput, Streams, attentions, layer_inputs, stream_projections
from runlocal.architectures.blocks.stack import SANDWICH_NORMS, decoder
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec

OWNERS = 20
"""So many of the first layers have a cache of their own, whatever the file says (n_layer_kv_from_start of src/models/gemma3n.cpp)."""


def layout(model: ModelSpec) -> Layout:
    text, every = model.text, tuple(range(model.text.layers))
    if text.altup is None or not text.hidden_size_per_layer_input:
        raise Problem(Code.NOT_COMPUTED, f"{model.id} is a Gemma 3n without streams or embeddings per layer, which this version does not compute")
    plain = decoder(model, norms=SANDWICH_NORMS)
    attention = tuple(Placed(block, layers) for block, layers in attentions(text))
    others = tuple(placed for placed in plain.placed if not any(tensor.role == "attn_q" for tensor in placed.block.tensors(every)))
    streams = Streams(hidden_size=text.hidden_size, inputs=text.altup.inputs, laurel_rank=text.altup.laurel_rank)
    beside = (Placed(LayerInput(hidden_size=text.hidden_size, size=text.hidden_size_per_layer_input), every), Placed(streams, every))
    outer = (
        *stream_projections(text.hidden_size, text.altup.inputs),
        # The converter fills the table of embeddings per layer up to the rows of the other.
        *layer_inputs(text.hidden_size, text.hidden_size_per_layer_input, text.layers, text.vocabulary_size),
    )
    return plain._replace(outer=(*plain.outer, *outer), placed=(*attention, *others, *beside), two_embeddings=True)
