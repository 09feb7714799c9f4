"""Which device computes which node, and what has to be copied there (ggml_backend_sched_split_graph in ggml/src/ggml-backend.cpp).

https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-backend.cpp
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.expand import Graph
from runlocal.engines.ggml.graph.fusion import with_dependencies
from runlocal.engines.ggml.graph.tensors import flash_attention_bytes, spanned_bytes

OFFLOAD_TOKENS = 32  # GGML_OP_OFFLOAD_MIN_BATCH's default: from so many rows on, the GPU computes with weights that lie on the host
_VIEWS = frozenset(("VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"))
_NO_WEIGHT_RULE = ("ROPE", "FLASH_ATTN_EXT")  # their weights are too small to decide where they run


class Split(NamedTuple):
    """Neighbouring nodes of one device.

    copied: tensors of other devices that it needs, as first met
    """

    device: int
    nodes: list[Node]
    copied: list[Node]


class Order(NamedTuple):
    """What the allocator is given: nodes in order, and tensors that come before all of them."""

    nodes: list[Node]
    leaves: list[Node]


def schedule(graph: Graph, host: int, copies: int, *, fuses_routing: bool) -> Order:
    """Assigns devices, cuts the graph into splits, and adds the copies between them.

    host: index of the host, behind those of the GPUs
    copies: of every input, so that several steps can run at once (GGML_SCHED_MAX_COPIES with pipeline parallelism, else 1)
    fuses_routing: CUDA keeps the operands of the choice of experts alive (`with_dependencies`)
    """
    assign(graph, host)
    uses = Counter(source for node in graph.nodes for source in node.sources) if fuses_routing else None
    twins: dict[tuple[Node, int], list[Node]] = {}
    splits = list(_split(graph.nodes, host, copies, twins))
    for node in graph.nodes:
        if node.op == "FLASH_ATTN_EXT":  # the host's kernel needs no copies of K and V
            node.size_bytes = spanned_bytes(node) if node.device == host else flash_attention_bytes(node)
    nodes: list[Node] = []
    for split in splits:
        for original in split.copied:
            waiting = Node(NONE, original.type, original.shape, original.strides, [original], 0, original.root or original)
            nodes += (waiting, twins[original, split.device][0])
        nodes += split.nodes if split.device == host else with_dependencies(split.nodes, uses)
    leaves: list[Node] = []
    if copies > 1:
        for leaf in graph.leaves:
            if leaf.is_input:
                leaves += (leaf, *(_copy(leaf, host, lasting=True, padded=False) for _ in range(copies - 1)))
                leaf.is_output = True
        for split in splits:
            for original in split.copied:
                leaves += twins[original, split.device]
    leaves += graph.leaves
    return Order(nodes=nodes, leaves=leaves)


def assign(graph: Graph, host: int) -> None:
    """Passes 1 to 4. Every operation that is built here runs on every device."""
    for leaf in graph.leaves:
        if leaf.is_input:
            leaf.device = host
    for node in graph.nodes:
        if node.device is None:
            node.device = _by_weights(node, host)
    computed = [node for node in graph.nodes if node.op not in _VIEWS]
    for order, skips_host in ((computed, True), (computed[::-1], True), (computed, False), (computed[::-1], False)):
        current: int | None = None
        for node in order:
            if node.device is not None:
                current = None if skips_host and node.device == host else node.device
            elif current is not None:
                node.device = current
    for node in graph.nodes:
        if node.device is None:
            node.device = node.root.device if node.root is not None else host
        for source in node.sources:
            if source.device is None:
                source.device = source.root.device if source.root is not None else node.device


def _by_weights(node: Node, host: int) -> int | None:
    """ggml_backend_sched_backend_id_from_cur: where a node's memory or its weights decide."""
    root = node.root
    if root is not None and root.stored:
        return root.device
    for source in node.sources:
        if source.weight and node.op not in _NO_WEIGHT_RULE:
            if source.device == host and host > 0 and _rows(node) >= OFFLOAD_TOKENS:
                return 0
            return source.device
    return None


def _rows(node: Node) -> int:
    """get_op_batch_size of ggml-cuda.cu."""
    match node.op:
        case "GET_ROWS":
            return 0
        case "MUL_MAT":
            return node.shape[1]
        case "MUL_MAT_ID" | "ROPE" | "ROPE_BACK":
            return node.shape[2]
        case _:
            return node.shape[1] * node.shape[2] * node.shape[3]


def _split(nodes: Sequence[Node], host: int, copies: int, twins: dict[tuple[Node, int], list[Node]]) -> Iterator[Split]:
    """Pass 5. `twins`: filled with the copies of each tensor per device."""
    first = next(node for node in nodes if node.op not in _VIEWS)
    split = Split(device=_device(first), nodes=[], copied=[])
    for node in nodes:
        if node.op in _VIEWS:
            split.nodes.append(node)
            continue
        device = _device(node)
        # A weight from elsewhere starts a new split, so that the memory of the last one can be used again.
        if device != split.device or (split.copied and any(source.weight and source.device != device for source in node.sources)):
            yield split
            split = Split(device=device, nodes=[], copied=[])
        for position, source in enumerate(node.sources):
            if _device(source) == device:
                continue
            key = (source, device)
            if key not in twins:
                twins[key] = [_copy(source, device, lasting=copies > 1, padded=device != host) for _ in range(copies)]
                split.copied.append(source)
            node.sources[position] = twins[key][0]
        split.nodes.append(node)
    yield split


def _device(node: Node) -> int:
    if node.device is None:
        raise ValueError(f"{node.op} was not assigned to a device")
    return node.device


def _copy(node: Node, device: int, *, lasting: bool, padded: bool) -> Node:
    """ggml_dup_tensor_layout. Copies for several steps are kept apart throughout."""
    twin = Node(NONE, node.type, node.shape, node.strides, [], node.size_bytes or spanned_bytes(node, padded=padded))
    twin.device = device
    twin.is_input = twin.is_output = lasting
    return twin
