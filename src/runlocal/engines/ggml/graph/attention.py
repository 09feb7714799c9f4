"""Attention with keys and values per head (src/llama-graph.cpp: build_qkv, build_attn, build_attn_mha; src/llama-kv-cache.cpp)."""

from runlocal.architectures.blocks.attention import Attention
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.tensors import (
    F16,
    F32,
    cont,
    flash_attention,
    is_contiguous,
    like,
    mul_mat,
    new,
    pad_rows,
    permute,
    reshape,
    set_rows,
    transpose,
    view,
)

Heads = tuple[Node, Node, Node]


def attend(c: Context, block: Attention, x: Node, layer: int) -> Node:
    """The attention half of a layer, output projection included."""
    return attend_masked(c, block, x, layer, None)


def attend_masked(c: Context, block: Attention, x: Node, layer: int, mask: Node | None) -> Node:
    """The attention half of a layer. mask: who sees whom, where that is a layer's own"""
    family = c.family
    q, k, v = _projections(c, block, x, layer)
    with_gate = q.root if block.query_gate else None
    rotates = family.rotates(layer, windowed=c.sees_window(block), has_windows=c.has_windows, has_states=c.has_states)
    rotates = rotates or (family.dense_rotates and layer in c.dense_layers)
    if block.qk_norm == "full":
        q, k = c.norm(q, "attn_q_norm", layer), c.norm(k, "attn_k_norm", layer)
        q, k, v = _split_heads(c, block, q, k, v)
    elif block.qk_norm and not family.norm_after_rope:
        q, k = c.norm(q, "attn_q_norm", layer), c.norm(k, "attn_k_norm", layer)
    if rotates:
        q, k = rope(c, q, layer), rope(c, k, layer)
    if block.qk_norm == "head" and family.norm_after_rope:
        q, k = c.norm(q, "attn_q_norm", layer), c.norm(k, "attn_k_norm", layer)
    if family.temperature == "all" or (family.temperature == "unrotated" and not rotates):
        q = like("MUL", q, c.temperature)
    if family.plain_qk_norm and rotates:
        q, k = like("RMS_NORM", q), like("RMS_NORM", k)
    if family.query_scaled:
        q = like("SCALE", q)
    out = through_cache(c, block, q, (k, v), layer, mask)
    if block.gate:
        out = like("MUL", out, like("SIGMOID", mul_mat(c.weight("attn_gate", layer, block.hidden_size, block.output_width), x)))
    if block.head_gate:
        gate = like(family.head_gate, mul_mat(c.weight("attn_gate", layer, block.hidden_size, block.heads), x))
        by_head = reshape(out, block.value_dim, block.heads, c.tokens)
        out = reshape(like("MUL", by_head, reshape(gate, 1, block.heads, c.tokens)), block.output_width, c.tokens)
    if block.sub_norm:
        out = c.norm(out, "attn_sub_norm", layer)
    if with_gate:
        gate = view(with_gate, (block.head_dim, block.heads, c.tokens), _gated_strides(block), block.head_dim * F32.block_bytes)
        out = like("MUL", out, like("SIGMOID", cont(gate, block.output_width, c.tokens)))
    out = mul_mat(c.weight("attn_output", layer, block.output_width, block.hidden_size), out)
    if family.attention_scaled:
        out = like("SCALE", out)
    return like("ADD", out, c.weight("attn_output.bias", layer, block.hidden_size)) if block.output_bias else out


def rope(c: Context, a: Node, layer: int) -> Node:
    """ggml_rope_ext; rotary factors are a weight of every layer."""
    return like("ROPE", a, c.positions, *c.rope_factors(layer))


def _projections(c: Context, block: Attention, x: Node, layer: int) -> Heads:
    """build_qkv; with a norm over all heads the results stay flat (`reshape` false)."""
    widths = {"attn_q": block.query_width, "attn_k": block.key_width, "attn_v": block.value_width}
    if block.fused:
        qkv = _biased(c, block, x, "attn_qkv", sum(widths.values()), layer)
        if c.family.clamped:
            qkv = like("CLAMP", qkv)
        size, row = qkv.type.block_bytes, qkv.strides[1]
        shapes = ((block.head_dim, block.heads), (block.head_dim, block.kv_heads), (block.value_dim, block.kv_heads))
        offsets = (0, block.query_width * size, (block.query_width + block.key_width) * size)
        q, k, v = (view(qkv, (dim, heads, c.tokens), (dim * size, row), offset) for (dim, heads), offset in zip(shapes, offsets, strict=True))
        return q, k, v
    if block.query_gate:
        widths["attn_q"] *= 2
    q, k, v = (_biased(c, block, x, role, width, layer) for role, width in widths.items())
    return (q, k, v) if block.qk_norm == "full" else _split_heads(c, block, q, k, v)


def _biased(c: Context, block: Attention, x: Node, role: str, width: int, layer: int) -> Node:
    out = mul_mat(c.weight(role, layer, block.hidden_size, width), x)
    return like("ADD", out, c.weight(f"{role}.bias", layer, width)) if block.qkv_bias else out


def _split_heads(c: Context, block: Attention, q: Node, k: Node, v: Node) -> Heads:
    shape = (block.head_dim, block.heads, c.tokens)
    return (
        view(q, shape, _gated_strides(block)) if block.query_gate else reshape(q, *shape),
        reshape(k, block.head_dim, block.kv_heads, c.tokens),
        reshape(v, block.value_dim, block.kv_heads, c.tokens),
    )


def _gated_strides(block: Attention) -> tuple[int, int]:
    """Where the next head and the next token of queries start that have their gates behind them."""
    head = 2 * block.head_dim * F32.block_bytes
    return head, block.heads * head


def through_cache(c: Context, block: Attention, q: Node, new: tuple[Node, Node] | None, layer: int, mask: Node | None = None) -> Node:
    """build_attn: new keys and values go to the cache, and attention reads them there.

    new: keys and values, None where the layer reads the cache of another
    """
    settings, inputs, graph = c.settings, c.cache_inputs(block), c.graph
    if not block.cached and new is not None:
        for node in (q, *new):
            graph.expand(node)
        return attention(c, q, *new, inputs.mask)
    cells, streams = inputs.cells, settings.streams
    width = max(block.value_width, settings.padded_v_values)
    holder = layer if block.reads is None else block.reads
    k_cache = c.cache(settings.type_k, holder, block.key_width, cells, streams)
    v_cache = c.cache(settings.type_v, holder, width, cells, streams)
    if inputs.k_rotation:
        q = hadamard(q, inputs.k_rotation)
    if new is None:
        graph.expand(q)
    else:
        _store(c, block, q, new, k_cache, v_cache)
    keys = view(k_cache, (block.head_dim, block.kv_heads, cells, streams), _cell_strides(k_cache, block.head_dim))
    if not settings.v_transposed:
        values = view(v_cache, (block.value_dim, block.kv_heads, cells, streams), _cell_strides(v_cache, block.value_dim))
    else:
        size = v_cache.type.block_bytes
        strides = (cells * block.value_dim * size, cells * size, cells * width * size)
        values = view(v_cache, (cells, block.kv_heads, block.value_dim, streams), strides)
    sinks = c.weight("attn_sinks", layer, block.heads) if block.sinks else None
    out = attention(c, q, keys, values, mask or inputs.mask, sinks)
    return hadamard(out, inputs.v_rotation) if inputs.v_rotation else out


def _store(c: Context, block: Attention, q: Node, new: tuple[Node, Node], k_cache: Node, v_cache: Node) -> None:
    """Puts new keys and values into the cache; queries are computed before them."""
    inputs, graph, (k, v), width = c.cache_inputs(block), c.graph, new, v_cache.shape[0]
    if inputs.k_rotation:
        k = hadamard(k, inputs.k_rotation)
    if inputs.v_rotation:
        v = hadamard(v, inputs.v_rotation)
    for node in (q, k, v) if c.has_windows else (q, v, k):
        graph.expand(node)
    graph.expand(store_keys(c, k_cache, k, inputs.k_rows))
    if not c.settings.v_transposed:
        graph.expand(store_keys(c, v_cache, v, inputs.v_rows))
        return
    # Without flash attention V is kept transposed, and every value is a row of its own.
    flat = reshape(v, block.value_width, c.tokens) if v.strides[2] == block.value_width * v.type.block_bytes else cont(v, block.value_width, c.tokens)
    if width > block.value_width:
        flat = pad_rows(flat, width)
    rows = reshape(flat, 1, width * c.tokens)
    graph.expand(set_rows(reshape(v_cache, 1, width * inputs.cells * c.settings.streams), rows, inputs.v_rows))


def _cell_strides(cache: Node, head_dim: int) -> tuple[int, ...]:
    head = head_dim // cache.type.block_elements * cache.type.block_bytes
    return head, cache.strides[1], cache.strides[2]


def store_keys(c: Context, cache: Node, values: Node, rows: Node) -> Node:
    """llama_kv_cache::cpy_k: heads are merged, streams too, and rows written where their cells are."""
    merged = view(values, (values.shape[0] * values.shape[1], values.shape[2]), (values.strides[2],))
    if c.settings.streams > 1:
        cache = reshape(cache, cache.shape[0], cache.shape[1] * cache.shape[2])
    return set_rows(cache, merged, rows)


def hadamard(a: Node, rotation: Node) -> Node:
    """llama_mul_mat_hadamard."""
    size = rotation.shape[0]
    rows = a.shape[0] * a.shape[1] * a.shape[2] * a.shape[3] // size
    flat = reshape(a, size, rows) if is_contiguous(a) else cont(a, size, rows)
    return reshape(mul_mat(rotation, flat), *a.shape)


def _half_precision(a: Node) -> Node:
    """What comes from no cache is F32, which the kernels do not read (ggml_cast)."""
    return new("CPY", F16, a.shape, a) if a.type is F32 else a


def attention(c: Context, q: Node, k: Node, v: Node, mask: Node, sinks: Node | None = None, decompress: Node | None = None) -> Node:
    """build_attn_mha. `decompress`: the matrix that latent attention turns its result into values with."""
    streams = k.shape[3]
    transposed = v.strides[1] > v.strides[2]
    per_stream = q.shape[2] // streams
    q = view(q, (q.shape[0], q.shape[1], per_stream, streams), (q.strides[1], q.strides[2], q.strides[2] * per_stream))
    q, k, v = permute(q), permute(k), permute(v)
    if c.settings.flash_attention:
        out = flash_attention(q, _half_precision(k), _half_precision(v), mask, sinks)
        if c.settings.flash_on_host:
            out.device = c.devices.host
        if decompress:
            out = cont(permute(mul_mat(decompress, permute(out))))
        out = reshape(out, out.shape[0] * out.shape[1], out.shape[2] * out.shape[3])
    else:
        scores = mul_mat(k, q)
        if c.family.scores_capped:
            for op in ("SCALE", "TANH", "SCALE"):
                scores = like(op, scores)
        scores = like("SOFT_MAX", scores, mask, *([sinks] if sinks else []))
        out = mul_mat(v if transposed else cont(transpose(v)), scores)
        if decompress:
            out = mul_mat(decompress, out)
        out = permute(out)
        out = cont(out, out.shape[0] * out.shape[1], out.shape[2] * out.shape[3])
        if c.devices.cache_on_host and c.devices.keeps_pins:
            # Everything between the cache and this result then runs on the host.
            out.device = c.devices.host
    c.graph.expand(out)
    return out
