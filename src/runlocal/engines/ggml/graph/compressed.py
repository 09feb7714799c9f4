"""Attention to compressed tokens (src/models/deepseek4.cpp, src/llama-kv-cache-dsv4.cpp; build_inp_dsv4 in src/llama-graph.cpp).

https://github.com/ggml-org/llama.cpp/blob/master/src/models/deepseek4.cpp
"""

from runlocal.architectures.blocks.compressed import CompressedAttention
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.attention import attention, hadamard, rope, store_keys
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.indexer import unmasked
from runlocal.engines.ggml.graph.inputs import CompressedInputs, CompressorInputs, WindowInputs, rotation
from runlocal.engines.ggml.graph.tensors import (
    F16,
    F32,
    I32,
    I64,
    concat,
    cont,
    get_rows,
    given,
    lightning_indexer,
    like,
    mul_mat,
    permute,
    reshape,
    set_rows,
    sum_rows,
    top_k,
    transpose,
    view,
)


def _inputs(c: Context, block: CompressedAttention) -> CompressedInputs:
    """The window's mask comes before everything else."""
    if c.compressed_inputs is None:
        settings, streams = c.settings, c.settings.streams
        cells = settings.cells_of(next(iter(block.caches((0,)))))
        mask = given(F16 if settings.flash_attention else F32, cells, c.tokens // streams, 1, streams)
        c.compressed_inputs = CompressedInputs(WindowInputs(given(I64, c.tokens), mask, _rotation(c, block.head_dim), cells), {})
        c.graph.expand(mask)
    return c.compressed_inputs


def _compressor(c: Context, every: CompressedInputs, block: CompressedAttention, *, indexer: bool = False) -> CompressorInputs:
    """Of the cache of the compressed tokens themselves, or of the indexer's keys."""
    key = (block.ratio, indexer)
    if key not in every.compressors:
        every.compressors[key] = _compressor_inputs(c, block, indexer=indexer)
    return every.compressors[key]


def _rotation(c: Context, dim: int) -> Node | None:
    return rotation(dim) if c.settings.type_k.block_elements > 1 else None


def _compressor_inputs(c: Context, block: CompressedAttention, *, indexer: bool) -> CompressorInputs:
    settings, tokens, streams = c.settings, c.tokens, c.settings.streams
    results = tokens // block.ratio + settings.sequences
    kept = min(tokens, block.state_rows * streams)
    cells = settings.cells_of(block.indexer_cache((0,)) if indexer else block.compressed_cache((0,)))
    return CompressorInputs(
        positions=given(I32, tokens),
        kept_from=given(I32, kept),
        kept_to=given(I32, kept),
        read=given(I32, block.state_rows * results),
        write=given(I64, results),
        write_positions=given(I32, results),
        mask=given(F16 if settings.flash_attention or indexer else F32, cells, tokens // streams, 1, streams),
        rotation=rotation(block.indexer_dim) if indexer else _rotation(c, block.head_dim),
        cells=cells,
    )


def attend_compressed(c: Context, block: CompressedAttention, x: Node, layer: int) -> Node:
    """The attention half of a layer, output projection included."""
    inputs = _inputs(c, block)
    d, dim, heads, tokens = block.hidden_size, block.head_dim, block.heads, c.tokens
    queries = c.norm(mul_mat(c.weight("attn_q_a", layer, d, block.query_width), x), "attn_q_a_norm", layer)
    q = reshape(mul_mat(c.weight("attn_q_b", layer, block.query_width, block.query_size), queries), dim, heads, tokens)
    q = rope(c, like("RMS_NORM", q), layer)
    k = c.norm(mul_mat(c.weight("attn_kv", layer, d, dim), x), "attn_kv_a_norm", layer)
    k = rope(c, reshape(k, dim, 1, tokens), layer)
    compressed = _compress(c, inputs, block, x, layer, indexer=False) if block.ratio else None
    chosen = None
    if block.has_indexer:
        keys = _compress(c, inputs, block, x, layer, indexer=True)
        chosen = _choose(c, inputs, block, queries, x, keys, layer)
    out = _through_cache(c, inputs, block, q, k, compressed, chosen, layer)
    out = like("ROPE_BACK", reshape(out, dim, heads, tokens), c.positions)
    groups, width = block.output_groups, block.query_size // block.output_groups
    out = mul_mat(c.weight("attn_output_a", layer, width, block.output_rank, groups), permute(reshape(out, width, groups, tokens)))
    return mul_mat(c.weight("attn_output_b", layer, groups * block.output_rank, d), cont(permute(out), groups * block.output_rank, tokens))


def _compress(c: Context, every: CompressedInputs, block: CompressedAttention, x: Node, layer: int, *, indexer: bool) -> Node:
    """New tokens and those of the state become cells of the cache, which is returned; what is left waits in the state."""
    name, dim = ("indexer_compressor", block.indexer_dim) if indexer else ("attn_compressor", block.head_dim)
    inputs, width = _compressor(c, every, block, indexer=indexer), block.state_width(dim)
    values = mul_mat(c.weight(f"{name}_kv", layer, block.hidden_size, width), x)
    scores = mul_mat(c.weight(f"{name}_gate", layer, block.hidden_size, width), x)
    scores = like("ADD", scores, get_rows(c.weight(f"{name}_ape", layer, width, block.ratio), inputs.positions))
    states = [_state(c, block, width, layer) for _ in range(2)]
    sources = [concat(view(state, state.shape[:2], (state.strides[1],)), new_rows, 1) for state, new_rows in zip(states, (values, scores), strict=True)]
    results = _overlapping(block, sources, inputs, dim) if block.has_indexer else _plain(block, sources, inputs, dim)
    results = like("ROPE", c.norm(results, f"{name}_norm", layer), inputs.write_positions)
    if inputs.rotation:
        results = hadamard(results, inputs.rotation)
    cache = c.cache(c.settings.type_k, layer, dim, inputs.cells, c.settings.streams)
    c.graph.expand(store_keys(c, cache, results, inputs.write))
    kept = [set_rows(state, get_rows(new_rows, inputs.kept_from), inputs.kept_to) for state, new_rows in zip(states, (values, scores), strict=True)]
    for node in kept:
        c.graph.expand(node)
    return cache


def _state(c: Context, block: CompressedAttention, width: int, layer: int) -> Node:
    """All rows of a state (llama_dsv4_comp_state::get_kv_all)."""
    state = c.cache(F32, layer, width, block.state_rows, c.settings.streams)
    return view(state, (width, block.state_rows * c.settings.streams), (state.strides[1],))


def _plain(block: CompressedAttention, sources: list[Node], inputs: CompressorInputs, dim: int) -> Node:
    """build_hca_compressed_kv_from_state: every window by itself."""
    count = inputs.write.shape[0]
    rows = [reshape(get_rows(source, inputs.read), dim, block.ratio, count) for source in sources]
    return _weighted(rows)


def _overlapping(block: CompressedAttention, sources: list[Node], inputs: CompressorInputs, dim: int) -> Node:
    """build_overlap_compressed_kv_from_state: the first half of the rows of the window before, the second half of its own."""
    count = inputs.write.shape[0]
    each = block.ratio * count
    padded = [concat(source, reshape(like("SCALE", view(source, (source.shape[0],))), source.shape[0], 1), 1) for source in sources]
    read = [get_rows(source, inputs.read) for source in padded]
    size = F32.block_bytes

    def part(rows: Node, offset: int) -> Node:
        return reshape(cont(view(rows, (dim, each), (rows.strides[1],), offset)), dim, block.ratio, count)

    halves = [(part(rows, 0), part(rows, each * rows.strides[1] + dim * size)) for rows in read]
    return _weighted([concat(before, own, 1) for before, own in halves])


def _weighted(rows: list[Node]) -> Node:
    """The mean of values by the softmax of their scores."""
    values, scores = (cont(transpose(node)) for node in rows)
    total = sum_rows(like("MUL", values, like("SOFT_MAX", scores)))
    return cont(transpose(total))


def _through_cache(
    c: Context, inputs: CompressedInputs, block: CompressedAttention, q: Node, k: Node, compressed: Node | None, chosen: Node | None, layer: int
) -> Node:
    """build_csa_lid_attention, build_hca_attention, build_raw_attention."""
    settings, window = c.settings, inputs.window
    if window.rotation:
        q, k = hadamard(q, window.rotation), hadamard(k, window.rotation)
    c.graph.expand(q)
    c.graph.expand(k)
    cache = c.cache(settings.type_k, layer, block.head_dim, window.cells, settings.streams)
    c.graph.expand(store_keys(c, cache, k, window.rows))
    keys, mask = _keys(cache), window.mask
    if compressed:
        keys = concat(keys, _seen(_keys(compressed)), 2)
        beyond = _compressor(c, inputs, block).mask
        if chosen:
            beyond = unmasked(c, beyond, chosen, F16 if settings.flash_attention else F32)
        mask = concat(mask, beyond)
    out = attention(c, q, keys, keys, mask, c.weight("attn_sinks", layer, block.heads))
    return hadamard(out, window.rotation) if window.rotation else out


def _keys(cache: Node) -> Node:
    dim, cells, streams, _ = cache.shape
    return view(cache, (dim, 1, cells, streams), (cache.strides[1], cache.strides[1], cache.strides[2]))


def _seen(keys: Node) -> Node:
    """The cells that the mask has, which are all of them."""
    return view(keys, keys.shape, keys.strides[1:])


def _choose(c: Context, every: CompressedInputs, block: CompressedAttention, queries: Node, x: Node, cache: Node, layer: int) -> Node:
    """build_lid_top_k: the ids of the compressed tokens that a layer looks at."""
    inputs, dim, heads, streams = _compressor(c, every, block, indexer=True), block.indexer_dim, block.indexer_heads, c.settings.streams
    q = reshape(mul_mat(c.weight("indexer.attn_q_b", layer, block.query_width, heads * dim), queries), dim, heads, c.tokens)
    q = rope(c, q, layer)
    if inputs.rotation:
        q = hadamard(q, inputs.rotation)
    weights = like("SCALE", mul_mat(c.weight("indexer.proj", layer, block.hidden_size, heads), x))
    each = c.tokens // streams
    q = view(q, (dim, heads, each, streams), (q.strides[1], q.strides[2], q.strides[3] // streams))
    weights = view(weights, (heads, each, 1, streams), (weights.strides[1], weights.strides[2] // streams, weights.strides[3] // streams))
    scores = lightning_indexer(q, _seen(_keys(cache)), weights, inputs.mask)
    return cont(top_k(scores, min(inputs.cells, block.top_k)))
