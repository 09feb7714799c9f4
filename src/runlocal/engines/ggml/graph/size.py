"""How many tensors a graph has, counted on a few layers of every pattern."""

from collections import defaultdict

from runlocal.core.layout import Layout
from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.allocator import NONE
from runlocal.engines.ggml.graph.context import Context, Devices
from runlocal.engines.ggml.graph.decoder import build
from runlocal.engines.ggml.graph.family import family_of
from runlocal.engines.ggml.graph.layers import layers_of
from runlocal.engines.ggml.graph.runs import KEPT, runs_of
from runlocal.engines.ggml.settings import Settings


class GraphSize(NamedTuple):
    """Tensors of a graph.

    nodes: what is computed
    leaves: what is not: weights, caches, inputs
    inputs: those of the leaves that the graph makes itself
    """

    nodes: int
    leaves: int
    inputs: int


def graph_size(layout: Layout, settings: Settings, *, all_layers: bool = False) -> GraphSize:
    """The graph of a step where one GPU holds everything. Raises NotModelled. all_layers: build every layer, which gives the same figure."""
    family = family_of(layout)
    layers = layers_of(layout)
    runs = [] if all_layers or family.every_layer else list(runs_of([(layer, family.kind_of(index)) for index, layer in enumerate(layers)], KEPT))
    left_out = {index for run in runs for index in range(run.built_end, run.end)}
    devices = Devices(layers=(0,) * len(layers), output=0, host_experts=0, cache_on_host=False, host=1, keeps_pins=False)
    context = Context(layout, family, settings, devices, defaultdict(int))
    entries = build(context, layers, [index for index in range(len(layers)) if index not in left_out])
    graph = context.graph
    nodes, leaves, inputs = len(graph.nodes), len(graph.leaves), sum(not leaf.stored for leaf in graph.leaves)
    place_of = {node: place for place, node in enumerate(graph.nodes, 1)} if runs else {}
    for run in runs:
        # The last period that was built, from what enters it to what enters the layer behind it.
        start, end = place_of[entries[run.built_end - run.period]], place_of[entries[run.end]]
        before = {source for node in graph.nodes[:start] for source in node.sources}
        new = {source for node in graph.nodes[start:end] for source in node.sources if source.op == NONE} - before
        nodes += run.times * (end - start)
        leaves += run.times * len(new)
        inputs += run.times * sum(not leaf.stored for leaf in new)
    return GraphSize(nodes=nodes, leaves=leaves, inputs=inputs)
