"""The operations of ggml that language models are built from, as shapes (ggml/src/ggml.c).

https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml.c
"""

from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.engines.ggml.allocator import NONE, Four, Node

F32 = StorageType(name="F32", block_elements=1, block_bytes=4)
F16 = StorageType(name="F16", block_elements=1, block_bytes=2)
I32 = StorageType(name="I32", block_elements=1, block_bytes=4)
I64 = StorageType(name="I64", block_elements=1, block_bytes=8)
_ROW_PADDING = 512  # MATRIX_ROW_PADDING
_SCRATCH_ALIGNMENT = 128  # ggml_cuda_flash_attn_ext_get_f16_extra_data


def strides_of(type: StorageType, shape: Four) -> Four:
    """nb of a contiguous tensor."""
    row = type.block_bytes * (shape[0] // type.block_elements)
    plane = row * shape[1]
    return type.block_bytes, row, plane, plane * shape[2]


def is_contiguous(node: Node) -> bool:
    """ggml_is_contiguous: strides of dimensions of length one do not count."""
    expected = strides_of(node.type, node.shape)
    return all(length == 1 or have == want for length, have, want in zip(node.shape, node.strides, expected, strict=True))


def spanned_bytes(node: Node, *, padded: bool = True) -> int:
    """Bytes from the first to the last value of a view (ggml_nbytes), with CUDA's padding of quantized rows."""
    (n0, *shape), (b0, *strides) = node.shape, node.strides
    size = n0 // node.type.block_elements * b0 if node.type.block_elements > 1 else node.type.block_bytes + (n0 - 1) * b0
    size += sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if padded and node.type.block_elements > 1 and n0 % _ROW_PADDING:
        size += node.type.row_bytes(_ROW_PADDING - n0 % _ROW_PADDING)
    return size


def new(op: str, type: StorageType, shape: Four, *sources: Node) -> Node:
    """A contiguous tensor."""
    columns, rows, planes, blocks = shape
    row = type.block_bytes * (columns // type.block_elements)
    plane = row * rows
    block = plane * planes
    return Node(op, type, shape, (type.block_bytes, row, plane, block), [*sources], block * blocks)


def like(op: str, *sources: Node) -> Node:
    """A contiguous tensor of the type and shape of its first operand (ggml_dup_tensor)."""
    first = sources[0]
    if first.root is not None:
        return new(op, first.type, first.shape, *sources)
    # What is no view is contiguous, so its strides are those of the new one.
    return Node(op, first.type, first.shape, first.strides, list(sources), first.strides[3] * first.shape[3])


def look(op: str, of: Node, shape: Four, strides: Four, offset: int = 0) -> Node:
    """A view: ggml always refers it to the tensor that owns the memory."""
    return Node(op, of.type, shape, strides, [of], 0, of.root or of, of.view_offset + offset)


def in_place(a: Node) -> Node:
    """The result lies where its first operand does, and has its strides (the `_inplace` variants)."""
    first = a.sources[0]
    return Node(a.op, a.type, a.shape, first.strides, a.sources, 0, first.root or first, first.view_offset)


def given(type: StorageType, *shape: int) -> Node:
    """An input of the graph."""
    node = new(NONE, type, four(*shape))
    node.is_input = True
    return node


def four(a: int, b: int = 1, c: int = 1, d: int = 1) -> Four:
    return a, b, c, d


def reshape(a: Node, *shape: int) -> Node:
    new_shape = four(*shape)
    return look("RESHAPE", a, new_shape, strides_of(a.type, new_shape))


def view(a: Node, shape: tuple[int, ...], strides: tuple[int, ...] = (), offset: int = 0) -> Node:
    """ggml_view_2d to ggml_view_4d. `strides`: nb[1] and on; missing ones are those of contiguous planes."""
    new_shape = four(*shape)
    nb = [a.strides[0], *strides]
    while len(nb) < len(new_shape):
        nb.append(nb[-1] * new_shape[len(nb) - 1])
    return look("VIEW", a, new_shape, (nb[0], nb[1], nb[2], nb[3]), offset)


def permute(a: Node) -> Node:
    """ggml_permute(a, 0, 2, 1, 3): the only one that is used here."""
    (s0, s1, s2, s3), (n0, n1, n2, n3) = a.shape, a.strides
    return look("PERMUTE", a, (s0, s2, s1, s3), (n0, n2, n1, n3))


def rotate_axes(a: Node) -> Node:
    """ggml_permute(a, 1, 2, 0, 3)."""
    (s0, s1, s2, s3), (n0, n1, n2, n3) = a.shape, a.strides
    return look("PERMUTE", a, (s2, s0, s1, s3), (n2, n0, n1, n3))


def transpose(a: Node) -> Node:
    (s0, s1, s2, s3), (n0, n1, n2, n3) = a.shape, a.strides
    return look("TRANSPOSE", a, (s1, s0, s2, s3), (n1, n0, n2, n3))


def cont(a: Node, *shape: int) -> Node:
    """ggml_cont, or ggml_cont_2d where a shape is given."""
    return new("CONT", a.type, four(*shape) if shape else a.shape, a)


def mul_mat(a: Node, b: Node) -> Node:
    return new("MUL_MAT", F32, (a.shape[1], b.shape[1], b.shape[2], b.shape[3]), a, b)


def mul_mat_id(experts: Node, b: Node, ids: Node) -> Node:
    return new("MUL_MAT_ID", F32, (experts.shape[1], ids.shape[0], b.shape[2], 1), experts, b, ids)


def get_rows(a: Node, rows: Node) -> Node:
    return new("GET_ROWS", a.type if a.type is I32 else F32, (a.shape[0], rows.shape[0], rows.shape[1], rows.shape[2]), a, rows)


def set_rows(a: Node, values: Node, rows: Node) -> Node:
    node = look("SET_ROWS", a, a.shape, a.strides)
    node.sources = [values, rows, a]
    return node


def copy(a: Node, into: Node) -> Node:
    """ggml_cpy: the result is a view of where it goes."""
    node = look("CPY", into, into.shape, into.strides)
    node.sources = [a, into]
    return node


def pad_rows(a: Node, columns: int) -> Node:
    """ggml_pad along the first dimension."""
    return new("PAD", a.type, (columns, *a.shape[1:]), a)


def concat(a: Node, b: Node, dimension: int = 0) -> Node:
    """ggml_concat."""
    shape = list(a.shape)
    shape[dimension] += b.shape[dimension]
    return new("CONCAT", a.type, four(*shape), a, b)


def stack(a: Node, b: Node) -> Node:
    """ggml_concat along the third dimension."""
    return new("CONCAT", a.type, (*a.shape[:2], a.shape[2] + b.shape[2], a.shape[3]), a, b)


def repeat(a: Node, *shape: int) -> Node:
    return new("REPEAT", a.type, four(*shape), a)


def glu(gate: Node, up: Node | None = None) -> Node:
    """ggml_swiglu and its kin: of a gate and an up, or of both in one tensor."""
    if up is not None:
        return like("GLU", gate, up)
    return new("GLU", gate.type, (gate.shape[0] // 2, *gate.shape[1:]), gate)


def sum_rows(a: Node) -> Node:
    return new("SUM_ROWS", a.type, (1, *a.shape[1:]), a)


def argsort_top_k(a: Node, count: int) -> Node:
    """All ids sorted, and a view of the first `count`."""
    order = new("ARGSORT", I32, a.shape, a)
    return look("VIEW", order, (count, *a.shape[1:]), order.strides)


def top_k(a: Node, count: int) -> Node:
    """ggml_top_k: the ids of the largest, in no order."""
    return new("TOP_K", I32, (count, *a.shape[1:]), a)


def lightning_indexer(q: Node, k: Node, weights: Node, mask: Node) -> Node:
    """ggml_lightning_indexer: a score for every key and query."""
    return new("LIGHTNING_INDEXER", F32, (k.shape[2], q.shape[2], 1, q.shape[3]), q, k, weights, mask)


def flash_attention(q: Node, k: Node, v: Node, mask: Node, sinks: Node | None) -> Node:
    """ggml_flash_attn_ext, with the scratch of its kernel on a GPU."""
    shape = (v.shape[0], q.shape[2], q.shape[1], q.shape[3])
    node = new("FLASH_ATTN_EXT", F32, shape, q, k, v, mask, *([sinks] if sinks else []))
    node.size_bytes = flash_attention_bytes(node)
    return node


def flash_attention_bytes(node: Node) -> int:
    """The result and the scratch behind it (ggml_cuda_flash_attn_ext_get_alloc_size).

    The kernels for more than two tokens read F16: K and V of another type are converted to it. A V that is a view of K (latent attention)
    shares its copy, unless both were copied here from another device, each by itself.
    """
    size, (_, k, v) = spanned_bytes(node), node.sources[:3]
    for operand in (k, v):
        if operand.type.name != F16.name and not (operand is v and v.root is not None and v.root is k.root and v.view_offset == k.view_offset):
            elements = operand.shape[0] * operand.shape[1] * operand.shape[2] * operand.shape[3]
            size = pad(size, _SCRATCH_ALIGNMENT) + elements * F16.block_bytes
    return size
