"""A graph in the order in which ggml evaluates it (ggml_build_forward_expand in ggml/src/ggml.c)."""

from runlocal.engines.ggml.allocator import NONE, Node


class Graph:
    """nodes: what is computed, operands before results; leaves: what is not (inputs, weights, caches), as first met."""

    __slots__ = ("_seen", "leaves", "nodes")

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.leaves: list[Node] = []
        self._seen: set[Node] = set()

    def expand(self, node: Node) -> None:
        """Adds `node` and everything it needs that is not there yet, first operand first."""
        seen = self._seen
        if node in seen:
            return
        seen.add(node)
        for source in node.sources:
            if source not in seen:  # asked here too: most are there, and a call costs more than the question
                self.expand(source)
        (self.leaves if node.op == NONE else self.nodes).append(node)
