"""Dense MLPs and mixtures of experts (src/llama-graph.cpp: build_ffn, build_moe_ffn)."""

from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import DOWN, Context
from runlocal.engines.ggml.graph.tensors import F32, argsort_top_k, cont, get_rows, glu, like, mul_mat, mul_mat_id, new, reshape, set_rows, sum_rows, view

_BEST_OF_GROUP = 2


def dense(c: Context, block: DenseMlp, x: Node, layer: int, suffix: str = "") -> Node:
    """build_ffn. `suffix`: `_shexp` for shared experts."""
    d, width = block.hidden_size, block.intermediate_size

    def project(role: str, columns: int, rows: int, a: Node) -> Node:
        out = mul_mat(c.weight(role + suffix, layer, columns, rows), a)
        return like("ADD", out, c.weight(f"{role}{suffix}.bias", layer, rows)) if block.bias else out

    if block.fused:
        hidden = glu(project("ffn_up", d, 2 * width, x))
    elif block.gated:
        up = project("ffn_up", d, width, x)
        hidden = _gated(c, project("ffn_gate", d, width, x), up)
    else:
        hidden = project("ffn_up", d, width, x)
        for op in c.family.activation:
            hidden = like(op, hidden)
    if block.sub_norm:
        hidden = c.norm(hidden, "ffn_sub_norm", layer)
    return project("ffn_down", width, d, hidden)


def _gated(c: Context, gate: Node, up: Node) -> Node:
    if not c.family.situ:
        return glu(gate, up)
    scaled = like("SCALE", like("TANH", like("SCALE", gate)))
    return like("MUL", like("MUL", scaled, like("SIGMOID", gate)), like("SCALE", like("TANH", like("SCALE", up))))


def experts(c: Context, block: ExpertMlp, x: Node, layer: int, logits: Node | None = None) -> Node:
    """Routed experts, and shared ones beside them. logits: what the router says, where it does not read `x`."""
    out = _routed(c, block, x, layer, logits)
    if block.latent_size:
        if block.latent_normed:
            out = c.norm(out, f"{block.latent_role}_norm", layer)
        out = mul_mat(c.weight(f"{block.latent_role}_up", layer, block.latent_size, block.hidden_size), out)
    if not block.shared_size:
        return out
    shape = DenseMlp(hidden_size=block.hidden_size, intermediate_size=block.shared_size, gated=block.gated)
    shared = dense(c, shape, x, layer, "_shexp")
    if block.shared_gate:
        gate = mul_mat(c.weight("ffn_gate_inp_shexp", layer, block.hidden_size, 1), x)
        # qwen2moe writes a sigmoid as silu(x) / x.
        gate = like("SIGMOID", gate) if c.family.shared_sigmoid else like("DIV", like("SILU", gate), gate)
        shared = like("MUL", shared, gate)
    return like("ADD", out, shared)


def _routed(c: Context, block: ExpertMlp, x: Node, layer: int, logits: Node | None) -> Node:
    """build_moe_ffn."""
    d, count, used, width = block.routed_width, block.count, block.used, block.intermediate_size
    tokens = x.shape[1]
    weights, chosen = _route(c, block, x, layer, logits)
    c.graph.expand(weights)
    if block.latent_size:
        x = mul_mat(c.weight(f"{block.latent_role}_down", layer, block.hidden_size, d), x)
    x = reshape(x, d, 1, tokens)
    if c.family.router.before:
        x = like("MUL", new("REPEAT", x.type, (d, used, tokens, 1), x), weights)

    def project(role: str, columns: int, rows: int, a: Node) -> Node:
        out = mul_mat_id(c.weight(role, layer, columns, rows, count), a, chosen)
        return like("ADD_ID", out, c.weight(f"{role}.bias", layer, rows, count), chosen) if block.bias else out

    if block.fused:
        both = project("ffn_gate_up_exps", d, 2 * width, x)
        strides = both.strides[1:3]
        hidden = glu(view(both, (width, used, tokens), strides), view(both, (width, used, tokens), strides, width * both.strides[0]))
    elif block.gated:
        up = project("ffn_up_exps", d, width, x)
        hidden = _gated(c, project("ffn_gate_exps", d, width, x), up)
    else:
        hidden = project("ffn_up_exps", d, width, x)
        for op in c.family.activation:
            hidden = like(op, hidden)
    out = project(DOWN, width, d, hidden)
    if block.scaled:
        scales = new("REPEAT", F32, (1, count, tokens, 1), reshape(c.weight(f"{DOWN}.scale", layer, count), 1, count))
        out = like("MUL", out, get_rows(scales, chosen))
    if c.family.down_on_host:
        out.device = c.devices.host
    if not c.family.router.before:
        out = like("MUL", out, weights)
    c.graph.expand(out)
    slices = [view(out, (d, tokens), (out.strides[2],), index * out.strides[1]) for index in range(used)]
    for part in slices:
        c.graph.expand(part)
    total = slices[0]
    for part in slices[1:]:
        total = like("ADD", total, part)
        c.graph.expand(total)
    return cont(total) if used == 1 else total


def _route(c: Context, block: ExpertMlp, x: Node, layer: int, logits: Node | None) -> tuple[Node, Node]:
    """Weights of the chosen experts, (1, used, tokens), and their ids."""
    router, tokens, used, count = c.family.router_of(biased=block.router_bias), x.shape[1], block.used, block.count
    if logits is None:
        logits = mul_mat(c.weight("ffn_gate_inp", layer, block.hidden_size, count), x)
    if block.bias:
        logits = like("ADD", logits, c.weight("ffn_gate_inp.bias", layer, count))
    scores = like("SQRT", like("SOFTPLUS", logits)) if router.gate == "sqrt_softplus" else logits
    if router.gate not in ("softmax_weight", "sqrt_softplus"):
        scores = like("SIGMOID" if router.gate == "sigmoid" else "SOFT_MAX", logits)
    selection = like("ADD", scores, c.weight(block.correction, layer, count)) if block.router_bias else scores
    if router.before:
        selection = logits
    if count in (groups := dict(router.groups)):
        selection = _within_groups(selection, *groups[count])
    chosen = argsort_top_k(selection, used)
    if block.table_rows:
        chosen = get_rows(c.table("ffn_gate_tid2eid", layer, used, block.table_rows), c.token_ids)
    weights = get_rows(reshape(scores, 1, count, tokens), chosen)
    if router.gate == "softmax_weight":
        weights = reshape(like("SOFT_MAX", reshape(weights, used, tokens)), 1, used, tokens)
    if router.normalised:
        flat = reshape(weights, used, tokens)
        weights = reshape(like("DIV", flat, like("CLAMP", sum_rows(flat))), 1, used, tokens)
    return (like("SCALE", weights) if router.scaled else weights), chosen


def _within_groups(scores: Node, groups: int, used: int) -> Node:
    """The scores of the experts outside the best groups are masked; a group is as good as its two best experts."""
    count, tokens = scores.shape[0], scores.shape[1]
    size = count // groups
    grouped = reshape(scores, size, groups, tokens)
    best = get_rows(reshape(grouped, 1, size, groups, tokens), argsort_top_k(grouped, _BEST_OF_GROUP))
    totals = reshape(sum_rows(reshape(best, _BEST_OF_GROUP, groups, tokens)), groups, tokens)
    chosen = argsort_top_k(totals, used)
    masked = set_rows(like("FILL", grouped), get_rows(grouped, chosen), chosen)
    return reshape(masked, count, tokens)
