"""The language model."""

from runlocal.core.model.attention import Compressed, Cross, Indexer, Latent, Window
from runlocal.core.model.states import DeltaNet, KimiDelta, Lightning, Mamba, Rwkv, ShortConv
from runlocal.core.noun import NamedTuple


class Experts(NamedTuple):
    """A mixture of experts in the MLP.

    count: routed experts per layer
    used: experts chosen per token
    intermediate_size: width of one expert
    shared_intermediate_size: width of all shared experts together, 0 if there is none
    shared_gate: a learned gate multiplies the shared experts' output
    leading_dense_layers: the first layers have a plain MLP instead
    layers: the layers with experts where that is neither all nor all after the leading dense ones
    router_bias: the router has a correction bias per expert
    parallel_dense: the layers with experts run a dense MLP beside them
    latent_size: experts work in a projection of this width
    hash_layers: the first layers choose their experts by the token's id, from a table
    image_intermediate_size: width of one of as many experts again, which image tokens go through instead (ERNIE 4.5 VL); 0 if there are none
    identity: experts without weights beside those that the router chooses from, which yield what they are given (LongCat)
    """

    count: int  # type: ignore[assignment]  # the field hides tuple.count, which nothing here needs
    used: int
    intermediate_size: int
    shared_intermediate_size: int = 0
    shared_gate: bool = False
    leading_dense_layers: int = 0
    layers: tuple[int, ...] | None = None
    router_bias: bool = False
    parallel_dense: bool = False
    latent_size: int | None = None
    hash_layers: int = 0
    image_intermediate_size: int = 0
    identity: int = 0


class AltUp(NamedTuple):
    """Alternating updates: every layer computes one of several streams and predicts the others (Gemma 3n).

    inputs: streams
    laurel_rank: rank of the learned augmented residual beside attention
    """

    inputs: int
    laurel_rank: int


class Ngrams(NamedTuple):
    """A table of hashed n-grams, of which one layer reads some rows for every token (Qwen3.8 Flash Next).

    size: tokens of the longest n-gram
    heads: rows that are read for each length
    head_dim: width of a row
    rows: rows of the table
    conv_size: length of the convolution behind it
    layer: the layer that reads it
    """

    size: int
    heads: int
    head_dim: int
    rows: int
    conv_size: int
    layer: int


class NextTokens(NamedTuple):
    """Multi-token-prediction layers behind the last layer.

    layers: how many
    in_gguf: published GGUF files store them
    shared_embeddings: they use the model's own embedding and output matrix instead of copies
    """

    layers: int
    in_gguf: bool
    shared_embeddings: bool = False


class Text(NamedTuple):
    """The language model.

    layers: repeating layers, without multi-token-prediction layers
    hidden_size: width of the residual stream
    intermediate_size: width of the dense MLP
    heads: query heads
    kv_heads: key and value heads
    head_dim: width of one head
    value_dim: width of a value where it is not head_dim
    vocabulary_size: rows of the output matrix
    tied_embeddings: the output matrix is the embedding
    qkv_bias: query, key and value projections have a bias
    fused_qkv: they are one matrix, of an architecture whose files have one or three
    output_bias: the attention's output projection has a bias
    mlp_bias: the MLP's projections have a bias
    gated_mlp: the MLP has a gate beside up and down
    qk_norm: norm of queries and keys, `head` per head, `per_head` with weights of its own for each, `full` over all heads, absent if none
    norm: `rmsnorm`, `layernorm` (with bias), `layernorm_no_bias` or `none` (no weights)
    norms_per_layer: norms of hidden_size width in a layer
    extra_embedding_rows: rows of the embedding beyond the vocabulary
    rope_scaling: `llama3` or `longrope` where the file stores rotary factors
    rope_dimensions: rotated values per head where that is not the whole head
    shared_kv_layers: the last layers that read the cache of an earlier layer and have none of their own (Gemma 3n, Gemma 4)
    idle_kv: the checkpoint stores projections of keys and values in those layers too, although nothing uses them
    double_wide_mlp: the MLP of those layers is twice as wide
    k_eq_v: the layers that see everything have no projection of values: keys are values
    hidden_size_per_layer_input: width of the embedding that every layer has of its own for every token, 0 if there is none
    altup: several streams of hidden states (Gemma 3n), absent elsewhere
    experts: the mixture of experts, absent in dense models
    latent: multi-head latent attention, absent elsewhere
    indexer: sparse attention, absent elsewhere
    compressed: attention to compressed tokens, absent elsewhere
    window: sliding or chunked attention, absent elsewhere
    cross: cross-attention layers, absent elsewhere
    mamba: state-space layers, absent elsewhere
    delta_net: gated delta net layers, absent elsewhere
    kimi_delta: Kimi delta attention layers, absent elsewhere
    lightning: lightning attention layers, absent elsewhere
    short_conv: gated short convolutions, absent elsewhere
    rwkv: RWKV layers, absent elsewhere
    attention_layers: the layers with attention where that is neither all nor all without a state
    mlp_layers: the layers with an MLP or experts where not all have one
    intermediate_sizes: width of the dense MLP layer by layer where they differ, 0 where a layer has none
    next_tokens: multi-token-prediction layers, absent elsewhere
    position_embeddings: rows of a table of learned positions, absent elsewhere
    token_types: rows of a table of token types, absent elsewhere
    pooling: how an embedding model makes one vector of many: `mean`, `cls` (the first) or `last`
    hc_mult: residual streams, which every layer mixes (hyper-connections)
    hc_low_rank: width of the projection that mixes those streams, absent where there is none
    ngrams: a table of hashed n-grams, absent elsewhere
    residual_block: layers after which the residual stream is kept, for all later layers to mix in (attention residuals), absent elsewhere
    encoder_layers: layers of an encoder before the decoder, which `layers` counts; 0 where there is only a decoder
    adapter_ranks: ranks of the low-rank adapters that the checkpoint keeps beside every matrix of the layers; several: for images or speech alone
    deepstack: images bring features of the tower's deeper layers, where the architecture takes any (Qwen3-VL)
    """

    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary_size: int
    tied_embeddings: bool
    intermediate_size: int = 0
    qkv_bias: bool = False
    fused_qkv: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    gated_mlp: bool = True
    qk_norm: str | None = None
    norm: str = "rmsnorm"
    norms_per_layer: int = 2
    extra_embedding_rows: int = 0
    rope_scaling: str | None = None
    rope_dimensions: int | None = None
    shared_kv_layers: int = 0
    idle_kv: bool = False
    double_wide_mlp: bool = False
    k_eq_v: bool = False
    hidden_size_per_layer_input: int = 0
    altup: AltUp | None = None
    experts: Experts | None = None
    latent: Latent | None = None
    indexer: Indexer | None = None
    compressed: Compressed | None = None
    window: Window | None = None
    cross: Cross | None = None
    mamba: Mamba | None = None
    delta_net: DeltaNet | None = None
    kimi_delta: KimiDelta | None = None
    lightning: Lightning | None = None
    short_conv: ShortConv | None = None
    rwkv: Rwkv | None = None
    attention_layers: tuple[int, ...] | None = None
    mlp_layers: tuple[int, ...] | None = None
    intermediate_sizes: tuple[int, ...] | None = None
    next_tokens: NextTokens | None = None
    value_dim: int | None = None
    position_embeddings: int | None = None
    token_types: int | None = None
    pooling: str | None = None
    hc_mult: int = 1
    hc_low_rank: int | None = None
    ngrams: Ngrams | None = None
    residual_block: int | None = None
    encoder_layers: int = 0
    adapter_ranks: tuple[int, ...] = ()
    deepstack: bool = True
