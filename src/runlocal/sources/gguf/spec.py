"""GGUF header to `ModelSpec`. What enters a tensor's shape is read from the tensors; the fields say only what no shape can."""

from collections.abc import Iterator

from runlocal.architectures import ARCHITECTURES, layout
from runlocal.architectures.blocks.compressed import RATIOS
from runlocal.core.errors import Code, Problem
from runlocal.core.model import Compressed, DeltaNet, Experts, Indexer, Latent, ModelSpec, NextTokens, ShortConv, Text, Window
from runlocal.core.noun import NamedTuple
from runlocal.sources.families import BY_NAME_ONLY, hugging_face_name
from runlocal.sources.files import bad_file, identifier, label
from runlocal.sources.gguf import delta, gemma, states
from runlocal.sources.gguf.header import Header, stem
from runlocal.sources.gguf.metadata import BROKEN, LARGEST_LAYERS, Metadata
from runlocal.sources.gguf.stored import matrices, quantization
from runlocal.sources.stranger import UNKNOWN, stranger

_BEGINNINGS = {
    "clip": "a projector (mmproj), which is only half of a model",
    "adapter": "an adapter (LoRA), which changes a model but is none",
    "imatrix": "an importance matrix, not a model",
}
_VARIANTS = {"instruct": "instruct", "it": "instruct", "chat": "instruct", "base": "base", "pt": "base"}
_TOWER = ("v.", "mm.")
_NORMS = ("attn_norm", "attn_norm_2", "attn_output_norm", "layer_output_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
_POOLINGS = {1: "mean", 2: "cls", 3: "last"}  # enum llama_pooling_type


# Layers of these have several shapes; their own modules, or a function here, tell them apart.
_VARYING = ("deci", "gemma4", *delta.KIMI)
_SPARSE = ("deepseek32", "deepseek4", "glm-dsa", "minimax-m3")  # architectures whose attention goes by an indexer
_FUSED_OR_APART = (
    "phi2",
)  # whose queries, keys and values are one matrix in some files: the converter takes it apart, older ones and Moondream's script did not
_BY_RATIO = "attn_compressor_"  # beginning of the names of tensors whose shape follows the layer's ratio


class _Windows(NamedTuple):
    """How llama.cpp applies a window (`load_arch_hparams` of src/models/<architecture>.cpp).

    pattern: the last of so many layers sees everything, where the file has no pattern of its own; 0: it has one, or none does
    tokens: length where the file does not say; None: without the field there is no window
    chunked: the window is a fixed chunk
    layers: the only number of layers with which it is applied, None for any
    first: the first of so many layers sees everything, not the last
    own_heads: layers with it may have other heads
    """

    pattern: int
    tokens: int | None = None
    chunked: bool = False
    layers: int | None = None
    first: bool = False
    own_heads: bool = False


# Architectures that are not named here keep every token, whatever the file says of a window.
_WINDOWS = {
    "afmoe": _Windows(pattern=4),
    "cohere2": _Windows(pattern=4),
    "cohere2moe": _Windows(pattern=4, first=True),
    "deepseek4": _Windows(pattern=0),
    "exaone-moe": _Windows(pattern=4),
    "exaone4": _Windows(pattern=4, tokens=4096, layers=64),
    "gemma-embedding": _Windows(pattern=6),
    "gemma2": _Windows(pattern=2, tokens=4096),
    "gemma3": _Windows(pattern=6),
    "gemma3n": _Windows(pattern=5),
    "gemma4": _Windows(pattern=6, own_heads=True),
    "gpt-oss": _Windows(pattern=2),
    "laguna": _Windows(pattern=4, first=True, own_heads=True),
    "llama4": _Windows(pattern=4, tokens=8192, chunked=True),
    "mellum": _Windows(pattern=4),
    "mimo2": _Windows(pattern=0, own_heads=True),
    "muse-glimmer": _Windows(pattern=4),
    "olmo2": _Windows(pattern=4),
    "spark2_5": _Windows(pattern=4),
    "step35": _Windows(pattern=0, own_heads=True),
}
# What may differ between layers with and without a window.
_BY_HEADS = ("attn_q", "attn_k", "attn_v", "attn_output", "attn_gate")
# Architectures whose values may be narrower than keys.
_NARROW_VALUES = ("mimo2",)


_DELTA_NETS = ("qwen3next", "qwen35", "qwen35moe", *delta.STREAMED)


class _Shapes(NamedTuple):
    """Dimensions by role: of the first layer that has the tensor, and which layers have it."""

    dimensions: dict[str, tuple[int, ...]]
    layers: dict[str, tuple[int, ...]]

    def has(self, *roles: str) -> bool:
        return any(role in self.dimensions for role in roles)


def spec(header: Header, path: str) -> ModelSpec:
    """The model that the file holds.

    Raises Problem: bad_file where a field is missing or contradicts the tensors, not_computed where it is no language model, or one that
    `architectures` does not lay out.
    """
    kind, architecture = header.fields.get("general.type"), header.fields.get("general.architecture")
    if kind == "mmproj":
        kind = "clip"
    if what := _BEGINNINGS.get(str(kind)) or _BEGINNINGS.get(str(architecture)):
        raise Problem(Code.NOT_COMPUTED, f"{label(path)} is {what}", hint="give the model's own .gguf file")
    if not isinstance(architecture, str):
        raise bad_file(path, "the field general.architecture is missing", hint="convert the model again with today's llama.cpp")
    if architecture not in ARCHITECTURES or architecture in BY_NAME_ONLY:
        raise Problem(
            Code.NOT_COMPUTED,
            f"{label(path)} is of the architecture {architecture!r}, which this version does not read from a file",
            hint="runlocal check llama-3.2-11b-vision" if architecture == "mllama" else "`runlocal models` lists the models that are known by name",
        )
    if not header.tensors:
        raise bad_file(path, "holds no tensors, only a vocabulary", hint="give the model's own .gguf file")
    block_count = Metadata(header, architecture, path, 0).positive("block_count")
    if block_count > LARGEST_LAYERS:
        raise bad_file(path, f"{block_count:,} layers are more than any model has", hint=BROKEN)
    fields = Metadata(header, architecture, path, block_count)
    if architecture == "deci":
        fields = fields.without_zeros("attention.head_count", "attention.head_count_kv")
    fields = delta.tidied(states.tidied(fields))
    shapes = _shapes(fields)
    text = _text(fields, shapes)
    if architecture == "gemma4":
        text = gemma.gemma4(fields, shapes.layers, text)
    elif architecture == "gemma3n":
        text = gemma.gemma3n(fields, shapes.dimensions, text)
    elif architecture == "deci":
        text = _searched(fields, shapes, text)
    elif architecture in states.PURE + states.HYBRID:
        text = states.stateful(fields, shapes.dimensions, shapes.layers, text)
    elif architecture in delta.KIMI:
        text = delta.with_delta(fields, shapes.dimensions, shapes.layers, text)
    elif architecture in delta.STREAMED:
        text = delta.with_streams(fields, shapes.dimensions, shapes.layers, text)
    return stranger(
        path,
        model_id=identifier(stem(path)),
        name=fields.text("name"),
        vendor=fields.text("organization"),
        variant=_variant(fields),
        architecture=architecture,
        hf_architecture=hugging_face_name(architecture) or UNKNOWN,
        checkpoint_type=(quantization(header) or UNKNOWN).removesuffix("_MOE"),
        context_tokens=fields.positive("context_length"),
        text=text,
        what="metadata and tensor shapes of the file itself",
    )


def warnings(header: Header, model: ModelSpec) -> Iterator[str]:
    """What the reader of an answer about the file should know, a sentence each."""
    for number, (start, size) in enumerate(zip(header.data_offset_bytes, header.file_bytes, strict=True)):
        last = max((tensor.offset for tensor in header.tensors if tensor.part == number), default=-1)
        if start + last >= size:
            yield "The file ends before its tensors do: the download did not finish."
            break
    computed = layout(model).tensors()
    shaped = {(t.role, t.columns, t.rows, t.copies, layer) for t in computed for layer in t.layers or (None,)}
    if any(tensor.name.startswith(_TOWER) for tensor in header.tensors):
        yield "The file holds a vision tower too: its tensors count as weights, the buffers that an image needs are not counted."
    stored = {(role, *(*shape, 1, 1, 1)[:3], layer) for role, layer, shape in matrices(header) if not role.startswith(_TOWER)}
    if odd := sorted({str(entry[0]) for entry in shaped ^ stored}):
        yield f"Its tensors are not quite those of a {model.architecture} model: {', '.join(odd[:5])}."


def _variant(fields: Metadata) -> str | None:
    """What the weights were trained to do, where the file says it in a word that is known."""
    return _VARIANTS.get((fields.text("finetune") or "").lower())


def _shapes(fields: Metadata) -> _Shapes:
    """The tensors by role. Raises Problem where tensors of one role differ over the layers beyond what a window explains."""
    rule = _WINDOWS.get(fields.architecture)
    varied = _BY_HEADS if rule and rule.own_heads else ()
    dimensions: dict[str, tuple[int, ...]] = {}
    layers: dict[str, list[int]] = {}
    for role, layer, shape in matrices(fields.header):
        known = role in varied or fields.architecture in _VARYING or role.startswith(_BY_RATIO)
        if dimensions.setdefault(role, shape) != shape and not known:
            raise fields.not_computed(f"the tensors {role} differ from layer to layer")
        if layer is not None:
            if layer >= fields.layers:
                raise bad_file(fields.path, f"a tensor stands in layer {layer}, but there are {fields.layers} layers", hint=BROKEN)
            layers.setdefault(role, []).append(layer)
    return _Shapes(dimensions, {role: tuple(sorted(found)) for role, found in layers.items()})


def _rows(fields: Metadata, shapes: _Shapes, role: str) -> int:
    """Rows of the matrix of that role."""
    found = shapes.dimensions.get(role)
    if found is None or len(found) < 2:
        raise bad_file(fields.path, f"the matrix {role} is missing" if found is None else f"{role} is no matrix", hint=BROKEN)
    return found[1]


def _table_rows(shapes: _Shapes, role: str) -> int | None:
    """Rows of a table, None where the file has none; of one row the file keeps the row alone."""
    found = shapes.dimensions.get(role)
    return None if found is None else found[1] if len(found) > 1 else 1


def _columns(fields: Metadata, shapes: _Shapes, role: str) -> int:
    _rows(fields, shapes, role)
    return shapes.dimensions[role][0]


def _text(fields: Metadata, shapes: _Shapes) -> Text:
    hidden_size = fields.positive("embedding_length")
    if _columns(fields, shapes, "token_embd") != hidden_size:
        raise bad_file(fields.path, f"embedding_length says {hidden_size}, the embedding's rows are otherwise", hint=BROKEN)
    tied = not shapes.has("output")
    rows = _rows(fields, shapes, "token_embd")
    vocabulary_size = rows if tied else _rows(fields, shapes, "output")
    next_layers = fields.number("nextn_predict_layers", 0)
    if next_layers >= fields.layers:
        raise bad_file(fields.path, "all its layers predict further tokens", hint=BROKEN)
    layers = fields.layers - next_layers
    window = _window(fields, layers)
    full = window.full_layers if window and window.full_layers and _WINDOWS[fields.architecture].own_heads else None
    short_conv = _short_conv(fields, shapes, layers)
    if short_conv:
        full = tuple(layer for layer in range(layers) if layer not in short_conv.layers)
    heads = fields.positive("attention.head_count", among=full)
    latent = _latent(fields)
    head_dim = latent.qk_nope_head_dim + latent.qk_rope_head_dim if latent else fields.positive("attention.key_length", hidden_size // heads)
    value_dim = None if latent else fields.positive("attention.value_length", head_dim)
    if value_dim not in (None, head_dim) and fields.architecture not in _NARROW_VALUES:
        raise fields.not_computed("its keys and values differ in width")
    kv_heads = heads if latent else fields.positive("attention.head_count_kv", heads, among=full)
    _divides(fields, heads, kv_heads)
    if window and full:
        local = [layer for layer in range(fields.layers) if layer not in full]
        own, own_kv = fields.positive("attention.head_count", among=local), fields.positive("attention.head_count_kv", heads, among=local)
        _divides(fields, own, own_kv)
        window = window._replace(heads=own if own != heads else None, kv_heads=own_kv if own_kv != kv_heads else None)
    if fields.architecture == "cohere2moe" and (shapes.has("ffn_down_shexp") or _norm(fields, shapes) != "rmsnorm"):
        raise fields.not_computed("it has another layer than North Mini Code")
    if fields.architecture == "laguna" and _rows(fields, shapes, "attn_gate") not in (heads, window.heads if window else heads):
        raise fields.not_computed("its attention has a gate for every value")
    rotated = fields.optional("rope.dimension_count")
    return Text(
        layers=layers,
        hidden_size=hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary_size=vocabulary_size,
        tied_embeddings=tied,
        intermediate_size=_columns(fields, shapes, "ffn_down") if shapes.has("ffn_down") else 0,
        qkv_bias=shapes.has("attn_q.bias", "attn_qkv.bias"),
        fused_qkv=fields.architecture in _FUSED_OR_APART and shapes.has("attn_qkv"),
        output_bias=shapes.has("attn_output.bias"),
        mlp_bias=shapes.has("ffn_down.bias", "ffn_down_exps.bias"),
        gated_mlp=shapes.has("ffn_gate", "ffn_gate_exps", "ffn_gate_up_exps") or _fused(shapes),
        qk_norm=_qk_norm(shapes, heads, head_dim),
        norm=_norm(fields, shapes),
        norms_per_layer=sum(shapes.has(role) for role in _NORMS),
        extra_embedding_rows=max(0, rows - vocabulary_size),
        rope_scaling="llama3" if shapes.has("rope_freqs") else "longrope" if shapes.has("rope_factors_long") else None,
        rope_dimensions=rotated if rotated and rotated != head_dim and not latent else None,
        deepstack=fields.optional("n_deepstack_layers") != 0,
        experts=_experts(fields, shapes),
        latent=latent,
        indexer=_indexer(fields, shapes, layers) if fields.architecture in _SPARSE else None,
        compressed=_compressed(fields) if fields.architecture == "deepseek4" else None,
        delta_net=_delta_net(fields, shapes),
        window=window,
        next_tokens=_next_tokens(shapes, layers, next_layers),
        value_dim=value_dim if value_dim != head_dim else None,
        position_embeddings=_table_rows(shapes, "position_embd"),
        token_types=_table_rows(shapes, "token_types"),
        pooling=_POOLINGS.get(fields.optional("pooling_type") or 0),
        hc_mult=fields.positive("hyper_connection.count", 1),
        short_conv=short_conv,
    )


def _searched(fields: Metadata, shapes: _Shapes, text: Text) -> Text:
    """What a search left of each layer."""
    attending = shapes.layers.get("attn_q", ())
    if shapes.layers.get("attn_output", ()) != attending:
        raise fields.not_computed("it has a matrix in place of attention")
    widths = {layer: shape[0] for role, layer, shape in matrices(fields.header) if role == "ffn_down" and layer is not None}
    if not attending or not widths:
        raise bad_file(fields.path, "holds no attention or no MLP", hint=BROKEN)
    return text._replace(
        intermediate_size=max(widths.values()),
        attention_layers=attending,
        mlp_layers=tuple(sorted(widths)) if len(widths) < text.layers else None,
        intermediate_sizes=tuple(widths.get(layer, 0) for layer in range(text.layers)),
    )


def _short_conv(fields: Metadata, shapes: _Shapes, layers: int) -> ShortConv | None:
    """The layers whose tokens a short convolution mixes."""
    if not shapes.has("shortconv.conv"):
        return None
    size, where = _columns(fields, shapes, "shortconv.conv"), shapes.layers.get("shortconv.conv", ())
    attending = shapes.layers.get("attn_q", ())
    if size < 2 or sorted((*where, *attending)) != list(range(layers)):
        raise bad_file(fields.path, "its convolutions and its attention do not share the layers between them", hint=BROKEN)
    return ShortConv(conv_size=size, layers=where)


def _divides(fields: Metadata, heads: int, kv_heads: int) -> None:
    if heads % kv_heads:
        raise bad_file(fields.path, f"{heads} heads cannot share {kv_heads} key and value heads", hint=BROKEN)


def _fused(shapes: _Shapes) -> bool:
    """Gate and up are one matrix, stored as `ffn_up`."""
    up, down = shapes.dimensions.get("ffn_up"), shapes.dimensions.get("ffn_down")
    return up is not None and down is not None and len(up) > 1 and up[1] == 2 * down[0]


def _qk_norm(shapes: _Shapes, heads: int, head_dim: int) -> str | None:
    found = shapes.dimensions.get("attn_q_norm")
    if found is None:
        return None
    if len(found) > 1:
        return "per_head"
    return "full" if found[0] == heads * head_dim and heads > 1 else "head"


def _norm(fields: Metadata, shapes: _Shapes) -> str:
    if not any(shapes.has(role) for role in _NORMS):
        return "none"
    if shapes.has("attn_norm.bias", "attn_output_norm.bias"):
        return "layernorm"
    named = {kind for kind in ("", "rms_") if f"{fields.architecture}.attention.layer_norm_{kind}epsilon" in fields.header.fields}
    return "layernorm_no_bias" if named == {""} else "rmsnorm"


def _latent(fields: Metadata) -> Latent | None:
    rank = fields.optional("attention.kv_lora_rank")
    if not rank:
        return None
    key, value = fields.optional("attention.key_length_mla"), fields.optional("attention.value_length_mla")
    if fields.architecture == "minicpm3":
        # It caches whole keys and values, so its widths are those of a head.
        width = fields.positive("embedding_length") // fields.positive("attention.head_count")
        key, value = fields.positive("attention.key_length", width), fields.positive("attention.value_length", width)
    if not key or not value:
        raise fields.not_computed("it was converted before llama.cpp kept latents in the cache", hint="convert the model again with today's llama.cpp")
    rotated = fields.number("rope.dimension_count")
    if rotated >= key:
        raise bad_file(fields.path, f"{rotated} rotated values do not fit a key of {key}", hint=BROKEN)
    return Latent(
        kv_lora_rank=rank,
        qk_rope_head_dim=rotated,
        qk_nope_head_dim=key - rotated,
        v_head_dim=value,
        q_lora_rank=fields.optional("attention.q_lora_rank") or None,
    )


def _compressed(fields: Metadata) -> Compressed:
    ratios = fields.numbers("attention.compress_ratios")
    if other := set(ratios) - set(RATIOS):
        raise fields.not_computed(f"it makes one of {min(other)} tokens")
    groups = fields.positive("attention.output_group_count")
    if fields.positive("attention.head_count") % groups:
        raise bad_file(fields.path, f"its heads cannot be divided into {groups} groups", hint=BROKEN)
    return Compressed(
        q_lora_rank=fields.positive("attention.q_lora_rank"),
        o_groups=groups,
        o_lora_rank=fields.positive("attention.output_lora_rank"),
        compress_ratios=ratios,
    )


def _indexer(fields: Metadata, shapes: _Shapes, layers: int) -> Indexer:
    if fields.architecture == "minimax-m3":
        return _block_indexer(fields, shapes)
    found = tuple(layer for layer in shapes.layers.get("indexer.attn_k", ()) if layer < layers)
    if fields.architecture == "deepseek4":
        found = tuple(range(layers))  # its ratio says which layers have one
    if not found or found[0]:
        raise bad_file(fields.path, "no indexer stands in its first layer", hint=BROKEN)
    return Indexer(
        heads=fields.positive("attention.indexer.head_count"),
        head_dim=fields.positive("attention.indexer.key_length"),
        top_k=fields.positive("attention.indexer.top_k"),
        layers=None if len(found) == layers else found,
    )


def _block_indexer(fields: Metadata, shapes: _Shapes) -> Indexer:
    if shapes.layers.get("indexer.k_proj", ()) != shapes.layers.get("ffn_down_exps", ()):
        raise bad_file(fields.path, "its layers with experts and those with an indexer are not the same", hint=BROKEN)
    return Indexer(
        heads=fields.positive("attention.indexer.head_count"),
        head_dim=fields.positive("attention.indexer.key_length"),
        top_k=fields.positive("attention.indexer.top_k"),
        block_tokens=fields.positive("attention.indexer.block_size"),
    )


def _delta_net(fields: Metadata, shapes: _Shapes) -> DeltaNet | None:
    if fields.architecture not in _DELTA_NETS or not shapes.has("ssm_conv1d"):
        return None
    if shapes.has("ssm_in"):
        raise fields.not_computed(
            "it was converted before llama.cpp split what enters its linear layers", hint="convert the model again with today's llama.cpp"
        )
    found = DeltaNet(
        key_heads=fields.positive("ssm.group_count"),
        value_heads=fields.positive("ssm.time_step_rank"),
        head_dim=fields.positive("ssm.state_size"),
        conv_size=fields.positive("ssm.conv_kernel"),
        layers=shapes.layers["ssm_conv1d"],
    )
    width = (2 * found.key_heads + found.value_heads) * found.head_dim
    if shapes.dimensions["ssm_conv1d"] != (found.conv_size, width):
        raise bad_file(fields.path, "its linear heads contradict the tensor ssm_conv1d", hint=BROKEN)
    return found


def _experts(fields: Metadata, shapes: _Shapes) -> Experts | None:
    count = fields.number("expert_count", 0)
    if not count:
        return None
    with_experts = shapes.layers.get("ffn_down_exps")
    if with_experts is None:
        raise fields.not_computed(
            "it keeps every expert in tensors of its own, as files of early 2024 do", hint="convert the model again with today's llama.cpp"
        )
    used = fields.positive("expert_used_count")
    found = shapes.dimensions["ffn_down_exps"]
    if len(found) != 3 or found[2] != count or used > count:
        raise bad_file(fields.path, f"{count} experts, {used} of them used, contradict the tensor ffn_down_exps", hint=BROKEN)
    leading = with_experts[0]
    dense = set(shapes.layers.get("ffn_down", ()))
    return Experts(
        count=count,
        used=used,
        intermediate_size=found[0],
        shared_intermediate_size=_columns(fields, shapes, "ffn_down_shexp") if shapes.has("ffn_down_shexp") else 0,
        shared_gate=shapes.has("ffn_gate_inp_shexp"),
        leading_dense_layers=leading,
        layers=None if with_experts == tuple(range(leading, fields.layers)) else with_experts,
        router_bias=shapes.has("exp_probs_b.bias", "exp_probs_b", "ffn_gate_inp.bias"),
        parallel_dense=bool(dense.intersection(with_experts)),
        hash_layers=len(shapes.layers.get("ffn_gate_tid2eid", ())),
    )


def _window(fields: Metadata, layers: int) -> Window | None:
    rule = _WINDOWS.get(fields.architecture)
    if rule is None or (rule.layers is not None and layers != rule.layers):
        return None
    tokens = fields.optional("attention.sliding_window")
    if tokens == 0 or (tokens is None and rule.tokens is None):
        return None
    if rule.chunked:
        tokens = rule.tokens  # the loader takes its own length whatever the file says
    pattern = fields.flags("attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        full = tuple(layer for layer in range(layers) if not pattern[layer])
    else:
        every = rule.pattern if pattern is None else pattern
        full = tuple(range(0 if rule.first else every - 1, layers, every)) if every else ()
    return Window(tokens=tokens or rule.tokens or 0, full_layers=full, chunked=rule.chunked)


def _next_tokens(shapes: _Shapes, layers: int, next_layers: int) -> NextTokens | None:
    if not next_layers:
        return None
    stored = any(layer >= layers for found in shapes.layers.values() for layer in found)
    return NextTokens(layers=next_layers, in_gguf=stored, shared_embeddings=stored and not shapes.has("nextn.embed_tokens", "nextn.shared_head_head"))
