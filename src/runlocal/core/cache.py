"""What a model keeps per sequence while it runs, as shapes; how an allocator rounds them is the engine's business."""

from enum import StrEnum

from runlocal.core.noun import NamedTuple


class CacheKind(StrEnum):
    """How a cache grows.

    FULL: one cell per token of context; SLIDING, CHUNKED: one per token of the window; LATENT: one latent per token in place of keys
    and values (MLA); INDEXER: one key per token, by which tokens are chosen (DSA); COMPRESSED: one cell for several tokens; CROSS: a
    fixed number of image tokens; ENCODED: one per token of the input that an encoder read; RECURRENT: a fixed state per sequence.
    """

    FULL = "full"
    SLIDING = "sliding"
    CHUNKED = "chunked"
    LATENT = "latent"
    INDEXER = "indexer"
    COMPRESSED = "compressed"
    CROSS = "cross"
    ENCODED = "encoded"
    RECURRENT = "recurrent"


class Cache(NamedTuple):
    """Equal caches of some layers.

    kind: how it grows
    layers: the layers that own one
    k_values, v_values: values per cell and layer in K and V (kv_heads x head_dim); of a RECURRENT state: convolution and state values per sequence
    window_tokens: length of the window of SLIDING and CHUNKED
    cells: fixed number of cells of CROSS
    ratio: tokens of context per cell of COMPRESSED and INDEXER
    heads: how many heads share k_values; a quantized type must divide the values of one head
    """

    kind: CacheKind
    layers: tuple[int, ...]
    k_values: int
    v_values: int
    window_tokens: int | None = None
    cells: int | None = None
    heads: int = 1
    ratio: int = 1
