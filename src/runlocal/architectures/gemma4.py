"""Gemma 4: two widths of heads, layers that read the cache of earlier ones, an embedding per layer, experts beside a dense MLP."""

from collections.abc import Iterator

from runlocal.architectures.blocks.attention import Attention
from runlocal.architectures.blocks.gemma import LayerInput, OutputScale, layer_inputs
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp, Norms
from runlocal.architectures.blocks.stack import SANDWICH_NORMS, outer_tensors
from runlocal.core.layout import Block, Layout, Placed
from runlocal.core.model import ModelSpec, Text
from runlocal.core.tensor import Tensor

_EXPERT_NORMS = ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2")


def layout(model: ModelSpec) -> Layout:
    text = model.text
    every = tuple(range(text.layers))
    attention = tuple(attentions(text))
    placed = [Placed(block, layers) for block, layers in attention]
    placed.append(Placed(Norms(hidden_size=text.hidden_size, roles=SANDWICH_NORMS + (_EXPERT_NORMS if text.experts else ())), every))
    placed += [Placed(block, layers) for block, layers in _mlps(text)]
    if text.hidden_size_per_layer_input:
        placed.append(Placed(LayerInput(hidden_size=text.hidden_size, size=text.hidden_size_per_layer_input), every))
    placed.append(Placed(OutputScale(), every))
    first = next(block for block, layers in attention if 0 in layers)
    return Layout(
        architecture=model.architecture,
        hidden_size=text.hidden_size,
        vocabulary_size=text.vocabulary_size,
        layers=text.layers,
        stored_layers=text.layers,
        outer=tuple(_outer(text)),
        placed=tuple(placed),
        tied=text.tied_embeddings,
        kv_group=first.heads // first.kv_heads,
        experts=text.experts.count if text.experts else 0,
    )


def attentions(text: Text) -> Iterator[tuple[Attention, tuple[int, ...]]]:
    """Attention with and without a window, with and without a cache of its own."""
    window = text.window
    full = set(window.full_layers) if window else set(range(text.layers))
    owners = text.layers - text.shared_kv_layers
    everywhere = Attention(
        hidden_size=text.hidden_size,
        heads=text.heads,
        kv_heads=text.kv_heads,
        head_dim=text.head_dim,
        value_dim=text.head_dim,
        qk_norm=text.qk_norm,
        values=not text.k_eq_v,
    )
    kinds = [(everywhere, [layer for layer in range(text.layers) if layer in full])]
    if window:
        head_dim = window.head_dim or text.head_dim
        narrow = everywhere._replace(
            heads=window.heads or text.heads,
            kv_heads=window.kv_heads or text.kv_heads,
            head_dim=head_dim,
            value_dim=head_dim,
            window_tokens=window.tokens,
            values=True,
        )
        kinds.insert(0, (narrow, [layer for layer in range(text.layers) if layer not in full]))
    for block, layers in kinds:
        own = tuple(layer for layer in layers if layer < owners)
        if own:
            yield block, own
        if sharing := tuple(layer for layer in layers if layer >= owners):
            yield block._replace(reads=own[-1] if own else 0, idle=text.idle_kv), sharing


def _mlps(text: Text) -> Iterator[tuple[Block, tuple[int, ...]]]:
    dense, owners = DenseMlp(hidden_size=text.hidden_size, intermediate_size=text.intermediate_size), text.layers - text.shared_kv_layers
    if text.double_wide_mlp and owners < text.layers:
        yield dense, tuple(range(owners))
        yield dense._replace(intermediate_size=2 * text.intermediate_size), tuple(range(owners, text.layers))
    else:
        yield dense, tuple(range(text.layers))
    if experts := text.experts:
        yield (
            ExpertMlp(
                hidden_size=text.hidden_size,
                count=experts.count,
                used=experts.used,
                intermediate_size=experts.intermediate_size,
                fused=True,
                scaled=True,
            ),
            tuple(range(text.layers)),
        )


def _outer(text: Text) -> Iterator[Tensor]:
    yield from outer_tensors(text, biased=False, output_bias=False)
    if size := text.hidden_size_per_layer_input:
        yield from layer_inputs(text.hidden_size, size, text.layers, text.vocabulary_size)
    if text.window is None or text.window.full_layers:
        yield Tensor(role="rope_freqs", columns=text.head_dim // 2, quantizable=False)
