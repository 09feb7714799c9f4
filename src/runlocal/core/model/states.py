"""Layers that keep a state of fixed size in place of keys and values."""

from runlocal.core.noun import NamedTuple


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
