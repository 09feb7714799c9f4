"""What layers mix their tokens with: latents, indexers, compressed tokens, gated delta nets, short convolutions. Each is None where a file has none."""

from runlocal.architectures.blocks.compressed import RATIOS
from runlocal.core.model import Compressed, DeltaNet, Indexer, Latent, ShortConv
from runlocal.sources.files import bad_file
from runlocal.sources.gguf import delta
from runlocal.sources.gguf.metadata import BROKEN, Metadata
from runlocal.sources.gguf.shapes import Shapes, columns_of

_SPARSE = ("deepseek32", "deepseek4", "glm-dsa", "minimax-m3")  # architectures whose attention goes by an indexer
_DELTA_NETS = ("qwen3next", "qwen35", "qwen35moe", *delta.STREAMED)


def latent_of(fields: Metadata) -> Latent | None:
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


def compressed_of(fields: Metadata) -> Compressed | None:
    if fields.architecture != "deepseek4":
        return None
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


def indexer_of(fields: Metadata, shapes: Shapes, layers: int) -> Indexer | None:
    if fields.architecture not in _SPARSE:
        return None
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


def _block_indexer(fields: Metadata, shapes: Shapes) -> Indexer:
    if shapes.layers.get("indexer.k_proj", ()) != shapes.layers.get("ffn_down_exps", ()):
        raise bad_file(fields.path, "its layers with experts and those with an indexer are not the same", hint=BROKEN)
    return Indexer(
        heads=fields.positive("attention.indexer.head_count"),
        head_dim=fields.positive("attention.indexer.key_length"),
        top_k=fields.positive("attention.indexer.top_k"),
        block_tokens=fields.positive("attention.indexer.block_size"),
    )


def delta_net_of(fields: Metadata, shapes: Shapes) -> DeltaNet | None:
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


def short_conv_of(fields: Metadata, shapes: Shapes, layers: int) -> ShortConv | None:
    """The layers whose tokens a short convolution mixes."""
    if not shapes.has("shortconv.conv"):
        return None
    size, where = columns_of(fields, shapes, "shortconv.conv"), shapes.layers.get("shortconv.conv", ())
    attending = shapes.layers.get("attn_q", ())
    if size < 2 or sorted((*where, *attending)) != list(range(layers)):
        raise bad_file(fields.path, "its convolutions and its attention do not share the layers between them", hint=BROKEN)
    return ShortConv(conv_size=size, layers=where)
