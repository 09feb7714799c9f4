"""ggml's graph allocator: when the tensors of a graph come and go, and how large the compute buffers so become.

The rules are those of ggml_gallocr_alloc_graph_impl in llama.cpp's ggml/src/ggml-alloc.c: a result over its operand where the operation can
work in place, memory given back after the last reader. Where in the buffers they lie is in `places`.
https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-alloc.c
"""

from collections.abc import Iterable, Sequence

from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.engines.ggml.places import Event, Stretch, Timeline, fill

Four = tuple[int, int, int, int]

# ggml_op_can_inplace; the unary operations (ggml names them together) stand here by their own names.
_UNARY = ("SILU", "GELU", "RELU", "TANH", "SIGMOID", "SOFTPLUS", "XIELU", "EXP", "NEG", "ABS", "SGN")
_ROTATIONS = ("ROPE", "ROPE_BACK")
_IN_PLACE = frozenset(("ADD", "ADD_ID", "ADD1", "SUB", "MUL", "DIV", "SQR", "SQRT", "SCALE", "CLAMP", "FILL", "RMS_NORM", "SOFT_MAX", *_ROTATIONS, *_UNARY))
NONE = "NONE"  # the operation of a tensor that nothing computes
_FLAGS = ("stored", "weight", "is_input", "is_output")
_STATE = ("readers", "views", "allocated", "buffer", "region")


class Node:
    """A tensor of a graph (ggml_tensor).

    op: the operation that computes it, NONE where none does
    type: storage type
    shape, strides: ne (values) and nb (bytes) of the four dimensions
    sources: operands, in ggml's order
    root: the tensor whose memory it looks into, if it is a view
    view_offset: where in the root it starts, bytes
    size_bytes: what it takes in a buffer, before alignment; 0 for views
    device: index of the buffer it lies in; None until the scheduler has decided
    stored: it has memory of its own already: a weight or a cache
    weight: that memory is a weight's
    is_input, is_output: flags of inputs and of results that outlive the graph

    The remaining fields are the allocator's working state.
    """

    __slots__ = ("op", "type", "shape", "strides", "sources", "root", "view_offset", "size_bytes", "device", *_FLAGS, *_STATE)

    def __init__(
        self,
        op: str,
        type: StorageType,
        shape: Four,
        strides: Four,
        sources: list["Node"],
        size_bytes: int,
        root: "Node | None" = None,
        view_offset: int = 0,
    ) -> None:
        self.op = op
        self.type = type
        self.shape = shape
        self.strides = strides
        self.sources = sources
        self.root = root
        self.view_offset = view_offset
        self.size_bytes = size_bytes
        self.device: int | None = None
        self.stored = False
        self.weight = False
        self.is_input = False
        self.is_output = False
        self.readers = 0
        self.views = 0
        self.allocated = False
        self.buffer = 0
        self.region = 0


class Repeat(NamedTuple):
    """A stretch of nodes that stands for more: it is laid out `times` times more right behind itself.

    start, end: the nodes order[start:end]; the stretch before must be like it, so that it begins as it ends
    """

    start: int
    end: int
    times: int


def timeline(nodes: Sequence[Node], leaves: Iterable[Node], alignments: Sequence[int], repeats: Sequence[Repeat] = ()) -> Timeline:
    """When the tensors of `nodes` come and go in this order; `leaves` come first and stay.

    alignments: of each buffer, in bytes; `Node.device` is an index into them
    repeats: stretches that stand for more of their kind, in order
    Works once per graph: the nodes keep their state.
    """
    lives = _Lifetimes(nodes, leaves, alignments)
    position, regions = lives.position, lives.regions_before
    stretches = tuple(
        Stretch(position[start], position[end], first=regions[start], regions=regions[end] - regions[start], times=times) for start, end, times in repeats
    )
    return Timeline(lives.events, stretches, tuple(alignments))


def reserve(nodes: Sequence[Node], leaves: Iterable[Node], alignments: Sequence[int], repeats: Sequence[Repeat] = ()) -> tuple[int, ...]:
    """Bytes of every buffer after `nodes` were laid out in this order. Arguments as of `timeline`."""
    return fill(timeline(nodes, leaves, alignments, repeats))


class _Lifetimes:
    """When the tensors of a graph come and go (ggml_gallocr_alloc_graph_impl).

    events: in order
    position: before each node, and behind the last one, the number of events so far
    regions_before: likewise, the number of regions taken so far
    """

    def __init__(self, nodes: Sequence[Node], leaves: Iterable[Node], alignments: Sequence[int]) -> None:
        self.events: list[Event] = []
        self.position: list[int] = []
        self.regions_before: list[int] = []
        self._alignments = alignments
        self._regions = 0
        for leaf in leaves:
            self._allocate(leaf)
        for node in nodes:
            if node.root is not None and node.op != NONE:
                node.root.views += 1
            if node.is_input:
                self._allocate(node)
            for source in node.sources:
                source.readers += 1
                if source.is_input:
                    self._allocate(source)
        for node in nodes:
            self.position.append(len(self.events))
            self.regions_before.append(self._regions)
            self._compute(node)
        self.position.append(len(self.events))
        self.regions_before.append(self._regions)

    def _compute(self, node: Node) -> None:
        for source in node.sources:
            if not source.allocated and source.root is None and not source.stored:
                self._allocate(source)
        if node.root is None:
            self._allocate(node)
        for source in node.sources:
            source.readers -= 1
            if source.readers or source.views:
                continue
            root = source.root
            if root is None:
                self._free(source)
            else:
                root.views -= 1
                if not root.views and not root.readers:
                    self._free(root)

    def _allocate(self, node: Node) -> None:
        """ggml_gallocr_allocate_node. A view as operand is never taken over: ggml does not count it as allocated."""
        if node.allocated or node.stored or node.root is not None:
            return
        node.allocated = True
        if node.op in _IN_PLACE:
            for parent in node.sources:
                if not parent.allocated or parent.is_output or parent.readers != 1 or parent.views:
                    continue
                if parent.type is node.type and parent.shape == node.shape and parent.strides == node.strides:
                    self._take_over(node, parent)
                    return
        if node.device is None:
            raise ValueError(f"{node.op} has no device")
        node.buffer, node.region = node.device, self._regions
        self._regions += 1
        self.events.append((node.region, node.buffer, True, node.size_bytes, 0))

    def _take_over(self, node: Node, parent: Node) -> None:
        """The result lies where its operand lay; what the operand had more goes back (ggml_gallocr_free_extra_space)."""
        node.buffer, node.region = parent.buffer, parent.region
        parent.allocated = False
        alignment = self._alignments[parent.buffer]
        old, new = pad(parent.size_bytes, alignment), pad(node.size_bytes, alignment)
        if old > new:
            self.events.append((node.region, node.buffer, False, old - new, new))

    def _free(self, node: Node) -> None:
        if node.allocated and not node.is_output:
            self.events.append((node.region, node.buffer, False, node.size_bytes, 0))
            node.allocated = False
