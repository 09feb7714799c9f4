"""A layer as blocks, and what the graph makes of one block: what every way of putting a layer together needs."""

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from runlocal.architectures.blocks.attention import Attention, NoAttention
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp, Norms
from runlocal.core.layout import Block, Layout
from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.family import NotModelled
from runlocal.engines.ggml.graph.mlp import dense, experts

if TYPE_CHECKING:
    from runlocal.architectures.blocks.compressed import HyperConnections
    from runlocal.architectures.blocks.gemma import LayerInput, OutputScale, Streams
    from runlocal.architectures.blocks.ngrams import LowRankConnections, NgramEmbedding
    from runlocal.architectures.blocks.residuals import AttentionResiduals

    Other = AttentionResiduals | LayerInput | LowRankConnections | NgramEmbedding | OutputScale | Streams

# By the name of a block: where the part of the graph is built that it stands for, `module.function` beside this module.
# A module is loaded with the first model that has such a block.
# What a layer mixes its tokens with.
MIXERS = {
    "Attention": "attention.attend",
    "BlockSparseAttention": "sparse.attend_blocks",
    "CompressedAttention": "compressed.attend_compressed",
    "LatentAttention": "latent.attend_latent",
    "PooledAttention": "qwen4exp.attend_blocks",
    "PooledLatentAttention": "pooled.attend_pooled",
    "Mamba1": "mamba.scan_1",
    "Mamba2": "mamba.scan_2",
    "GatedDeltaNet": "delta.correct",
    "KimiDeltaAttention": "delta.correct_by_value",
    "LightningAttention": "lightning.attend_linearly",
    "ShortConvolution": "short_conv.convolve_gated",
}
# Blocks that are whole layers but for their norms.
WHOLE = {"Rwkv6": "rwkv.layer_6", "Rwkv7": "rwkv.layer_7"}
# Blocks that only one family has.
OTHERS = ("AttentionResiduals", "LayerInput", "LowRankConnections", "NgramEmbedding", "OutputScale", "Streams")


def name_of(block: object) -> str:
    """What the tables here know a block by."""
    return type(block).__name__


class Layer(NamedTuple):
    """The blocks of one layer: what mixes tokens, then what works on each; one of them may be missing.

    beside: a dense MLP beside the experts
    others: blocks that only this architecture has
    scan: a state-space layer beside the attention
    """

    mixer: Block | None
    mlp: DenseMlp | ExpertMlp | None
    norms: Norms | None
    beside: DenseMlp | None = None
    others: "tuple[Other, ...]" = ()
    connections: "HyperConnections | None" = None
    scan: Block | None = None

    @property
    def has_streams(self) -> bool:
        """Whether it mixes several residual streams."""
        return self.connections is not None or any(name_of(other) == "LowRankConnections" for other in self.others)


@lru_cache(maxsize=4)
def layers_of(layout: Layout) -> tuple[Layer, ...]:
    """The blocks of every layer that runs. Raises NotModelled where a layer has others than one mixer, one MLP and its norms."""
    mixers: dict[int, Block] = {}
    mlps: dict[int, DenseMlp | ExpertMlp] = {}
    norms: dict[int, Norms] = {}
    beside: dict[int, DenseMlp] = {}
    others: dict[int, tuple[Other, ...]] = {}
    connections: dict[int, HyperConnections] = {}
    scans: dict[int, Block] = {}
    for block, where in layout.placed:
        name = name_of(block)
        for layer in where:
            if layer >= layout.layers:
                continue
            if name in (*MIXERS, *WHOLE) and layer not in mixers:
                mixers[layer] = block
            elif isinstance(block, Attention) and name_of(mixers.get(layer)) == "Mamba2":
                scans[layer], mixers[layer] = mixers[layer], block
            elif isinstance(block, DenseMlp | ExpertMlp) and layer not in mlps:
                mlps[layer] = block
            elif isinstance(block, Norms) and layer not in norms:
                norms[layer] = block
            elif isinstance(block, ExpertMlp) and isinstance(dense_one := mlps[layer], DenseMlp):
                beside[layer], mlps[layer] = dense_one, block
            elif name in OTHERS:
                others[layer] = (*others.get(layer, ()), cast("Other", block))
            elif name == "HyperConnections" and layer not in connections:
                connections[layer] = cast("HyperConnections", block)
            elif not isinstance(block, NoAttention):
                raise NotModelled(f"a layer of {layout.architecture} with {name}")
    return tuple(
        Layer(
            mixer=mixers.get(layer),
            mlp=mlps.get(layer),
            norms=norms.get(layer),
            beside=beside.get(layer),
            others=others.get(layer, ()),
            connections=connections.get(layer),
            scan=scans.get(layer),
        )
        for layer in range(layout.layers)
    )


@cache
def builder(place: str) -> Callable[..., Node]:
    """What `module.function` of this package names."""
    module, _, function = place.partition(".")
    return cast(Callable[..., Node], getattr(import_module(f"runlocal.engines.ggml.graph.{module}"), function))


def mixed(c: Context, mixer: Block | None, x: Node, layer: int) -> Node:
    """What a block makes of the tokens."""
    return builder(MIXERS[name_of(mixer)])(c, mixer, x, layer)


def feed_forward(c: Context, block: DenseMlp | ExpertMlp, x: Node, layer: int) -> Node:
    """What an MLP, or a mixture of experts, makes of each token."""
    return experts(c, block, x, layer) if isinstance(block, ExpertMlp) else dense(c, block, x, layer)
