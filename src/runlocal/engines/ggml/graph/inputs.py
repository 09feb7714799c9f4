"""What attention reads beside queries, keys and values: masks, the cells that new ones go to, the matrices that caches are rotated by.

Inputs are made once and read by all layers of a kind; `Context` keeps them.
"""

from runlocal.core.noun import NamedTuple
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.tensors import F32, given

SMALLEST_ROTATION = 64  # llama_kv_cache::build_input_k_rot; also the only size for V


class CacheInputs(NamedTuple):
    """What attention to one kind of cache reads beside queries, keys and values (llm_graph_input_attn_kv).

    cells: cells per stream
    mask: who sees whom
    k_rows, v_rows: cells that new keys and values go to
    k_rotation, v_rotation: Hadamard matrices that quantized caches are rotated by
    """

    cells: int
    mask: Node
    k_rows: Node
    v_rows: Node
    k_rotation: Node | None
    v_rotation: Node | None


class IndexerInputs(NamedTuple):
    """What indexers read beside their cache (llm_graph_input_attn_k_dsa).

    mask: who sees whom
    rows: cells that new keys go to
    rotation: the Hadamard matrix that queries and keys are rotated by, whatever the cache's type
    """

    mask: Node
    rows: Node
    rotation: Node


class CompressorInputs(NamedTuple):
    """What compressing tokens into one cache reads (llm_graph_input_dsv4::comp_input), for the worst case of a step.

    positions: of every token within what is compressed together
    kept_from, kept_to: tokens that wait for more, and their rows of the state
    read: rows of state and step that are compressed
    write, write_positions: cells of the results, and their positions
    mask: who sees which cell
    rotation: Hadamard matrix of the cache, None where it has none
    cells: cells per stream
    """

    positions: Node
    kept_from: Node
    kept_to: Node
    read: Node
    write: Node
    write_positions: Node
    mask: Node
    rotation: Node | None
    cells: int


class WindowInputs(NamedTuple):
    """What attention within the window reads: cells of new keys, who sees whom, the Hadamard matrix of a quantized cache; cells per stream."""

    rows: Node
    mask: Node
    rotation: Node | None
    cells: int


class CompressedInputs(NamedTuple):
    """What attention to compressed tokens reads (llm_graph_input_dsv4).

    window: within the window
    compressors: by how many tokens become one, and whether it is the indexer's cache; made as layers ask for them
    """

    window: WindowInputs
    compressors: dict[tuple[int, bool], CompressorInputs]


def rotation(dim: int) -> Node:
    """The Hadamard matrix for keys of that width: the largest power of two, from the smallest on, that divides it."""
    size = SMALLEST_ROTATION
    while dim % (2 * size) == 0:
        size *= 2
    return given(F32, size, size)
