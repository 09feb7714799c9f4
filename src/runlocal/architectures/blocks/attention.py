"""Attention with keys and values per head, and with a latent in their place."""

from collections.abc import Iterator

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class Attention(NamedTuple):
    """Grouped-query attention.

    hidden_size: width of the residual stream
    heads, kv_heads: query heads, key and value heads
    head_dim: width of a key
    value_dim: width of a value
    fused: one `attn_qkv` matrix in place of three
    qkv_bias, output_bias: biases
    qk_norm: `head`: one norm of head_dim for Q and one for K; `full`: over all heads; `per_head`: a row per head
    sinks: a learned sink per head
    window_tokens: length of a sliding window, None where the layer sees everything
    chunked: that window is a fixed chunk
    gate: a matrix of its own makes a gate for every value of the result
    head_gate: it makes one for every head instead
    values: there is a projection of values; else keys are values
    reads: the layer whose cache it reads instead of having one, None where it has its own
    idle: its projections of keys and values are stored although it reads another layer's cache
    sub_norm: a norm before the output projection
    cached: keys and values are kept for the steps that follow
    query_gate: the queries' matrix makes that gate, head by head behind the query
    """

    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    fused: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: str | None = None
    sinks: bool = False
    window_tokens: int | None = None
    chunked: bool = False
    gate: bool = False
    head_gate: bool = False
    values: bool = True
    reads: int | None = None
    idle: bool = False
    sub_norm: bool = False
    cached: bool = True
    query_gate: bool = False

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def value_width(self) -> int:
        return self.kv_heads * self.value_dim

    @property
    def output_width(self) -> int:
        return self.heads * self.value_dim

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        widths = {"attn_q": self.query_width * (2 if self.query_gate else 1), "attn_k": self.key_width, "attn_v": self.value_width}
        has_keys = self.reads is None or self.idle
        if not has_keys:
            del widths["attn_k"]
        if not has_keys or not self.values:
            del widths["attn_v"]
        if self.fused:
            widths = {"attn_qkv": sum(widths.values())}
        for role, width in widths.items():
            yield Tensor(role=role, columns=self.hidden_size, rows=width, layers=layers)
            if self.qkv_bias:
                yield Tensor(role=f"{role}.bias", columns=width, layers=layers, quantizable=False)
        yield Tensor(role="attn_output", columns=self.output_width, rows=self.hidden_size, layers=layers)
        if self.output_bias:
            yield Tensor(role="attn_output.bias", columns=self.hidden_size, layers=layers, quantizable=False)
        if self.qk_norm:
            for role, width in (("attn_q_norm", self.query_width), ("attn_k_norm", self.key_width))[: 1 + has_keys]:
                columns = width if self.qk_norm == "full" else self.head_dim
                rows = width // self.head_dim if self.qk_norm == "per_head" else 1
                yield Tensor(role=role, columns=columns, rows=rows, layers=layers, quantizable=False)
        if self.gate or self.head_gate:
            yield Tensor(role="attn_gate", columns=self.hidden_size, rows=self.heads if self.head_gate else self.output_width, layers=layers)
        if self.sub_norm:
            yield Tensor(role="attn_sub_norm", columns=self.output_width, layers=layers, quantizable=False)
        if self.sinks:
            yield Tensor(role="attn_sinks", columns=self.heads, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        if self.reads is not None or not self.cached:
            return
        kind = CacheKind.FULL if self.window_tokens is None else CacheKind.CHUNKED if self.chunked else CacheKind.SLIDING
        yield Cache(kind=kind, layers=layers, k_values=self.key_width, v_values=self.value_width, window_tokens=self.window_tokens, heads=self.kv_heads)


class NoAttention(NamedTuple):
    """Layers whose attention was left out, but not their place in the cache: where every layer's V takes one width, theirs does too."""

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        yield from ()

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.FULL, layers=layers, k_values=0, v_values=0)


class Indexer(NamedTuple):
    """What chooses the tokens that latent attention looks at (DSA); it keeps one key per token for all its heads.

    query_width: width of the compressed query that its queries are made of
    heads, head_dim: as in `model.Indexer`
    top_k: tokens that are chosen at most
    """

    hidden_size: int
    query_width: int
    heads: int
    head_dim: int
    top_k: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for role in ("indexer.k_norm", "indexer.k_norm.bias"):
            yield Tensor(role=role, columns=self.head_dim, layers=layers, quantizable=False)
        yield Tensor(role="indexer.proj", columns=self.hidden_size, rows=self.heads, layers=layers, source_type="F32")
        yield Tensor(role="indexer.attn_k", columns=self.hidden_size, rows=self.head_dim, layers=layers)
        yield Tensor(role="indexer.attn_q_b", columns=self.query_width, rows=self.heads * self.head_dim, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        yield Cache(kind=CacheKind.INDEXER, layers=layers, k_values=self.head_dim, v_values=0)


class LatentAttention(NamedTuple):
    """Multi-head latent attention: the cache keeps one latent and one rotary key per token, whatever the heads.

    heads: query heads
    q_lora_rank: width of the compressed query, None where queries are not compressed
    kv_lora_rank: width of the latent
    nope_dim, rope_dim: parts of a key without and with rotation
    value_dim: width of a value
    expanded: the cache keeps whole keys and values all the same (MiniCPM3)
    indexer: what chooses the tokens that it looks at, if anything does
    gate: a learned gate multiplies what it yields
    """

    hidden_size: int
    heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    expanded: bool = False
    indexer: Indexer | None = None
    gate: bool = False

    @property
    def latent_width(self) -> int:
        return self.kv_lora_rank + self.rope_dim

    @property
    def whole(self) -> Attention:
        """What the latent is expanded to."""
        key_dim = self.nope_dim + self.rope_dim
        return Attention(hidden_size=self.hidden_size, heads=self.heads, kv_heads=self.heads, head_dim=key_dim, value_dim=self.value_dim)

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        queries = self.heads * (self.nope_dim + self.rope_dim)
        if self.q_lora_rank:
            yield Tensor(role="attn_q_a", columns=self.hidden_size, rows=self.q_lora_rank, layers=layers)
            yield Tensor(role="attn_q_a_norm", columns=self.q_lora_rank, layers=layers, quantizable=False)
            yield Tensor(role="attn_q_b", columns=self.q_lora_rank, rows=queries, layers=layers)
        else:
            yield Tensor(role="attn_q", columns=self.hidden_size, rows=queries, layers=layers)
        yield Tensor(role="attn_kv_a_norm", columns=self.kv_lora_rank, layers=layers, quantizable=False)
        yield Tensor(role="attn_kv_a_mqa", columns=self.hidden_size, rows=self.latent_width, layers=layers)
        if self.expanded:
            yield Tensor(role="attn_kv_b", columns=self.kv_lora_rank, rows=self.heads * (self.nope_dim + self.value_dim), layers=layers)
            yield Tensor(role="attn_output", columns=self.heads * self.value_dim, rows=self.hidden_size, layers=layers)
            return
        # The converter splits attn_kv_b so that both halves can be absorbed into the matrices beside them.
        yield Tensor(role="attn_k_b", columns=self.nope_dim, rows=self.kv_lora_rank, copies=self.heads, layers=layers)
        yield Tensor(role="attn_v_b", columns=self.kv_lora_rank, rows=self.value_dim, copies=self.heads, layers=layers)
        yield Tensor(role="attn_output", columns=self.heads * self.value_dim, rows=self.hidden_size, layers=layers)
        if self.gate:
            yield Tensor(role="attn_gate", columns=self.hidden_size, rows=self.heads * self.value_dim, layers=layers)
        if self.indexer:
            yield from self.indexer.tensors(layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        if self.expanded:
            yield from self.whole.caches(layers)
            return
        yield Cache(kind=CacheKind.LATENT, layers=layers, k_values=self.latent_width, v_values=0)
        if self.indexer:
            yield from self.indexer.caches(layers)


class CrossAttention(NamedTuple):
    """Cross-attention to image tokens (mllama), named as Ollama's converter names it.

    kv_heads, heads, head_dim: as in self-attention
    image_tokens: tokens of one image, all tiles
    """

    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    image_tokens: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        yield Tensor(role="cross_attn_q_proj", columns=self.hidden_size, rows=queries, layers=layers)
        yield Tensor(role="cross_attn_k_proj", columns=self.hidden_size, rows=keys, layers=layers)
        yield Tensor(role="cross_attn_v_proj", columns=self.hidden_size, rows=keys, layers=layers)
        yield Tensor(role="cross_attn_o_proj", columns=queries, rows=self.hidden_size, layers=layers)
        for role in ("cross_attn_q_norm", "cross_attn_k_norm"):
            yield Tensor(role=role, columns=self.head_dim, layers=layers, quantizable=False)
        for role in ("cross_attn_attn_gate", "cross_attn_mlp_gate"):
            yield Tensor(role=role, columns=1, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        keys = self.kv_heads * self.head_dim
        yield Cache(kind=CacheKind.CROSS, layers=layers, k_values=keys, v_values=keys, cells=self.image_tokens, heads=self.kv_heads)
