"""How a class's config.json is read."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from runlocal.core.noun import NamedTuple


class Mixture(StrEnum):
    """Whose keys a mixture of experts is described with."""

    MIXTRAL = "mixtral"
    QWEN = "qwen"
    DEEPSEEK = "deepseek"
    ERNIE = "ernie"
    HUNYUAN = "hunyuan"
    LLAMA4 = "llama4"


class Sliding(StrEnum):
    """Which layers a window stands in: EVERY layer; by `layer_types`, else a PATTERN; from some layer on where SWITCHED on; CHUNKED."""

    EVERY = "every"
    PATTERN = "pattern"
    SWITCHED = "switched"
    CHUNKED = "chunked"


_NOTHING: Mapping[str, int] = MappingProxyType({})
_NO_NAMES: Mapping[str, str] = MappingProxyType({})


class Family(NamedTuple):
    """How a class's config.json is read. Where a field is a `bool` it is hard-coded, where it is a name the key decides (absent: no).

    architecture: llama.cpp's name
    qkv_bias, output_bias, mlp_bias: biases
    gated_mlp, norm, norms_per_layer: as in `Text`
    qk_norm: as in `Text`; qk_norm_key: the key that turns it on
    tied: whether the embedding is tied where config.json does not say
    mixture: experts
    router_bias: the router has a correction bias
    shared_gate: a learned gate on the shared experts
    sliding, pattern: windows; the last of `pattern` layers sees everything
    latent: multi-head latent attention
    indexer: an indexer chooses the tokens that it looks at
    compressed: attention to compressed tokens
    delta_net: gated delta net layers
    next_tokens: published GGUF files store the multi-token-prediction layers; None: the class has none
    shared_embeddings: the multi-token-prediction layers use the model's own embedding and output matrix
    rotary: rotated share of a head, in quarters, where config.json does not say
    defaults: what transformers assumes for keys that config.json may leave out
    names: other names of keys
    """

    architecture: str
    qkv_bias: bool | str = False
    output_bias: bool | str = False
    mlp_bias: bool | str = False
    gated_mlp: bool = True
    norm: str = "rmsnorm"
    norms_per_layer: int = 2
    qk_norm: str | None = None
    qk_norm_key: str | None = None
    tied: bool = False
    mixture: Mixture | None = None
    router_bias: bool = False
    shared_gate: bool = False
    sliding: Sliding | None = None
    pattern: int = 0
    latent: bool = False
    indexer: bool = False
    compressed: bool = False
    delta_net: bool = False
    next_tokens: bool | None = None
    shared_embeddings: bool = False
    rotary: int = 4
    defaults: Mapping[str, int] = _NOTHING
    names: Mapping[str, str] = _NO_NAMES
