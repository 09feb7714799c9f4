"""ggml's graph allocator: where each tensor of a graph lies in the compute buffers, and how large they so become.

The rules are those of ggml_gallocr_alloc_graph_impl and ggml_dyn_tallocr in llama.cpp's ggml/src/ggml-alloc.c: best fit among the free
blocks, a result over its operand where the operation can work in place, memory given back after the last reader.
https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-alloc.c
"""

from collections.abc import Iterable, Sequence

from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad

Four = tuple[int, int, int, int]

# ggml_op_can_inplace; the unary operations (ggml names them together) stand here by their own names.
_UNARY = ("SILU", "GELU", "RELU", "TANH", "SIGMOID", "SOFTPLUS", "XIELU", "EXP", "NEG", "ABS", "SGN")
_ROTATIONS = ("ROPE", "ROPE_BACK")
_IN_PLACE = frozenset(("ADD", "ADD_ID", "ADD1", "SUB", "MUL", "DIV", "SQR", "SQRT", "SCALE", "CLAMP", "FILL", "RMS_NORM", "SOFT_MAX", *_ROTATIONS, *_UNARY))
NONE = "NONE"  # the operation of a tensor that nothing computes
_ENDLESS = 1 << 62
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


class Blocks:
    """The free blocks of one buffer that grows as needed (ggml_dyn_tallocr with one chunk).

    alignment: bytes that every size is rounded up to
    peak_bytes: the highest address ever given out
    """

    __slots__ = ("_offsets", "_sizes", "alignment", "peak_bytes")

    def __init__(self, alignment: int) -> None:
        self.alignment = alignment
        self.peak_bytes = 0
        self._offsets = [0]
        self._sizes = [_ENDLESS]

    def state(self) -> tuple[int, ...]:
        """The free blocks, as something to compare."""
        return (*self._offsets, *self._sizes)

    def take(self, size_bytes: int) -> int:
        """The offset of a new region: in the smallest free block that holds it, the last of equals; else at the end."""
        size = -(-size_bytes // self.alignment) * self.alignment
        offsets, sizes = self._offsets, self._sizes
        best = len(sizes) - 1
        best_size = _ENDLESS
        for index in range(best):
            if size <= sizes[index] <= best_size:
                best, best_size = index, sizes[index]
        offset = offsets[best]
        if sizes[best] == size:
            del offsets[best], sizes[best]
        else:
            offsets[best] += size
            sizes[best] -= size
        if offset + size > self.peak_bytes:
            self.peak_bytes = offset + size
        return offset

    def give_back(self, offset: int, size_bytes: int) -> None:
        """Frees a region and joins it to a free neighbour.

        Nothing at all is given back as a block too, and can keep its neighbours apart. Such a block stays where it is in the list while the
        one before it shrinks from below, so the list is not always in order, and any block of it can be the neighbour.
        """
        size = -(-size_bytes // self.alignment) * self.alignment
        offsets, sizes = self._offsets, self._sizes
        for place, start in enumerate(offsets):
            if start + sizes[place] == offset:
                sizes[place] += size
                if place + 1 < len(offsets) and offsets[place + 1] == offset + size:
                    sizes[place] += sizes[place + 1]
                    del offsets[place + 1], sizes[place + 1]
                return
            if start == offset + size:
                offsets[place] = offset
                sizes[place] += size
                if place and offsets[place - 1] + sizes[place - 1] == offset:
                    sizes[place - 1] += sizes[place]
                    del offsets[place], sizes[place]
                return
        place = next((place for place, start in enumerate(offsets) if start >= offset), len(offsets))
        offsets.insert(place, offset)
        sizes.insert(place, size)


class Repeat(NamedTuple):
    """A stretch of nodes that stands for more: it is laid out `times` times more right behind itself.

    start, end: the nodes order[start:end]; the stretch before must be like it, so that it begins as it ends
    """

    start: int
    end: int
    times: int


class _Event(NamedTuple):
    """Memory taken or given back. What happens when follows from the graph alone, not from addresses.

    region: number of the region, in the order of taking
    taken: or else given back
    skipped_bytes: how far into the region what is given back starts
    """

    region: int
    buffer: int
    size_bytes: int
    taken: bool
    skipped_bytes: int = 0


def reserve(
    nodes: Sequence[Node], leaves: Iterable[Node], alignments: Sequence[int], repeats: Sequence[Repeat] = (), rounds: list[tuple[int, int]] | None = None
) -> tuple[int, ...]:
    """Bytes of every buffer after `nodes` were laid out in this order; `leaves` come first and stay (ggml_gallocr_reserve).

    alignments: of each buffer, in bytes; `Node.device` is an index into them
    repeats: stretches that stand for more of their kind, in order
    rounds: filled with (from how many times on, length) of the rounds in which addresses recur in each repeat; (0, 0) where they did not
    Works once per graph: the nodes keep their state.
    """
    lifetimes = _Lifetimes(nodes, leaves, alignments)
    buffers = [Blocks(alignment) for alignment in alignments]
    offsets: dict[int, int] = {}
    # (own, shift): regions numbered from `own` on are meant `shift` further; the last pair that applies counts.
    shifts = [(0, 0)]
    done = 0
    for repeat in repeats:
        start, end = lifetimes.position[repeat.start], lifetimes.position[repeat.end]
        _replay(lifetimes.events[done:end], buffers, offsets, shifts)
        first = lifetimes.regions_before[repeat.start]
        count = lifetimes.regions_before[repeat.end] - first
        stretch = lifetimes.events[start:end]
        given_back = {event.region for event in stretch if not event.taken}
        carried = [event.region for event in stretch if event.taken and event.region not in given_back]
        shift = shifts[-1][1]
        seen: dict[object, int] = {}
        turn, times, recurring = 0, repeat.times, (0, 0)
        while turn < times:
            turn += 1
            # What the stretch takes over from the one before it moves along with it.
            _replay(stretch, buffers, offsets, [*shifts, (first - count, shift + turn * count)])
            state = (*(offsets[region + shift + turn * count] for region in carried), *(blocks.state() for blocks in buffers))
            if state in seen:
                # From here on addresses recur; whole rounds can be left out.
                recurring = (turn, turn - seen[state])
                times = turn + (times - turn) % recurring[1]
                seen.clear()
            else:
                seen[state] = turn
        if rounds is not None:
            rounds.append(recurring)
        shifts.append((first, shift + times * count))
        done = end
    _replay(lifetimes.events[done:], buffers, offsets, shifts)
    return tuple(blocks.peak_bytes for blocks in buffers)


def _replay(events: Iterable[_Event], buffers: Sequence[Blocks], offsets: dict[int, int], shifts: Sequence[tuple[int, int]]) -> None:
    """Takes and gives back, with every region renumbered by `shifts`."""
    (own, latest), earlier = shifts[-1], shifts[-2::-1]
    for region, buffer, size, taken, skipped in events:
        number = region + (latest if region >= own else next((shift for start, shift in earlier if region >= start), 0))
        if taken:
            offsets[number] = buffers[buffer].take(size)
        else:
            buffers[buffer].give_back(offsets[number] + skipped, size)


class _Lifetimes:
    """When the tensors of a graph come and go (ggml_gallocr_alloc_graph_impl).

    events: in order
    position: before each node, and behind the last one, the number of events so far
    regions_before: likewise, the number of regions taken so far
    """

    def __init__(self, nodes: Sequence[Node], leaves: Iterable[Node], alignments: Sequence[int]) -> None:
        self.events: list[_Event] = []
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
        self.events.append(_Event(node.region, node.buffer, node.size_bytes, taken=True))

    def _take_over(self, node: Node, parent: Node) -> None:
        """The result lies where its operand lay; what the operand had more goes back (ggml_gallocr_free_extra_space)."""
        node.buffer, node.region = parent.buffer, parent.region
        parent.allocated = False
        alignment = self._alignments[parent.buffer]
        old, new = pad(parent.size_bytes, alignment), pad(node.size_bytes, alignment)
        if old > new:
            self.events.append(_Event(node.region, node.buffer, old - new, taken=False, skipped_bytes=new))

    def _free(self, node: Node) -> None:
        if node.allocated and not node.is_output:
            self.events.append(_Event(node.region, node.buffer, node.size_bytes, taken=False))
            node.allocated = False
