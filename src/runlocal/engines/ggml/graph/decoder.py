"""A decoder's whole graph: its layers between both ends (the `graph` constructors of src/models/*.cpp)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp
from runlocal.core.layout import Block
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.ends import embed, logits
from runlocal.engines.ggml.graph.family import Beside, NotModelled
from runlocal.engines.ggml.graph.layers import WHOLE, Layer, builder, feed_forward, mixed, name_of
from runlocal.engines.ggml.graph.tensors import F32, get_rows, like, view

if TYPE_CHECKING:
    from runlocal.architectures.blocks.compressed import HyperConnections
    from runlocal.architectures.blocks.gemma import Streams

# Layers that are put together in a way of their own, as `layers.MIXERS` has blocks.
OWN_LAYERS = {
    "gemma3n": "gemma.gemma3n_layer",
    "gemma4": "gemma.gemma4_layer",
    "glm5-next": "pooled.streamed_layer",
    "kimi-k3": "residuals.mixing_layer",
    "qwen4exp": "qwen4exp.streamed_layer",
}
# What some of them have before their first layer: of the embedding, what enters it.
OWN_BEGINNINGS = {"glm5-next": "pooled.prepare", "qwen4exp": "qwen4exp.begin"}


def build(c: Context, layers: Sequence[Layer], chosen: Sequence[int]) -> dict[int, Node]:
    """Builds the graph into `c.graph`.

    chosen: indices of the layers that take part, in order; the last one is the model's last
    Returns what enters each of them.
    """
    x, embedded = embed(c)
    if c.family.own_layer in OWN_BEGINNINGS:
        x = builder(OWN_BEGINNINGS[c.family.own_layer])(c, layers, x)
    streams = next((cast("Streams", other).inputs for other in layers[0].others if name_of(other) == "Streams"), 0)
    if streams:
        from runlocal.engines.ggml.graph.gemma import stream_mean, streams_of

        x = streams_of(c, x, streams)
    connections = layers[0].connections
    if connections:
        from runlocal.engines.ggml.graph.hyper import narrow, widen

        x = widen(c, connections, x)
    entries = {}
    for index in chosen:
        entries[index] = x
        if index == chosen[-1]:
            c.picks = True
        if c.family.own_layer and (block := layers[index].mixer):
            x = builder(OWN_LAYERS[c.family.own_layer])(c, layers[index], block, x, index)
            continue
        x = _layer(c, layers[index], x, index, last=index == chosen[-1])
        if index < c.family.deepstack:
            d = c.layout.hidden_size
            x = like("ADD", x, view(embedded, (d, c.tokens), (embedded.strides[1],), (index + 1) * d * F32.block_bytes))
    if streams:
        x = stream_mean(c, x)
    if connections:
        x = narrow(c, connections, x)
    if "kept" in c.shared:
        from runlocal.engines.ggml.graph.residuals import mix

        x = get_rows(mix(c, x, c.weight("output_res_score", None, c.layout.hidden_size)), c.output_rows)
    logits(c, x, biased=bool(layers[-1].norms and layers[-1].norms.bias))
    return entries


def one_layer(c: Context, blocks: Layer, x: Node, layer: int, *, picks: bool = False) -> Node:
    """A layer that every token goes through, as next-token layers are. picks: only rows for the logits go on behind its attention."""
    if not picks or blocks.mixer is None or blocks.mlp is None or blocks.norms is None:
        return _layer(c, blocks, x, layer, last=False)
    before, behind = blocks.norms.roles
    x = get_rows(like("ADD", mixed(c, blocks.mixer, c.norm(x, before, layer), layer), x), c.output_rows)
    return like("ADD", feed_forward(c, blocks.mlp, c.norm(x, behind, layer), layer), x)


def _post_normed(c: Context, blocks: Layer, x: Node, layer: int, *, last: bool) -> Node:
    """A layer of BERT: attention, residual, norm, MLP, residual, norm."""
    if blocks.mixer is None or blocks.mlp is None:
        raise NotModelled(f"a layer of {c.layout.architecture} without attention or MLP")
    out = mixed(c, blocks.mixer, x, layer)
    if last:
        out, x = get_rows(out, c.output_rows), get_rows(x, c.output_rows)
    x = c.norm(like("ADD", out, x), "attn_output_norm", layer, bias=True)
    return c.norm(like("ADD", feed_forward(c, blocks.mlp, x, layer), x), "layer_output_norm", layer, bias=True)


def _layer(c: Context, blocks: Layer, x: Node, layer: int, *, last: bool) -> Node:
    """One layer: norm, attention, residual, norm, MLP, residual."""
    family, norms = c.family, blocks.norms
    if blocks.connections:
        return _mixing_layer(c, blocks, blocks.connections, x, layer)
    if whole := WHOLE.get(name_of(blocks.mixer)):
        return builder(whole)(c, blocks.mixer, x, layer, last=last)
    if blocks.mixer is None or blocks.mlp is None:
        return _half(c, blocks, x, layer, last=last)
    if family.residual_normed:
        return _beside_its_norms(c, blocks.mixer, blocks.mlp, x, layer, last=last)
    if blocks.scan is not None:
        return _both(c, blocks, blocks.mlp, x, layer, last=last)
    roles = norms.roles if norms else ()
    if c.layout.encoder and "layer_output_norm" in roles:
        return _post_normed(c, blocks, x, layer, last=last)
    biased = bool(norms and norms.bias)
    behind_attention = "attn_output_norm" if "attn_output_norm" in roles else "post_attention_norm"
    behind_mlp = "layer_output_norm" if "layer_output_norm" in roles else "post_ffw_norm"
    sandwich = behind_mlp in roles
    normed = c.norm(x, "attn_norm", layer, bias=biased) if "attn_norm" in roles or family.weightless_norms else x
    into_attention = c.norm(x, "attn_norm_2", layer, bias=biased) if "attn_norm_2" in roles else normed
    out = mixed(c, blocks.mixer, into_attention, layer)
    if sandwich and family.attention_normed:
        out = c.norm(out, behind_attention, layer)
    if last and not family.outputs_last and not family.outputs_normed:
        out, x = get_rows(out, c.output_rows), get_rows(x, c.output_rows)
        if family.beside:
            normed = get_rows(normed, c.output_rows)
    if family.beside:
        return _parallel(family.beside, x, out, feed_forward(c, blocks.mlp, normed, layer))
    if sandwich and not family.attention_normed:
        out = c.norm(out, behind_attention, layer)
    if family.residual_scaled:
        out = like("SCALE", out)
    x = like("ADD", x, out) if family.stream_first else like("ADD", out, x)
    second = "ffn_norm" if "ffn_norm" in roles or family.weightless_norms else None if sandwich or not roles else roles[-1]
    into_mlp = c.norm(x, second, layer, bias=biased) if second else x
    out = feed_forward(c, blocks.mlp, into_mlp, layer)
    if blocks.beside:
        out = like("SCALE", like("ADD", feed_forward(c, blocks.beside, into_mlp, layer), out))  # Grok-2
    if sandwich:
        out = c.norm(out, behind_mlp, layer)
    if family.residual_scaled:
        out = like("SCALE", out)
    return like("ADD", x, out) if family.residual_first else like("ADD", out, x)


def _mixing_layer(c: Context, blocks: Layer, connections: "HyperConnections", x: Node, layer: int) -> Node:
    """A layer over several residual streams: each half reads one that is made of them, and what it yields is mixed into all."""
    if blocks.mixer is None or blocks.mlp is None:
        raise NotModelled("half a layer over several residual streams")
    from runlocal.engines.ggml.graph.hyper import gather, scatter

    read = gather(c, connections, "attn", x, layer)
    x = scatter(c, mixed(c, blocks.mixer, c.norm(read.mixed, "attn_norm", layer), layer), x, read, layer)
    read = gather(c, connections, "ffn", x, layer)
    for node in (x, read.out, read.across):
        c.graph.expand(node)
    x = scatter(c, feed_forward(c, blocks.mlp, c.norm(read.mixed, "ffn_norm", layer), layer), x, read, layer)
    if c.pins:
        x.device = c.devices.layers[layer]
    return x


def _beside_its_norms(c: Context, mixer: Block, mlp: DenseMlp | ExpertMlp, x: Node, layer: int, *, last: bool) -> Node:
    """A layer whose halves are added to what they were given."""
    normed = c.norm(x, "attn_norm", layer)
    out = mixed(c, mixer, normed, layer)
    if last:
        out, normed = get_rows(out, c.output_rows), get_rows(normed, c.output_rows)
    normed = c.norm(like("ADD", out, like("SCALE", normed)), "ffn_norm", layer)
    return like("ADD", feed_forward(c, mlp, normed, layer), like("SCALE", normed))


def _half(c: Context, blocks: Layer, x: Node, layer: int, *, last: bool) -> Node:
    """A layer with one block: norm, block, residual; or with none at all."""
    if blocks.mlp is None and blocks.mixer is None:
        return x
    out = c.norm(x, blocks.norms.roles[0] if blocks.norms else "attn_norm", layer)
    out = feed_forward(c, blocks.mlp, out, layer) if blocks.mlp else mixed(c, blocks.mixer, out, layer)
    if last and not c.family.outputs_normed:
        out, x = get_rows(out, c.output_rows), get_rows(x, c.output_rows)
    return like("ADD", out, x)


def _both(c: Context, blocks: Layer, mlp: DenseMlp | ExpertMlp, x: Node, layer: int, *, last: bool) -> Node:
    """Attention and a state-space layer read the same stream, each through a norm of its own with the same weights (src/models/falcon-h1.cpp)."""
    attended = mixed(c, blocks.mixer, c.norm(x, "attn_norm", layer), layer)
    scanned = mixed(c, blocks.scan, c.norm(x, "attn_norm", layer), layer)
    x = like("ADD", like("ADD", attended, scanned), x)
    if last:
        x = get_rows(x, c.output_rows)
    return like("ADD", feed_forward(c, mlp, c.norm(x, "ffn_norm", layer), layer), x)


def _parallel(beside: Beside, x: Node, attended: Node, mlp: Node) -> Node:
    match beside:
        case Beside.COHERE:
            return like("ADD", like("ADD", mlp, x), attended)
        case Beside.PHI:
            return like("ADD", like("ADD", attended, mlp), x)
        case Beside.FALCON:
            return like("ADD", like("ADD", mlp, attended), x)
