"""Kimi delta attention beside latents, and the layers of Qwen3.8 Flash Next: what they have beyond an ordinary layer."""

from collections.abc import Mapping

from runlocal.core.model import Indexer, KimiDelta, Ngrams, Text
from runlocal.sources.files import bad_file
from runlocal.sources.gguf.metadata import BROKEN, Metadata

KIMI = ("glm5-next", "kimi-k3", "kimi-linear")
STREAMED = ("qwen4exp",)
_SHORT = "ssm_conv1d_q"

Shapes = Mapping[str, tuple[int, ...]]


def tidied(fields: Metadata) -> Metadata:
    """The fields without the zeros of layers that have no keys and values."""
    return fields.without_zeros("attention.head_count_kv") if fields.architecture in KIMI else fields


def with_delta(fields: Metadata, dimensions: Shapes, layers: Shapes, text: Text) -> Text:
    """The text with its layers of Kimi delta attention, and what else its architecture has."""
    heads, dim, conv = text.heads, fields.positive("kda.head_dim"), fields.positive("ssm.conv_kernel")
    found = layers.get(_SHORT, ())
    latents = tuple(layer for layer in layers.get("attn_kv_a_mqa", ()) if layer < text.layers)
    if not text.latent or not found or sorted((*found, *latents)) != list(range(text.layers)):
        raise bad_file(fields.path, "its layers do not have either a state or latents", hint=BROKEN)
    if dimensions[_SHORT] != (conv, heads * dim):
        raise bad_file(fields.path, f"its linear heads contradict the tensor {_SHORT}", hint=BROKEN)
    text = text._replace(kimi_delta=KimiDelta(heads=heads, head_dim=dim, conv_size=conv, layers=found))
    if fields.architecture == "kimi-k3":
        latent = dimensions.get("ffn_routed_down")
        if not text.experts or not latent or "attn_gate" not in dimensions or "ssm_g" not in dimensions or "ffn_routed_norm" not in dimensions:
            raise fields.not_computed("it has other layers than Kimi K3")
        text = text._replace(experts=text.experts._replace(latent_size=latent[-1]), residual_block=fields.positive("attn_res.block_size"))
    if fields.architecture == "glm5-next":
        if tuple(layer for layer in layers.get("indexer.attn_k", ()) if layer < text.layers) != latents:
            raise fields.not_computed("layers with latents have no indexer of their own")
        text = text._replace(indexer=_indexer(fields, fields.positive("attention.indexer.kpool")))
    return text


def with_streams(fields: Metadata, dimensions: Shapes, layers: Shapes, text: Text) -> Text:
    """The text with its residual streams, its indexer and its table of n-grams."""
    table, reading = dimensions.get("per_layer_token_embd"), layers.get("ple_key", ())
    if table is None or len(table) != len(("columns", "rows")) or len(reading) != 1:
        raise fields.not_computed("it has no table of n-grams for one layer")
    ratios = {ratio for ratio in fields.numbers("attention.compress_ratios") if ratio}
    if len(ratios) != 1 or layers.get("indexer.k_proj", ()) != layers.get("attn_q", ()):
        raise fields.not_computed("its layers with attention do not choose blocks of one length")
    ngrams = Ngrams(
        size=fields.positive("ple.ngram_size"),
        heads=fields.positive("ple.heads_per_ngram"),
        head_dim=table[0],
        rows=table[1],
        conv_size=fields.positive("ple.conv_kernel"),
        layer=reading[0],
    )
    rank = fields.positive("hyper_connection.low_rank")
    return text._replace(ngrams=ngrams, hc_low_rank=rank, norm="rmsnorm", indexer=_indexer(fields, ratios.pop()))


def _indexer(fields: Metadata, pool_tokens: int) -> Indexer:
    return Indexer(
        heads=fields.positive("attention.indexer.head_count"),
        head_dim=fields.positive("attention.indexer.key_length"),
        top_k=fields.positive("attention.indexer.top_k"),
        pool_tokens=pool_tokens,
    )
