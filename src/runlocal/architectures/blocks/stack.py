"""The common decoder: embedding, layers of attention and MLP with their norms, output. Families differ in the arguments."""

from collections.abc import Iterator

from runlocal.architectures.blocks.attention import Attention, Indexer, LatentAttention
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp, NextTokenHead, Norms
from runlocal.core.layout import Block, Layout, Placed
from runlocal.core.model import ModelSpec, Text
from runlocal.core.tensor import Tensor

LAYER_NORMS = ("attn_norm", "ffn_norm")
SANDWICH_NORMS = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")


def decoder(
    model: ModelSpec,
    *,
    norms: tuple[str, ...] = LAYER_NORMS,
    fused_qkv: bool = False,
    fused_gate_up: bool = False,
    sinks: bool = False,
    expert_bias: bool = False,
    output_bias: bool = False,
    next_norm: str = "nextn.shared_head_norm",
    next_dense: bool = False,
    correction: str = "exp_probs_b.bias",
    attention_gate: bool = False,
    head_gate: bool = False,
    windowed_sinks: bool = False,
    next_input: bool = True,
    expanded_latent: bool = False,
) -> Layout:
    """A decoder of `model.text` layers.

    norms: names of the norms over the residual stream in each layer, as GGUF has them
    fused_qkv, fused_gate_up: the converter keeps these matrices fused
    sinks: attention sinks
    expert_bias: router and experts have plain biases
    output_bias: the output matrix has a bias
    next_norm: name of the norm behind a multi-token-prediction layer
    next_dense: such a layer has a dense MLP, whatever the others have
    correction: name of the router's correction bias
    attention_gate: a learned gate multiplies what attention yields
    head_gate: a learned gate multiplies what each head yields
    windowed_sinks: attention sinks in the layers with a window only
    next_input: a multi-token-prediction layer that does not share embeddings has an embedding of its own, not only an output matrix
    expanded_latent: the cache keeps what latents are expanded to
    """
    text = model.text
    extra = text.next_tokens.layers if text.next_tokens and text.next_tokens.in_gguf else 0
    stored = tuple(range(text.layers + extra))
    biased = text.norm == "layernorm"
    with_state = list(state_blocks(text, stored))
    attending = text.attention_layers
    if attending is None:
        attending = tuple(layer for layer in stored if all(layer not in layers for _, layers in with_state))
    else:
        attending += stored[text.layers :]
    placed = [Placed(block, layers) for block, layers in with_state]
    if attending:
        attentions = attention_blocks(
            text, attending, fused=fused_qkv, sinks=sinks, gate=attention_gate, head_gate=head_gate, windowed_sinks=windowed_sinks, expanded=expanded_latent
        )
        placed += [Placed(block, layers) for block, layers in attentions]
    if norms and text.norm != "none":
        placed.append(Placed(Norms(hidden_size=text.hidden_size, roles=norms, bias=biased), stored))
    with_mlp = stored if text.mlp_layers is None else (*text.mlp_layers, *stored[text.layers :])
    mlps = mlp_blocks(text, with_mlp, fused=fused_gate_up, bias=expert_bias, correction=correction, behind=extra if next_dense else 0)
    placed += [Placed(block, layers) for block, layers in mlps]
    if extra and text.next_tokens:
        head = NextTokenHead(
            hidden_size=text.hidden_size,
            vocabulary_size=text.vocabulary_size,
            own_embeddings=not text.next_tokens.shared_embeddings,
            last_norm=next_norm,
            own_input=next_input,
        )
        placed.append(Placed(head, stored[text.layers :]))
    if text.adapter_ranks:
        from runlocal.architectures.blocks.adapters import Adapted  # few checkpoints keep any

        placed = [Placed(Adapted(block, text.adapter_ranks), layers) for block, layers in placed]
    return Layout(
        architecture=model.architecture,
        hidden_size=text.hidden_size,
        vocabulary_size=text.vocabulary_size,
        layers=text.layers,
        stored_layers=len(stored),
        outer=tuple(outer_tensors(text, biased=biased, output_bias=output_bias)),
        placed=tuple(placed),
        tied=text.tied_embeddings,
        kv_group=text.heads // text.kv_heads if text.kv_heads and 0 in attending else 0,
        experts=text.experts.count if text.experts else 0,
        pooling=text.pooling,
        deepstack=text.deepstack,
    )


def outer_tensors(text: Text, *, biased: bool, output_bias: bool) -> Iterator[Tensor]:
    """Embedding, final norm, output and rotary tables."""
    d = text.hidden_size
    yield Tensor(role="token_embd", columns=d, rows=text.vocabulary_size + text.extra_embedding_rows)
    if text.norm != "none":
        yield Tensor(role="output_norm", columns=d, quantizable=False)
    if biased:
        yield Tensor(role="output_norm.bias", columns=d, quantizable=False)
    if not text.tied_embeddings:
        yield Tensor(role="output", columns=d, rows=text.vocabulary_size)
    if output_bias:
        yield Tensor(role="output.bias", columns=text.vocabulary_size, quantizable=False)
    pairs = (text.latent.qk_rope_head_dim if text.latent else text.rope_dimensions or text.head_dim) // 2
    tables = {"llama3": ("rope_freqs",), "longrope": ("rope_factors_long", "rope_factors_short")}
    for role in tables[text.rope_scaling] if text.rope_scaling else ():
        yield Tensor(role=role, columns=pairs, quantizable=False)


def state_blocks(text: Text, layers: tuple[int, ...]) -> Iterator[tuple[Block, tuple[int, ...]]]:
    """The layers that keep a state of fixed size. Most models have none, so each kind is loaded with the first that does."""
    if mamba := text.mamba:
        from runlocal.architectures.blocks.mamba import Mamba1, Mamba2

        where = layers if mamba.layers is None else mamba.layers
        shape = (text.hidden_size, mamba.inner_size, mamba.state_size, mamba.conv_size)
        if mamba.version == 1:
            yield Mamba1(*shape, time_step_rank=mamba.time_step_rank, norm=mamba.norm), where
        else:
            yield Mamba2(*shape, heads=mamba.heads, groups=mamba.groups, normed=mamba.norm == "weights"), where
    if delta := text.delta_net:
        from runlocal.architectures.blocks.delta import GatedDeltaNet

        yield GatedDeltaNet(text.hidden_size, delta.key_heads, delta.value_heads, delta.head_dim, delta.conv_size), delta.layers
    if kimi := text.kimi_delta:
        from runlocal.architectures.blocks.delta import KimiDeltaAttention

        yield KimiDeltaAttention(text.hidden_size, kimi.heads, kimi.head_dim, kimi.conv_size), kimi.layers
    if lightning := text.lightning:
        from runlocal.architectures.blocks.lightning import LightningAttention

        yield LightningAttention(text.hidden_size, text.heads, text.head_dim), lightning.layers
    if rwkv := text.rwkv:
        from runlocal.architectures.blocks.rwkv import rwkv_blocks

        yield from rwkv_blocks(text.hidden_size, rwkv, layers)
    if conv := text.short_conv:
        from runlocal.architectures.blocks.short_conv import ShortConvolution

        yield ShortConvolution(hidden_size=text.hidden_size, conv_size=conv.conv_size), conv.layers


def attention_blocks(
    text: Text,
    layers: tuple[int, ...],
    *,
    fused: bool,
    sinks: bool,
    gate: bool = False,
    head_gate: bool = False,
    windowed_sinks: bool = False,
    expanded: bool = False,
) -> Iterator[tuple[Block, tuple[int, ...]]]:
    """The attention of every layer: latent, or grouped with the layers that have a window apart."""
    if latent := text.latent:
        block = LatentAttention(
            hidden_size=text.hidden_size,
            heads=text.heads,
            q_lora_rank=latent.q_lora_rank,
            kv_lora_rank=latent.kv_lora_rank,
            nope_dim=latent.qk_nope_head_dim,
            rope_dim=latent.qk_rope_head_dim,
            value_dim=latent.v_head_dim,
            expanded=expanded,
        )
        choosing: tuple[int, ...] = ()
        if (indexer := text.indexer) and latent.q_lora_rank:
            # Layers behind the last, for more tokens at once, have an indexer of their own.
            choosing = tuple(layer for layer in layers if indexer.layers is None or layer in indexer.layers or layer >= text.layers)
            yield block._replace(indexer=Indexer(text.hidden_size, latent.q_lora_rank, indexer.heads, indexer.head_dim, indexer.top_k)), choosing
        if others := tuple(layer for layer in layers if layer not in choosing):
            yield block, others
        return
    everywhere = Attention(
        hidden_size=text.hidden_size,
        heads=text.heads,
        kv_heads=text.kv_heads,
        head_dim=text.head_dim,
        value_dim=text.value_dim or text.head_dim,
        fused=fused,
        qkv_bias=text.qkv_bias,
        output_bias=text.output_bias,
        qk_norm=text.qk_norm,
        sinks=sinks,
        gate=gate,
        head_gate=head_gate,
    )
    if (indexer := text.indexer) and indexer.block_tokens:
        from runlocal.architectures.blocks.sparse import BlockSparseAttention

        dense = text.experts.leading_dense_layers if text.experts else 0
        if dense:
            yield everywhere, layers[:dense]
        yield BlockSparseAttention(everywhere, indexer.heads, indexer.head_dim, indexer.top_k, indexer.block_tokens), layers[dense:]
        return
    window = text.window
    if window is None:
        yield everywhere, layers
        return
    full = set(window.full_layers)
    if windowed := tuple(layer for layer in layers if layer not in full):
        local = everywhere._replace(
            heads=window.heads or text.heads,
            kv_heads=window.kv_heads or text.kv_heads,
            head_dim=window.head_dim or text.head_dim,
            value_dim=text.value_dim or window.head_dim or text.head_dim,
            sinks=sinks or windowed_sinks,
        )
        yield local._replace(window_tokens=window.tokens, chunked=window.chunked), windowed
    if seeing_all := tuple(layer for layer in layers if layer in full):
        yield everywhere, seeing_all


def mlp_blocks(text: Text, layers: tuple[int, ...], *, fused: bool, bias: bool, correction: str, behind: int) -> Iterator[tuple[Block, tuple[int, ...]]]:
    """The MLP of every layer: dense, experts, or both; dense in the last `behind`. A dense MLP without width is none."""
    dense = DenseMlp(hidden_size=text.hidden_size, intermediate_size=text.intermediate_size, gated=text.gated_mlp, fused=fused, bias=text.mlp_bias)
    experts = text.experts
    if experts is None:
        if layers and text.intermediate_size:
            yield dense, layers
        return
    chosen = layers[experts.leading_dense_layers : len(layers) - behind] if experts.layers is None else experts.layers
    with_experts = tuple(layer for layer in layers if layer in chosen)
    without = layers if experts.parallel_dense else tuple(layer for layer in layers if layer not in chosen)
    if without:
        yield dense, without
    yield (
        ExpertMlp(
            hidden_size=text.hidden_size,
            count=experts.count,
            used=experts.used,
            intermediate_size=experts.intermediate_size,
            shared_size=experts.shared_intermediate_size,
            shared_gate=experts.shared_gate,
            gated=text.gated_mlp,
            router_bias=experts.router_bias and not bias,
            bias=bias,
            correction=correction,
            latent_size=experts.latent_size,
            identity=experts.identity,
        ),
        with_experts,
    )
