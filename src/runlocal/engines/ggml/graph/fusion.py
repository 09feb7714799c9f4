"""What CUDA keeps alive so that it can fuse operations (ggml_backend_cuda_graph_optimize in ggml/src/ggml-cuda/ggml-cuda.cu).

Two chains are fused at a price in memory: the choice of experts, and the weighted sum of their outputs.
https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-cuda/ggml-cuda.cu
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from runlocal.engines.ggml.allocator import NONE, Node

_MOST_EXPERTS_SUMMED = 15  # MOE_WEIGHTED_REDUCTION_MAX_EXPERTS
_OPERANDS = 10  # GGML_MAX_SRC
_ROUTABLE = frozenset((*(1 << power for power in range(10)), 288, 576))  # expert counts that launch_topk_moe_cuda knows
_GATES = ("SIGMOID", "SOFT_MAX")


def with_dependencies(nodes: Sequence[Node], uses: Mapping[Node, int] | None) -> Iterator[Node]:
    """The nodes of one split, and behind some of them nodes that keep others alive until then.

    uses: of how many operations of the whole graph each node is an operand; None: the choice of experts is not fused
    """
    kept: dict[Node, dict[Node, None]] = {}
    index = 0
    while index < len(nodes):
        length = 0
        if nodes[index].op == "MUL" and (found := _weighted_sum(nodes, index)):
            until, parts, length = found
            kept.setdefault(until, {}).update(dict.fromkeys(parts))
            # The scan goes on behind the sum, but looks at its last node once more.
            index += length - 1
        if uses is not None and nodes[index].op in _GATES and (length := _choice_of_experts(nodes, index, uses)):
            last = index + length
            chain = kept.setdefault(nodes[last], {})
            for node in nodes[index:last]:
                chain[node] = None
                chain.update(dict.fromkeys(node.sources))
            index += length - 1
        index += 1
    for node in nodes:
        yield node
        held = list(kept.get(node, ()))
        for start in range(0, len(held), _OPERANDS):
            part = held[start : start + _OPERANDS]
            first = part[0]
            yield Node(NONE, first.type, first.shape, first.strides, part, 0, first.root or first)


def _weighted_sum(nodes: Sequence[Node], index: int) -> tuple[Node, tuple[Node, ...], int] | None:
    """ggml_cuda_match_moe_weighted_reduction: experts × weights, a view per expert, and their sum."""
    product = nodes[index]
    outputs, weights = product.sources[0], product.sources[-1]
    used = product.shape[1]
    if weights.shape != (1, *product.shape[1:]) or outputs.shape != product.shape or not 1 < used <= _MOST_EXPERTS_SUMMED:
        return None
    length = 2 * used
    chain = nodes[index : index + length]
    if [node.op for node in chain[1:]] != ["VIEW"] * used + ["ADD"] * (used - 1) or any(node.sources[0] is not product for node in chain[1 : 1 + used]):
        return None
    return chain[-1], (outputs, weights), length


def _choice_of_experts(nodes: Sequence[Node], index: int, uses: Mapping[Node, int]) -> int:
    """ggml_cuda_topk_moe_fusion: how many nodes lead from the scores to the weights of the chosen experts, 0 if they are no such chain."""
    biased = index + 2 < len(nodes) and nodes[index + 2].op == "ADD" and nodes[index + 2].sources[0] is nodes[index]
    ops = [nodes[index].op, "RESHAPE", *(["ADD"] if biased else []), "ARGSORT", "VIEW", "GET_ROWS"]
    ids = len(ops) - 2
    for tail in (["RESHAPE", "SUM_ROWS", "CLAMP", "DIV", "RESHAPE"], ["SCALE"]):
        start = index + len(ops)
        if [node.op for node in nodes[start : start + len(tail)]] == tail and nodes[start].sources[0] is nodes[start - 1]:
            ops += tail
    last = index + len(ops)
    chain = nodes[index:last]
    if [node.op for node in chain] != ops or last >= len(nodes) or len(nodes[index].sources) > 1:
        return 0
    inside = Counter(source for node in chain for source in node.sources)
    closed = all(inside[node] == uses[node] for position, node in enumerate(chain) if position not in (ids, len(chain) - 1))
    experts = chain[ids].strides[1] // chain[ids].strides[0]
    return len(ops) if closed and experts in _ROUTABLE else 0
