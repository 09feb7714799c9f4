"""Attention to chosen blocks of tokens (src/models/minimax-m3.cpp, src/llama-kv-cache-msa.cpp).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/minimax-m3.cpp
"""

from collections.abc import Sequence

from runlocal.architectures.blocks.sparse import BlockSparseAttention
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.attention import attend, hadamard, rope, store_keys
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.inputs import CacheInputs
from runlocal.engines.ggml.graph.tensors import (
    F16,
    F32,
    I32,
    I64,
    concat,
    cont,
    flash_attention,
    get_rows,
    given,
    in_place,
    is_contiguous,
    like,
    look,
    mul_mat,
    new,
    repeat,
    reshape,
    set_rows,
    top_k,
    transpose,
    view,
)


class BlockInputs(NamedTuple):
    """What all layers that choose blocks read beside their caches (llm_graph_input_msa).

    rows: cells that new keys of the indexer go to
    bias: the blocks that are chosen in any case, by token
    visible: who sees which position
    cells: the cell of each position, by stream
    blocks: the block of each cell, by stream; in a step of one token per sequence the cell of each position once more, as a value
    mask: who sees which cell, in F32
    """

    rows: Node
    bias: Node
    visible: Node
    cells: Node
    blocks: Node
    mask: Node


def attend_blocks(c: Context, block: BlockSparseAttention, x: Node, layer: int) -> Node:
    """The attention half of a layer. Without flash attention, or with one cache for several sequences, it looks at every token."""
    settings, whole = c.settings, block.attention
    if not settings.flash_attention or settings.streams < settings.sequences:
        return attend(c, whole, x, layer)
    graph, tokens, d = c.graph, c.tokens, whole.hidden_size
    cache_inputs, inputs = c.cache_inputs(whole), _inputs(c, block)
    q, k, v = (
        reshape(mul_mat(c.weight(f"attn_{part}", layer, d, heads * dim), x), dim, heads, tokens)
        for part, heads, dim in (("q", whole.heads, whole.head_dim), ("k", whole.kv_heads, whole.head_dim), ("v", whole.kv_heads, whole.value_dim))
    )
    q, k = (rope(c, c.norm(part, f"attn_{name}_norm", layer), layer) for part, name in ((q, "q"), (k, "k")))
    queries, key = (
        rope(c, c.norm(_indexed(c, block, x, layer, name, heads), f"indexer.{name}_norm", layer), layer) for name, heads in (("q", block.heads), ("k", 1))
    )
    index = c.cache(settings.type_k, layer, block.head_dim, settings.cells, settings.streams)
    graph.expand(store_keys(c, index, key, inputs.rows))
    if cache_inputs.k_rotation:
        q, k = hadamard(q, cache_inputs.k_rotation), hadamard(k, cache_inputs.k_rotation)
    if cache_inputs.v_rotation:
        v = hadamard(v, cache_inputs.v_rotation)
    for node in (q, k, v):
        graph.expand(node)
    k_cache = c.cache(settings.type_k, layer, whole.key_width, settings.cells, settings.streams)
    v_cache = c.cache(settings.type_v, layer, whole.value_width, settings.cells, settings.streams)
    graph.expand(store_keys(c, k_cache, k, cache_inputs.k_rows))
    graph.expand(store_keys(c, v_cache, v, cache_inputs.v_rows))
    if _is_step(c):
        out = _gathered(c, block, inputs, (queries, index), (q, k_cache, v_cache))
    else:
        outs = [_one_stream(block, inputs, cache_inputs, (queries, index), (q, k_cache, v_cache), stream) for stream in range(settings.streams)]
        out = outs[0]
        for other in outs[1:]:
            out = concat(out, other, 1)
    if cache_inputs.v_rotation:
        out = hadamard(out, cache_inputs.v_rotation)
    return mul_mat(c.weight("attn_output", layer, whole.output_width, d), out)


def _inputs(c: Context, block: BlockSparseAttention) -> BlockInputs:
    """Made by the first layer that asks for them."""
    if not c.shared:
        settings, tokens, streams = c.settings, c.tokens, c.settings.streams
        positions = pad(settings.positions, block.block_tokens)
        mask = c.cache_inputs(block.attention).mask
        # A step of one token per sequence gathers what it chose; others mask what they did not.
        step = _is_step(c)
        made = BlockInputs(
            rows=given(I64, tokens),
            bias=given(F32, positions // block.block_tokens, tokens),
            visible=given(F32, positions, tokens),
            cells=given(I32, positions, streams),
            blocks=given(F32, positions, streams) if step else given(I32, settings.cells, streams),
            mask=mask if step else new("CPY", F32, mask.shape, mask),
        )
        c.shared.update(made._asdict())
    return BlockInputs(**c.shared)


def _indexed(c: Context, block: BlockSparseAttention, x: Node, layer: int, name: str, heads: int) -> Node:
    """Queries or keys of the indexer."""
    weight = c.weight(f"indexer.{name}_proj", layer, block.attention.hidden_size, heads * block.head_dim)
    return reshape(mul_mat(weight, x), block.head_dim, heads, c.tokens)


def _is_step(c: Context) -> bool:
    """Whether each sequence has one token."""
    return c.tokens == c.settings.streams


def _gathered(c: Context, block: BlockSparseAttention, inputs: BlockInputs, indexer: tuple[Node, Node], attention: Sequence[Node]) -> Node:
    """All sequences at once, each with one token: the keys and values of the chosen blocks are gathered."""
    (queries, index), (q, k_cache, v_cache), whole, streams = indexer, attention, block.attention, c.settings.streams
    heads, dim, cells, span = block.heads, block.head_dim, index.shape[1], block.block_tokens
    blocks, positions = inputs.bias.shape[0], inputs.visible.shape[0]
    keys = get_rows(view(index, (dim, cells, streams), index.strides[1:3]), inputs.cells)
    scores = mul_mat(reshape(keys, dim, positions, 1, streams), reshape(queries, dim, heads, 1, streams))
    scores = in_place(like("ADD", scores, reshape(inputs.visible, positions, 1, 1, streams)))
    best = new("POOL_2D", F32, (blocks, heads, 1, streams), scores)
    count = min(block.top_k, blocks)
    chosen = top_k(like("ADD", best, reshape(inputs.bias, blocks, 1, 1, streams)), count)

    first = reshape(like("SCALE", new("CPY", F32, chosen.shape, chosen)), 1, count, heads, streams)
    places = like("ADD", repeat(first, span, count, heads, streams), reshape(new("ARANGE", F32, (span, 1, 1, 1)), span, 1, 1))
    flat = reshape(places, span * count * heads, streams)
    places = new("CPY", I32, flat.shape, flat)
    of_places = reshape(get_rows(reshape(inputs.blocks, 1, positions, streams), places), span, count, heads, streams)
    rows = like("ADD", like("SCALE", of_places), reshape(new("ARANGE", F32, (whole.kv_heads, 1, 1, 1)), 1, 1, heads))
    flat = reshape(rows, span * count * heads, streams)
    rows = new("CPY", I32, flat.shape, flat)

    found = []
    for cache, width in ((k_cache, whole.head_dim), (v_cache, whole.value_dim)):
        by_head = view(cache, (width, whole.kv_heads * cells, streams), (cache.strides[1] // whole.kv_heads, cache.strides[2]))
        found.append((cache.type if cache.type.block_elements == 1 else F16, width, get_rows(by_head, rows)))
    seen = get_rows(reshape(inputs.visible, 1, positions, streams), places)
    k, v = (_as_type(reshape(values, width, span * count, 1, heads * streams), type) for type, width, values in found)
    mask = _as_type(reshape(seen, span * count, 1, 1, heads * streams), F16)
    return _attended(block, q, k, v, mask)


def _as_type(a: Node, type: StorageType) -> Node:
    return a if a.type is type else new("CPY", type, a.shape, a)


def _attended(block: BlockSparseAttention, q: Node, k: Node, v: Node, mask: Node) -> Node:
    """Flash attention once for all groups of heads."""
    whole, tokens, groups = block.attention, q.shape[2], k.shape[3]
    per_head = whole.heads // whole.kv_heads
    q = _permuted(reshape(q, whole.head_dim, per_head, groups, whole.heads * tokens // (per_head * groups)), (0, 2, 3, 1))
    out = _permuted(flash_attention(q, k, v, mask, None), (0, 1, 3, 2))
    return reshape(out if is_contiguous(out) else cont(out), whole.output_width, tokens)


def _one_stream(
    block: BlockSparseAttention, inputs: BlockInputs, cache_inputs: CacheInputs, indexer: tuple[Node, Node], attention: Sequence[Node], stream: int
) -> Node:
    """One sequence's tokens. indexer: queries and cache; attention: queries, caches of keys and values."""
    (queries, index), (q, k_cache, v_cache), whole = indexer, attention, block.attention
    heads, dim, cells, streams = block.heads, block.head_dim, cache_inputs.cells, cache_inputs.mask.shape[3]
    tokens, (blocks, positions) = q.shape[2] // streams, (inputs.bias.shape[0], inputs.visible.shape[0])
    first = stream * tokens
    queries = view(queries, (dim, heads, tokens), queries.strides[1:3], first * queries.strides[2])
    keys = view(index, (dim, cells), (index.strides[1],), stream * index.strides[2])
    places = view(inputs.cells, (positions,), (), stream * inputs.cells.strides[1])
    row = inputs.visible.strides[1]
    visible = view(inputs.visible, (positions, 1, tokens), (row, row), first * row)
    of_cells = view(inputs.blocks, (cells,), (), stream * inputs.blocks.strides[1])
    mask = view(inputs.mask, (cells, tokens, 1), (inputs.mask.strides[1], inputs.mask.strides[3]), stream * inputs.mask.strides[3])
    row = inputs.bias.strides[1]
    bias = view(inputs.bias, (blocks, 1, tokens), (row, row), first * row)
    q = view(q, (whole.head_dim, whole.heads, tokens), q.strides[1:3], first * q.strides[2])
    k, v = (_of_stream(cache, whole.kv_heads, stream) for cache in (k_cache, v_cache))

    # A block is as good as the best of its positions.
    scores = mul_mat(get_rows(keys, places), reshape(queries, dim, heads * tokens))
    scores = in_place(like("ADD", reshape(scores, positions, heads, tokens), visible))
    best = new("POOL_2D", F32, (blocks, heads, tokens, 1), scores)
    count = min(block.top_k, blocks)
    chosen = top_k(like("ADD", best, bias), count)

    hidden = repeat(new("CPY", F16, (blocks, 1, tokens, 1), like("SCALE", bias)), blocks, heads, tokens)
    zeros = like("SCALE", new("CPY", F32, chosen.shape, chosen))
    shown = set_rows(reshape(hidden, 1, blocks, heads * tokens), reshape(zeros, 1, count, heads * tokens), reshape(chosen, count, heads * tokens))
    shown = cont(_permuted(reshape(shown, blocks, heads, tokens), (0, 2, 1, 3)))
    by_block = cont(transpose(reshape(shown, blocks, tokens * heads)))
    by_cell = cont(transpose(get_rows(by_block, of_cells)))
    both = in_place(like("ADD", reshape(by_cell, cells, tokens, heads), mask))
    both = new("CPY", F16, (cells, tokens, 1, heads), reshape(both, cells, tokens, 1, heads))

    return _attended(block, q, _permuted(k, (0, 3, 1, 2)), _permuted(v, (0, 3, 1, 2)), both)


def _of_stream(cache: Node, heads: int, stream: int) -> Node:
    """One stream's part of a cache, as what `get_k` and `get_v` return: head by head."""
    row, plane = cache.strides[1:3]
    return view(cache, (cache.shape[0] // heads, heads, cache.shape[1], 1), (row // heads, row, plane), stream * plane)


def _permuted(a: Node, axes: tuple[int, int, int, int]) -> Node:
    """ggml_permute: axis i of `a` becomes axis axes[i]."""
    order = sorted(range(len(axes)), key=axes.__getitem__)
    shape, strides = ([values[axis] for axis in order] for values in (a.shape, a.strides))
    return look("PERMUTE", a, (shape[0], shape[1], shape[2], shape[3]), (strides[0], strides[1], strides[2], strides[3]))
