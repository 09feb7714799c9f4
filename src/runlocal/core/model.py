"""What is known of a model: hyper-parameters only, nothing that can be computed from them.

Field names are those of config.json where it has one name for the thing, else GGUF's. The docstrings are the descriptions of the
published JSON Schema: one line `field: meaning` each.
"""

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


class Latent(NamedTuple):
    """Multi-head latent attention (MLA).

    q_lora_rank: width of the compressed query, absent where queries are not compressed
    kv_lora_rank: width of the latent that the cache keeps per token
    qk_rope_head_dim: rotary part of a key, shared by all heads and kept beside the latent
    qk_nope_head_dim: the part of a key without rotation, per head
    v_head_dim: width of a value, per head
    """

    kv_lora_rank: int
    qk_rope_head_dim: int
    qk_nope_head_dim: int
    v_head_dim: int
    q_lora_rank: int | None = None


class Indexer(NamedTuple):
    """Sparse attention (DSA, MSA): a small attention of its own chooses which tokens a layer looks at.

    heads: its query heads
    head_dim: width of a head, and of the one key that it keeps per token
    top_k: tokens that are chosen at most, or blocks of them
    layers: the layers that have one where that is not all; the others go by the choice of the last one before them
    block_tokens: tokens of a block, where whole blocks are chosen (MiniMax M3)
    pool_tokens: tokens whose keys are pooled, to be chosen together (GLM-5.3 Flash)
    """

    heads: int
    head_dim: int
    top_k: int
    layers: tuple[int, ...] | None = None
    block_tokens: int | None = None
    pool_tokens: int | None = None


class Compressed(NamedTuple):
    """Keys and values in one: every token's within the window, and beyond it one for several tokens (DeepSeek V4).

    q_lora_rank: width of the compressed query
    o_groups: groups of heads that the output projection works in
    o_lora_rank: width that it gives each of them
    compress_ratios: for each layer, the tokens that become one: 4 (overlapping, chosen by an indexer), 128, or 0 where there is only the window
    """

    q_lora_rank: int
    o_groups: int
    o_lora_rank: int
    compress_ratios: tuple[int, ...]


class Window(NamedTuple):
    """Attention limited to the latest tokens in some layers.

    tokens: length of the window
    full_layers: the layers that see everything
    chunked: the window is a fixed chunk (Llama 4), not a sliding one
    heads: query heads of the layers with a window where they differ from the others'
    kv_heads: key and value heads of the layers with a window where they differ from the others'
    head_dim: width of one head of the layers with a window where it differs from the others'
    """

    tokens: int
    full_layers: tuple[int, ...]
    chunked: bool = False
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None


class AltUp(NamedTuple):
    """Alternating updates: every layer computes one of several streams and predicts the others (Gemma 3n).

    inputs: streams
    laurel_rank: rank of the learned augmented residual beside attention
    """

    inputs: int
    laurel_rank: int


class Cross(NamedTuple):
    """Cross-attention layers, which read image tokens only (mllama).

    layers: their indices
    """

    layers: tuple[int, ...]


class Mamba(NamedTuple):
    """State-space layers (Mamba), which keep a state of fixed size in place of keys and values.

    version: 1 or 2
    inner_size: width inside the layer
    state_size: values of state per inner value
    conv_size: length of the causal convolution
    time_step_rank: rank of the time step's projection (version 1)
    heads: heads that share a time step (version 2)
    groups: groups of heads that share B and C (version 2)
    norm: of time step, B and C (version 1), or of the result by group (version 2): `weights`, `plain` without weights, or `none`
    layers: the layers with it, absent if all have it
    """

    version: int
    inner_size: int
    state_size: int
    conv_size: int
    time_step_rank: int = 0
    heads: int = 0
    groups: int = 1
    norm: str = "weights"
    layers: tuple[int, ...] | None = None


class DeltaNet(NamedTuple):
    """Gated delta net layers (Qwen3-Next), which keep a state of fixed size in place of keys and values.

    key_heads: heads of queries and keys
    value_heads: heads of values, each with a state of head_dim x head_dim
    head_dim: width of one head
    conv_size: length of the causal convolution
    layers: the layers with it
    """

    key_heads: int
    value_heads: int
    head_dim: int
    conv_size: int
    layers: tuple[int, ...]


class KimiDelta(NamedTuple):
    """Kimi delta attention layers, which keep a state of fixed size in place of keys and values.

    heads: heads, each with a state of head_dim x head_dim
    head_dim: width of one head
    conv_size: length of the causal convolutions of queries, keys and values
    layers: the layers with it
    """

    heads: int
    head_dim: int
    conv_size: int
    layers: tuple[int, ...]


class Lightning(NamedTuple):
    """Lightning attention layers (MiniMax-01): linear attention with the model's heads, which keeps a state of fixed size.

    layers: the layers with it
    """

    layers: tuple[int, ...]


class Rwkv(NamedTuple):
    """RWKV layers, every one of which keeps a matrix per head and the last token in place of keys and values.

    intermediate_size: width of a layer's second half
    head_size: width of a head
    decay_rank: rank of the decay's matrices
    version: 6 or 7
    rate_rank: rank of the learning rate's matrices (version 7)
    value_rank: rank of the matrices that mix in the first layer's values (version 7)
    gate_rank: rank of the gate's matrices (version 7)
    mix_rank: rank of the matrices that mix two tokens (version 6)
    rescale_every: after so many layers the residual stream is halved, 0: never (version 6)
    """

    intermediate_size: int
    head_size: int
    decay_rank: int
    version: int = 7
    rate_rank: int = 0
    value_rank: int = 0
    gate_rank: int = 0
    mix_rank: int = 0
    rescale_every: int = 0


class ShortConv(NamedTuple):
    """Gated short convolutions (LFM2), which remember the last tokens in place of keys and values.

    conv_size: length of the convolution
    layers: the layers with it
    """

    conv_size: int
    layers: tuple[int, ...]


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


class Vision(NamedTuple):
    """The vision tower and its projector.

    tower: the family of the tower, a key of the vision registry
    hidden_size: width of the tower
    layers: transformer blocks
    heads: attention heads
    intermediate_size: width of the MLP
    patch_size: pixels along the side of a patch
    image_size: pixels along the side of the image or tile the tower was made for
    tower_parameters: parameters of the tower as published
    projector_parameters: parameters of the projector as published
    tokens_per_image: embeddings that one image (or tile) becomes; absent where it follows the image's size
    max_tiles: tiles an image is cut into at most
    spatial_merge_size: patches along the side that become one token
    temporal_patch_size: frames per patch
    position_embeddings: rows of the learned position table where they are not one per patch
    head_dim: width of a head where it is not hidden_size / heads
    feature_layer: the layer whose output is used, counted from the end where negative
    deepstack_layers: layers whose output also goes to the language model
    window_size: pixels along the side of an attention window
    full_attention_layers: layers without that window
    global_layers: gated blocks behind the local ones (mllama)
    output_dim: width of the features handed to the projector
    intermediate_layers: layers whose outputs are joined to the features (mllama)
    kv_heads: key and value heads where they are fewer
    projector_intermediate_size: width of the projector's MLP where it has a width of its own
    projector_norm: the projector begins with a layer norm (LFM2-VL)
    standardized: features are shifted and scaled before the projector (Gemma 4)
    stages: pairs of blocks in each stage, whose width is twice that of the one before (DaViT); the other widths are the last stage's
    """

    tower: str
    tower_parameters: int
    projector_parameters: int
    hidden_size: int = 0
    layers: int = 0
    heads: int = 0
    intermediate_size: int = 0
    patch_size: int = 0
    image_size: int = 0
    tokens_per_image: int | None = None
    max_tiles: int = 1
    spatial_merge_size: int = 1
    temporal_patch_size: int = 1
    position_embeddings: int | None = None
    head_dim: int | None = None
    feature_layer: int | None = None
    deepstack_layers: tuple[int, ...] = ()
    window_size: int | None = None
    full_attention_layers: tuple[int, ...] = ()
    global_layers: int = 0
    output_dim: int | None = None
    intermediate_layers: tuple[int, ...] = ()
    kv_heads: int | None = None
    projector_intermediate_size: int | None = None
    projector_norm: bool = True
    standardized: bool = False
    stages: tuple[int, ...] = ()


class Audio(NamedTuple):
    """The speech encoder and its projectors. Where there are no shapes, it is a count alone: no runtime that is priced loads it.

    encoder: the family of the encoder, a key of the registry of encoders where it has shapes
    parameters: parameters of all of it as published
    hidden_size: width of the encoder
    layers: transformer blocks
    heads: attention heads
    intermediate_size: width of the MLP
    mel_bins: bands of the spectrogram
    conv_channels: channels of its convolutions where they are not the width of the encoder
    """

    encoder: str
    parameters: int
    hidden_size: int = 0
    layers: int = 0
    heads: int = 0
    intermediate_size: int = 0
    mel_bins: int = 0
    conv_channels: int = 0


class Context(NamedTuple):
    """Context lengths, in tokens of one sequence.

    native_tokens: what config.json or the GGUF says and runtimes enforce
    extended_tokens: what the vendor documents with a setting, absent if none
    recommended_tokens: where the vendor advises less
    extension: the setting that reaches extended_tokens: `yarn`
    original_tokens: what that setting multiplies, where it is not native_tokens
    """

    native_tokens: int
    extended_tokens: int | None = None
    recommended_tokens: int | None = None
    extension: str | None = None
    original_tokens: int | None = None


class Parameters(NamedTuple):
    """Published parameter counts, which the count computed from the shapes is held against.

    source: where the total was read
    published: total of the checkpoint, without multi-token-prediction layers; absent where nobody published one
    next_tokens: parameters of the multi-token-prediction layers in the checkpoint
    exception: why the computed count differs, where it does
    """

    source: str
    published: int | None = None
    next_tokens: int | None = None
    exception: str | None = None


class Alias(NamedTuple):
    """Another name of the model.

    name: as people type it: a Hugging Face repo id, an Ollama tag
    kind: `huggingface`, `ollama` or `gguf`
    variant: `base`, `instruct`, `reasoning`, `guard`, `embedding`: what the weights behind that name were trained to do
    """

    name: str
    kind: str
    variant: str


class Score(NamedTuple):
    """What the model reached in a benchmark.

    benchmark: its name with the setting: `MMMU (val, 0-shot CoT)`
    value: the result
    unit: `%`, or what else it is counted in
    measured_by: who ran it
    date: when it was published, YYYY-MM-DD
    url: where it stands
    """

    benchmark: str
    value: float
    measured_by: str
    date: str
    url: str
    unit: str = "%"


class Loss(NamedTuple):
    """What a quantization lost, as somebody measured it; never computed from bits.

    quant: the quantization
    measure: `KL divergence` or `perplexity`
    value: the figure for that quantization
    unquantized: the same for the checkpoint, absent where the measure is a distance to it
    imatrix: the file was made with an importance matrix
    measured_by: who ran it
    date: when it was published, YYYY-MM-DD
    url: where it stands
    """

    quant: str
    measure: str
    value: float
    measured_by: str
    date: str
    url: str
    unquantized: float | None = None
    imatrix: bool = False


class PublishedFile(NamedTuple):
    """A file that a publisher made by a mixture of types of its own, which no recipe of llama.cpp's quantizer gives.

    quant: its quantization, as the file's name has it: `UD-Q4_K_XL`
    bytes: its size, all parts together
    repo: the repository on Hugging Face
    url: where the size stands: the repository, at a revision where that is known
    checked: the day it was read, YYYY-MM-DD
    metadata_bytes: header and tokenizer in it, as in a file of the same repository whose tensors are known; absent where there is none
    rounded: the size was read rounded: it may be half of its last digit more or less
    note: what to know of it
    """

    quant: str
    bytes: int
    repo: str
    url: str
    checked: str
    metadata_bytes: int | None = None
    rounded: bool = False
    note: str | None = None

    @property
    def publisher(self) -> str:
        """Whose repository it is."""
        return self.repo.partition("/")[0]


class Source(NamedTuple):
    """Where a fact was read.

    url: address of the page or file
    what: what it says
    checked: the day it was read, YYYY-MM-DD
    """

    url: str
    what: str
    checked: str


class License(NamedTuple):
    """The licence of the weights.

    name: as its text calls itself
    commercial: whether and when commercial use is allowed; `not read` where nobody read it
    conditions: what bites, most important first
    url: address of its text
    checked: the day it was read, YYYY-MM-DD
    """

    name: str
    commercial: str
    conditions: tuple[str, ...]
    url: str | None
    checked: str | None


class ModelSpec(NamedTuple):
    """A model: one file in data/models, whose path is its id.

    id: the file's name
    name: as its vendor writes it
    family: the vendor's series
    vendor: who made it
    released: the day it was published, YYYY-MM-DD or YYYY-MM
    variant: what this id's weights were trained to do: `instruct`, `base`, `reasoning`, `guard`, `embedding`
    architecture: llama.cpp's name of the architecture, else the family's own; a key of the architecture registry
    hf_architecture: the class named in config.json; empty where the checkpoint has no such file
    modalities: `text`, `vision`, `audio`
    checkpoint_type: storage type of the published checkpoint, `BF16`
    license: a key of data/licenses.toml
    gated: the official repository asks for consent before a download; absent where not known
    context: context lengths
    parameters: published counts
    text: the language model
    vision: the tower, absent in text models
    audio: the speech encoder, absent in models that do not hear
    text_twin: id of a model with the same text weights and no tower
    aliases: other names
    sources: where the shapes were read
    note: what a user should know, one sentence
    scores: results in benchmarks
    losses: what quantizations lost, where somebody measured it
    files: published files that no recipe gives
    """

    id: str
    name: str
    family: str
    vendor: str
    released: str
    variant: str
    architecture: str
    hf_architecture: str
    modalities: tuple[str, ...]
    checkpoint_type: str
    license: str
    context: Context
    parameters: Parameters
    text: Text
    aliases: tuple[Alias, ...]
    sources: tuple[Source, ...]
    gated: bool | None = None
    vision: Vision | None = None
    text_twin: str | None = None
    note: str | None = None
    scores: tuple[Score, ...] = ()
    losses: tuple[Loss, ...] = ()
    files: tuple[PublishedFile, ...] = ()
    audio: Audio | None = None

    @property
    def tower_parameters(self) -> int:
        """Parameters beside the language model: towers, encoders and their projectors."""
        seeing = self.vision.tower_parameters + self.vision.projector_parameters if self.vision else 0
        return seeing + (self.audio.parameters if self.audio else 0)
