"""What layers that keep something for every token are made of."""

from runlocal.core.noun import NamedTuple


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


class Cross(NamedTuple):
    """Cross-attention layers, which read image tokens only (mllama).

    layers: their indices
    """

    layers: tuple[int, ...]
