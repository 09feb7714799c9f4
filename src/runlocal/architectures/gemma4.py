"""Gemma 4: two widths of heads, layers that read the cache of earlier ones, an embedding per layer, experts beside a dense MLP."""

from collections.abc import Iterator

from runlocal.architectures.blocks.gemma import LayerInput, OutputScale, attentions, layer_inputs
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
        two_embeddings=text.tied_embeddings,
    )


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
        yield Tensor(role="rope_freqs", columns=text.head_dim // 2, quantizable=False, read_by=text.window.full_layers if text.window else ())
