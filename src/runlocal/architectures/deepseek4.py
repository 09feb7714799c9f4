"""DeepSeek V4: compressed attention, experts in every layer (in the first ones by a table), hyper-connections."""

from collections.abc import Iterator

from runlocal.architectures.blocks.compressed import CompressedAttention, HyperConnections
from runlocal.architectures.blocks.mlp import ExpertMlp, Norms
from runlocal.architectures.blocks.stack import LAYER_NORMS, outer_tensors
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Layout, Placed
from runlocal.core.model import ModelSpec, Text


def layout(model: ModelSpec) -> Layout:
    text = model.text
    layers = tuple(range(text.layers))
    streams = HyperConnections(hidden_size=text.hidden_size, streams=text.hc_mult)
    placed = [
        Placed(streams, layers),
        *_attention(model),
        Placed(Norms(hidden_size=text.hidden_size, roles=LAYER_NORMS), layers),
        *_experts(text),
    ]
    return Layout(
        architecture=model.architecture,
        hidden_size=text.hidden_size,
        vocabulary_size=text.vocabulary_size,
        layers=text.layers,
        stored_layers=text.layers,
        outer=(*outer_tensors(text, biased=False, output_bias=False), *streams.outer_tensors()),
        placed=tuple(placed),
        tied=text.tied_embeddings,
        kv_group=text.heads // text.kv_heads,
        experts=text.experts.count if text.experts else 0,
    )


def _attention(model: ModelSpec) -> Iterator[Placed]:
    """The attention of every ratio. Raises Problem where the model lacks what such attention is made of."""
    text = model.text
    compressed, indexer, window = text.compressed, text.indexer, text.window
    if not compressed or not indexer or not window or len(compressed.compress_ratios) != text.layers:
        raise Problem(Code.BAD_FILE, f"{model.id} needs `compressed` with a ratio for each layer, `indexer` and `window`")
    for ratio in sorted(set(compressed.compress_ratios)):
        block = CompressedAttention(
            hidden_size=text.hidden_size,
            heads=text.heads,
            head_dim=text.head_dim,
            query_width=compressed.q_lora_rank,
            output_groups=compressed.o_groups,
            output_rank=compressed.o_lora_rank,
            window_tokens=window.tokens,
            ratio=ratio,
            indexer_heads=indexer.heads,
            indexer_dim=indexer.head_dim,
            top_k=indexer.top_k,
        )
        yield Placed(block, tuple(layer for layer in range(text.layers) if compressed.compress_ratios[layer] == ratio))


def _experts(text: Text) -> Iterator[Placed]:
    experts = text.experts
    if experts is None:
        return
    routed = ExpertMlp(
        hidden_size=text.hidden_size,
        count=experts.count,
        used=experts.used,
        intermediate_size=experts.intermediate_size,
        shared_size=experts.shared_intermediate_size,
        router_bias=True,
    )
    by_table = routed._replace(router_bias=False, table_rows=text.vocabulary_size)
    for block, layers in ((by_table, range(experts.hash_layers)), (routed, range(experts.hash_layers, text.layers))):
        if layers:
            yield Placed(block, tuple(layers))
