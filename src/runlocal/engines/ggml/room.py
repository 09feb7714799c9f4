"""Whether what llama.cpp sets aside for a graph holds it: room is made by the number of weights, and where a graph has more tensors, it aborts.

Nothing of this is memory that counts, but a model whose layers have many operations to few weights (experts in few large tensors, fused
matrices) runs into it with a quantized cache, whose rotations are operations more.
https://github.com/ggml-org/llama.cpp/blob/0c1e57098/src/llama-context.cpp (graph_max_nodes),
https://github.com/ggml-org/llama.cpp/blob/0c1e57098/ggml/src/ggml-backend.cpp (ggml_backend_sched_new),
https://github.com/ggml-org/llama.cpp/blob/0c1e57098/src/llama-graph.cpp (llm_graph_result::reset)
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

from runlocal.core.layout import Layout
from runlocal.core.part import HOST
from runlocal.core.tensor import Tensor
from runlocal.engines.ggml.graph import NotModelled
from runlocal.engines.ggml.graph.size import GraphSize, graph_size
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings

_ROTARY_TABLE = "rope_"


class GraphRoom:
    """The room for one model's graphs."""

    def __init__(self, layout: Layout, tensors: Iterable[Tensor], facts: Mapping[str, Any]) -> None:
        """facts: `graph_room` of data/engines/ggml.toml."""
        self._layout, self._facts = layout, facts
        tensors = tuple(tensors)
        self._weights = {skipped: _count(tensors, skipped=skipped) for skipped in (False, True)}
        self._tables = sum(tensor.role.startswith(_ROTARY_TABLE) for tensor in tensors)
        self._sizes: dict[Settings, GraphSize | None] = {}
        self._ample: dict[Settings, bool] = {}

    def ample(self, settings: Settings) -> bool:
        """Whether there is room wherever the layers lie."""
        if settings not in self._ample:
            size, most = self._size(settings), self.most_tensors(self._weights[False] + self._tables, settings.ubatch_tokens)
            self._ample[settings] = size is None or (
                size.nodes + size.inputs <= most and size.nodes + size.leaves + min(self._tables, 1) * int(self._facts["most_backends"]) <= self.table(most)
            )
        return self._ample[settings]

    def refuses(self, settings: Settings, placement: Placement, *, mtp: bool = False) -> str | None:
        """Why llama.cpp aborts while it reserves memory; None where it does not, or where the graph is not known. mtp: next-token layers are loaded."""
        size = self._size(settings)
        if size is None:
            return None
        weights = self.weights(placement, mtp=mtp)
        most = self.most_tensors(weights, settings.ubatch_tokens)
        in_table = size.nodes + self.leaves(size, placement)
        table = self.table(most)
        if in_table > table:
            return f"the graph has {in_table:,} tensors, and for {weights:,} weights llama.cpp makes a table of {table:,}: it aborts while it reserves memory"
        made = size.nodes + size.inputs
        if made > most:
            return f"the graph makes {made:,} tensors, and for {weights:,} weights llama.cpp has room for {most:,}: it aborts while it reserves memory"
        return None

    def weights(self, placement: Placement, *, mtp: bool = False) -> int:
        """Loaded tensors (llama_model::n_tensors); a rotary table and the second copy of a tied embedding count again on each device."""
        copied = self._layout.tied and not self._shares_embedding(placement)
        return self._weights[mtp] + self._tables * len(placement.ranges) + copied

    def leaves(self, size: GraphSize, placement: Placement) -> int:
        """Leaves of the graph, of which one GPU that holds everything has `size.leaves`."""
        tables = min(self._tables, 1) * (len(placement.ranges) - 1)  # of a long and a short one, one is used
        # An encoder has no output matrix to share the embedding with.
        return size.leaves + tables - (self._layout.tied and not self._layout.encoder and self._shares_embedding(placement))

    def most_tensors(self, weights: int, ubatch_tokens: int) -> int:
        """How many tensors a graph may make (llama_context::graph_max_nodes)."""
        for wide in self._facts["wide"]:
            if self._layout.architecture in wide["architectures"]:
                return max(int(wide["per_token"]) * ubatch_tokens, int(wide["per_weight"]) * weights)
        return max(int(self._facts["least"]), int(self._facts["per_weight"]) * weights)

    def table(self, most: int) -> int:
        """Places of the scheduler's table, which holds nodes and leaves (ggml_hash_size)."""
        sizes: list[int] = self._facts["table_sizes"]
        place = bisect_left(sizes, most)
        return sizes[place] if place < len(sizes) else most | 1

    def _shares_embedding(self, placement: Placement) -> bool:
        """Whether the output matrix is the host's embedding itself, not a copy."""
        return self._layout.single_embedding or (placement.output == HOST and not self._layout.two_embeddings)

    def _size(self, settings: Settings) -> GraphSize | None:
        """What the graph has follows from everything but the lengths."""
        key = settings._replace(cells=0, ubatch_tokens=0, output_rows=0)
        if key not in self._sizes:
            try:
                self._sizes[key] = graph_size(self._layout, settings)
            except NotModelled:
                self._sizes[key] = None
        return self._sizes[key]


def _count(tensors: Iterable[Tensor], *, skipped: bool) -> int:
    """Tensors, a layer's each, without rotary tables. skipped: those of layers that do not run too."""
    return sum(len(tensor.layers) or 1 for tensor in tensors if (skipped or not tensor.skipped) and not tensor.role.startswith(_ROTARY_TABLE))
