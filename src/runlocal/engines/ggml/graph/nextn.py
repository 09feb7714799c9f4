"""The graph of a next-token layer: what it makes of a token and of the model's last hidden state (`graph_mtp` in src/models/*.cpp)."""

from enum import StrEnum

from runlocal.architectures.blocks.attention import LatentAttention
from runlocal.architectures.blocks.mlp import NextTokenHead, Norms
from runlocal.core.layout import Block, Layout, Placed
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.decoder import one_layer
from runlocal.engines.ggml.graph.layers import Layer
from runlocal.engines.ggml.graph.tensors import F32, concat, get_rows, given, mul_mat, new, reshape, top_k, view


class Picked(StrEnum):
    """Where rows for the logits are picked."""

    BEHIND_NORM = "behind_norm"  # the last one
    BEFORE_NORM = "before_norm"
    BEHIND_ATTENTION = "behind_attention"


# Architectures with such a graph here.
PICKED = {
    "qwen35": Picked.BEHIND_NORM,
    "qwen35moe": Picked.BEHIND_NORM,
    "glm4moe": Picked.BEHIND_NORM,
    "deepseek2": Picked.BEHIND_NORM,
    "hy_v3": Picked.BEHIND_NORM,
    "glm-dsa": Picked.BEHIND_NORM,
    "deepseek32": Picked.BEHIND_NORM,
    "step35": Picked.BEFORE_NORM,
    "nemotron_h_moe": Picked.BEHIND_ATTENTION,
}

_CANDIDATES = 10  # draft tokens are picked on the device, from so many (llama_sampler_init_top_k)


def next_layout(layout: Layout) -> Layout:
    """The layers behind those that run, as a model of their own. Their attention reads every token: it has no indexer."""
    behind = (Placed(_dense(block), tuple(layer for layer in layers if layer >= layout.layers)) for block, layers in layout.placed)
    placed = tuple(placed for placed in behind if placed.layers)
    norms = [block for block, _ in placed if isinstance(block, Norms)]
    if len(norms) > 1:
        # Those of a layer that has more blocks than the layers that run.
        both = norms[0]._replace(roles=tuple(role for one in norms for role in one.roles))
        placed = (*(one for one in placed if not isinstance(one.block, Norms)), Placed(both, tuple(range(layout.layers, layout.stored_layers))))
    return layout._replace(layers=layout.stored_layers, placed=placed)


def _dense(block: Block) -> Block:
    return block._replace(indexer=None) if isinstance(block, LatentAttention) else block


def head_of(layout: Layout) -> NextTokenHead | None:
    """What next-token layers have beside an ordinary layer; None where the file has no such layers."""
    return next((block for block, _ in layout.placed if isinstance(block, NextTokenHead)), None)


def without_head(layout: Layout) -> Layout:
    """The same layers without what only next-token layers have."""
    return layout._replace(placed=tuple(placed for placed in layout.placed if not isinstance(placed.block, NextTokenHead)))


def build_next(c: Context, head: NextTokenHead, layer: Layer, index: int, picked: Picked) -> None:
    """Builds the graph of the next-token layer `index` into `c.graph`."""
    d, rows = head.hidden_size, head.vocabulary_size
    embedded = get_rows(_table(c, head, index), c.token_ids)
    hidden = c.norm(given(F32, d, c.tokens), "nextn.hnorm", index)
    x = concat(c.norm(embedded, "nextn.enorm", index), hidden)
    x = mul_mat(c.weight("nextn.eh_proj", index, 2 * d, d), x)
    x = one_layer(c, layer, x, index, picks=picked is Picked.BEHIND_ATTENTION)
    if picked is Picked.BEFORE_NORM:
        x = get_rows(x, c.output_rows)
        x.is_output = True
    x = c.norm(x, head.last_norm, index, pinned=False)
    if picked is not Picked.BEFORE_NORM:
        x.is_output = True
    if picked is Picked.BEHIND_NORM:
        x = get_rows(x, c.output_rows)
    output = c.weight("nextn.shared_head_head", index, d, rows) if head.own_embeddings else c.weight("output", None, d, rows)
    logits = mul_mat(output, x)
    logits.is_output = True
    c.graph.expand(logits)
    _sample(c, logits, rows)


def _table(c: Context, head: NextTokenHead, index: int) -> Node:
    """The embedding that tokens are looked up in: its own, else the model's, on the host."""
    if head.own_embeddings and head.own_input:
        return c.weight("nextn.embed_tokens", index, head.hidden_size, head.vocabulary_size)
    table = new(NONE, F32, (head.hidden_size, 1, 1, 1))
    table.stored = table.weight = True
    table.device = c.devices.host
    return table


def _sample(c: Context, logits: Node, vocabulary_size: int) -> None:
    """build_sampling: for every sequence the best few tokens and their logits."""
    padded = new("PAD", F32, (vocabulary_size, logits.shape[1] + 1, 1, 1), logits)
    for sequence in range(c.settings.sequences):
        own = reshape(view(padded, (vocabulary_size,), (), sequence * padded.strides[1]), vocabulary_size)
        best = top_k(own, _CANDIDATES)
        values = get_rows(reshape(own, 1, vocabulary_size), best)
        for node in (values, best):
            node.is_output = True
            c.graph.expand(node)
