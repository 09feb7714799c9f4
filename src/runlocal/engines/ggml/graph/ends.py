"""Both ends of a graph: the embedding before its layers, and behind them the logits, or a vector for each sequence."""

from runlocal.engines.ggml.allocator import NONE, Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.tensors import F32, I32, cont, get_rows, given, like, mul_mat, new, transpose, view


def embed(c: Context) -> tuple[Node, Node]:
    """build_inp_embd: token ids or ready embeddings; both inputs exist, and this graph uses the ids."""
    d, wide = c.layout.hidden_size, c.layout.hidden_size * (1 + c.family.deepstack)
    table = new(NONE, F32, (d, 1, 1, 1))
    table.stored = table.weight = True
    table.device = c.devices.host
    x = get_rows(table, c.token_ids)
    if wide != d:
        x = new("PAD", F32, (wide, c.tokens, 1, 1), x)
    c.graph.expand(x)
    c.graph.expand(given(F32, wide, c.tokens))
    if wide != d:
        x = view(x, (d, c.tokens), (x.strides[1],))
    embedded = x
    x = _with_positions(c, x)
    if c.family.embedding_scaled:
        x = like("SCALE", x)
    if c.family.embedding_normed:
        x = like("RMS_NORM", x)
    if size := c.layer_input_size:
        from runlocal.engines.ggml.graph.gemma import layer_inputs

        c.layer_inputs = layer_inputs(c, x, size)
    else:
        c.graph.expand(x)
    return x, embedded


def _with_positions(c: Context, x: Node) -> Node:
    """What BERT adds to the embedding, from tables on the host: the first token type and the learned positions; then a norm."""
    roles, d = {tensor.role for tensor in c.layout.outer}, c.layout.hidden_size

    def table() -> Node:
        node = new(NONE, F32, (d, 1, 1, 1))
        node.stored = node.weight = True
        node.device = c.devices.host
        return node

    if "token_types" in roles:
        x = like("ADD", x, view(table(), (d,)))
    if "position_embd" in roles:
        x = like("ADD", get_rows(table(), c.positions), x)
    return c.norm(x, "token_embd_norm", None, bias=True, beside=0) if "token_embd_norm" in roles else x


def logits(c: Context, x: Node, *, biased: bool) -> None:
    """Final norm, output matrix and what follows it; both results outlive the graph (llm_graph_result::set_outputs)."""
    family, layout = c.family, c.layout
    roles = {tensor.role for tensor in layout.outer}
    if family.outputs_last:
        x.is_output = True
        x = get_rows(x, c.output_rows)
    if "output_hc_norm" in roles:
        from runlocal.engines.ggml.graph.qwen4exp import end

        x = end(c, x)
    elif not layout.encoder or "output_norm" in roles:
        x = c.norm(x, "output_norm", None, bias=biased)
    x.is_output = True
    if layout.encoder:
        c.graph.expand(x)
        _pool(c, x)
        return
    if family.outputs_normed:
        x = get_rows(x, c.output_rows)
        x.is_output = True
    if family.logits_scaled == "before":
        x = like("SCALE", x)
    out = mul_mat(c.weight("output", None, layout.hidden_size, layout.vocabulary_size), x)
    if "output.bias" in roles:
        out = like("ADD", out, c.weight("output.bias", None, layout.vocabulary_size))
    scales = {"once": ("SCALE",), "capped": ("SCALE", "TANH", "SCALE"), "once_and_capped": ("SCALE", "SCALE", "TANH", "SCALE")}
    for op in scales.get(family.logits_scaled or "", ()):
        out = like(op, out)
    out.is_output = True
    c.graph.expand(out)
    _pool(c, x)


def _pool(c: Context, x: Node) -> None:
    """One vector per sequence (llm_graph_context::build_pooling)."""
    match c.layout.pooling:
        case None:
            return
        case "mean":
            pooled = mul_mat(cont(transpose(x)), given(F32, c.tokens, c.settings.sequences))
        case _:
            pooled = get_rows(x, given(I32, c.settings.sequences))
    pooled.is_output = True
    c.graph.expand(pooled)
