"""What llama.cpp's graphs of the architectures differ in, beyond the blocks of the layout (src/models/*.cpp).

https://github.com/ggml-org/llama.cpp/tree/master/src/models
"""

from enum import StrEnum

from runlocal.core.layout import Layout
from runlocal.core.noun import NamedTuple

_ROPE_PERIOD = 4


class Rope(StrEnum):
    """Which layers rotate queries and keys."""

    ALL = "all"
    NONE = "none"
    WINDOWED = "windowed"  # those with a window, where there are such
    THREE_OF_FOUR = "three_of_four"  # all but every fourth
    STATELESS = "stateless"  # all where no layer keeps a state, else none


class Beside(StrEnum):
    """How attention and MLP run in parallel."""

    COHERE = "cohere"
    PHI = "phi"
    FALCON = "falcon"


class Router(NamedTuple):
    """Arguments of build_moe_ffn that no tensor shows.

    gate: `softmax`, `sigmoid`, `sqrt_softplus`, or `softmax_weight` (softmax over the chosen experts alone)
    normalised: the chosen weights are divided by their sum
    scaled: they are multiplied by a constant
    before: they weigh the experts' input, not their output
    groups: (groups, groups used) by number of experts: only experts of the best groups are chosen from (`n_group`, `topk_group` in
        https://huggingface.co/deepseek-ai/DeepSeek-V2/blob/main/config.json and https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/config.json)
    """

    gate: str = "softmax"
    normalised: bool = True
    scaled: bool = False
    before: bool = False
    groups: tuple[tuple[int, tuple[int, int]], ...] = ()


class NotModelled(ValueError):
    """The graph of this model is not one of those that are built here."""


class Family(NamedTuple):
    """An architecture's graph.

    embedding_scaled: the embedding is multiplied by a constant
    embedding_normed: the embedding is normed without weights
    layer_norm: LayerNorm where others have RMSNorm
    weightless_norms: norms of the residual stream have no weights
    rope: which layers rotate
    dense_rotates: layers with a dense MLP rotate whatever `rope` says
    norm_after_rope: queries and keys are normed behind the rotation
    plain_qk_norm: queries and keys are normed without weights in rotating layers (Llama 4)
    scores_capped: attention scores go through scale, tanh, scale where there is no flash attention
    query_scaled: queries are multiplied by a constant
    temperature: queries are multiplied by a factor per token: in `all` layers or those without rotation (`unrotated`)
    residual_scaled: both halves of a layer are multiplied by a constant before they are added
    residual_normed: each half is added to its own normed input, times a constant, and not to the stream
    residual_first: the MLP's output is added to the residual, not the other way round
    stream_first: so is what attention or a state yields
    activation: of an MLP without gate: its unary operations
    beside: attention and MLP run in parallel
    router: of experts
    plain_router: of experts without a correction bias, where that differs
    shared_sigmoid: the gate of shared experts is one operation
    outputs_last: rows for the logits are picked behind the last layer, not in it
    outputs_normed: they are picked behind the final norm, whose result is kept for next-token layers
    attention_normed: they are picked behind the norm of what attention yields, not before it
    logits_scaled: `once`: the logits are multiplied by a constant; `before`: what they are computed from is; `capped`: scale, tanh, scale;
        `once_and_capped`: both
    positions: position ids per token
    deepstack: the first layers add that many slices of a wider embedding
    head_gate: the unary operation of a gate per head
    attention_scaled: what attention yields is multiplied by a constant behind the output projection
    own_layer: whose layer it is, where it is put together in another way than others': a key of `OWN_LAYERS` in graph/decoder.py
    reserved_alone: the graph of a single sequence is reserved too, whose inputs grow with the square of its tokens
    down_on_host: experts' last matrix is multiplied in a precision that CUDA has no kernel for, so the host does it, with a copy of the matrix
    clamped: fused queries, keys and values are clamped
    every_layer: no layer stands for another, for each reads what those before it kept
    situ: MLPs are gated by a product of a tanh and a sigmoid (SiTU)
    output_on_host: the logits are computed with the embedding on the host, or with a copy of it where they are many
    """

    embedding_scaled: bool = False
    embedding_normed: bool = False
    layer_norm: bool = False
    weightless_norms: bool = False
    rope: Rope = Rope.ALL
    dense_rotates: bool = False
    norm_after_rope: bool = False
    plain_qk_norm: bool = False
    scores_capped: bool = False
    query_scaled: bool = False
    temperature: str | None = None
    residual_scaled: bool = False
    residual_normed: bool = False
    residual_first: bool = False
    stream_first: bool = False
    activation: tuple[str, ...] = ("GELU",)
    beside: Beside | None = None
    router: Router = Router()
    plain_router: Router | None = None
    shared_sigmoid: bool = False
    outputs_last: bool = False
    outputs_normed: bool = False
    attention_normed: bool = False
    logits_scaled: str | None = None
    positions: int = 1
    deepstack: int = 0
    head_gate: str = "SIGMOID"
    attention_scaled: bool = False
    own_layer: str | None = None
    reserved_alone: bool = False
    down_on_host: bool = False
    clamped: bool = False
    output_on_host: bool = False
    every_layer: bool = False
    situ: bool = False

    def kind_of(self, layer: int) -> tuple[int, bool]:
        """What differs between layers beyond their blocks."""
        return layer % _ROPE_PERIOD if self.rope is Rope.THREE_OF_FOUR else 0, layer < self.deepstack

    def router_of(self, *, biased: bool) -> Router:
        """The router of experts with or without a correction bias."""
        return self.router if biased or self.plain_router is None else self.plain_router

    def rotates(self, layer: int, *, windowed: bool, has_windows: bool, has_states: bool = False) -> bool:
        """Whether a layer rotates queries and keys."""
        match self.rope:
            case Rope.ALL:
                return True
            case Rope.NONE:
                return False
            case Rope.WINDOWED:
                return windowed or not has_windows
            case Rope.THREE_OF_FOUR:
                return (layer + 1) % _ROPE_PERIOD != 0
            case Rope.STATELESS:
                return not has_states


_GRANITE = Family(embedding_scaled=True, residual_scaled=True, logits_scaled="once")
_SCORED = Router(gate="sigmoid", scaled=True)
_PLAIN_SIGMOID = Router(gate="sigmoid", normalised=False)
_NEMOTRON_H = Family(rope=Rope.NONE, activation=("RELU", "SQR"), router=_SCORED, outputs_normed=True)

FAMILIES = {
    **dict.fromkeys(("llama", "internlm2", "qwen2", "qwen3", "seed_oss", "exaone", "ernie4_5", "chatglm", "glm4", "qwen3moe", "mellum"), Family()),
    **dict.fromkeys(("ernie4_5-moe", "olmo2", "mamba", "mamba2", "spark2_5", "deci"), Family()),
    "rwkv6": Family(layer_norm=True),
    "rwkv7": Family(layer_norm=True),
    "lfm2": Family(residual_first=True, stream_first=True),
    "lfm2moe": Family(residual_first=True, stream_first=True, router=_SCORED._replace(scaled=False)),
    "mistral3": Family(temperature="all"),
    "qwen": Family(),
    "bitnet": Family(output_on_host=True),
    "olmo": Family(layer_norm=True, weightless_norms=True),
    "nemotron": Family(layer_norm=True, activation=("RELU", "SQR")),
    "muse-glimmer": Family(embedding_normed=True, rope=Rope.WINDOWED, attention_normed=True, logits_scaled="once_and_capped"),
    "apertus": Family(activation=("XIELU",)),
    "arcee": Family(activation=("RELU", "SQR")),
    "smollm3": Family(rope=Rope.THREE_OF_FOUR),
    "exaone4": Family(rope=Rope.WINDOWED),
    "exaone-moe": Family(rope=Rope.WINDOWED, router=_SCORED),
    "stablelm": Family(layer_norm=True),
    "starcoder2": Family(layer_norm=True),
    "hunyuan-dense": Family(norm_after_rope=True),
    "hunyuan-moe": Family(norm_after_rope=True),
    "granite": _GRANITE,
    "granitemoe": _GRANITE,
    "minicpm": _GRANITE,
    "minicpm3": _GRANITE._replace(logits_scaled="before"),
    "gemma": Family(embedding_scaled=True, query_scaled=True),
    "gemma2": Family(embedding_scaled=True, query_scaled=True, scores_capped=True, logits_scaled="capped"),
    "gemma3": Family(embedding_scaled=True, query_scaled=True),
    "gemma3n": Family(embedding_scaled=True, logits_scaled="capped", own_layer="gemma3n"),
    "gemma4": Family(embedding_scaled=True, outputs_normed=True, logits_scaled="capped", own_layer="gemma4"),
    "gemma-embedding": Family(embedding_scaled=True, query_scaled=True),
    "bert": Family(layer_norm=True, rope=Rope.NONE),
    "nomic-bert": Family(layer_norm=True),
    "phi2": Family(layer_norm=True, query_scaled=True, beside=Beside.PHI),
    "phi3": Family(query_scaled=True, residual_first=True),
    "phimoe": Family(query_scaled=True, residual_first=True),
    "falcon": Family(layer_norm=True, beside=Beside.FALCON),
    "command-r": Family(layer_norm=True, beside=Beside.COHERE, logits_scaled="once"),
    "cohere2": Family(layer_norm=True, beside=Beside.COHERE, logits_scaled="once", rope=Rope.WINDOWED),
    "cohere2moe": Family(rope=Rope.WINDOWED, dense_rotates=True, beside=Beside.COHERE, router=_PLAIN_SIGMOID, outputs_normed=True, logits_scaled="once"),
    "qwen2vl": Family(positions=4),
    "qwen3vl": Family(positions=4, deepstack=3),
    "qwen3vlmoe": Family(positions=4, deepstack=3),
    "qwen3next": Family(shared_sigmoid=True, outputs_normed=True),
    "qwen35": Family(positions=4, outputs_normed=True),
    "qwen35moe": Family(positions=4, shared_sigmoid=True, outputs_normed=True),
    "qwen4exp": Family(positions=4, shared_sigmoid=True, own_layer="qwen4exp"),
    "qwen2moe": Family(router=Router(normalised=False)),
    "olmoe": Family(router=Router(normalised=False)),
    "dots1": Family(router=_SCORED),
    "bailingmoe": Family(),
    "deepseek": Family(router=Router(normalised=False)),
    "grok": Family(embedding_scaled=True, scores_capped=True, logits_scaled="once"),
    "dbrx": Family(layer_norm=True, clamped=True),
    # As measured: those files name neither the groups nor the scale that config.json has (n_group, routed_scaling_factor).
    "bailingmoe2": Family(router=_SCORED._replace(scaled=False)),
    "glm4moe": Family(router=_SCORED._replace(scaled=False)),
    "hy_v3": Family(router=_SCORED._replace(scaled=False), outputs_normed=True),
    "kimi-linear": Family(rope=Rope.NONE, router=_SCORED._replace(scaled=False)),
    "glm5-next": Family(rope=Rope.NONE, router=_SCORED, own_layer="glm5-next"),
    "kimi-k3": Family(rope=Rope.NONE, router=_SCORED, own_layer="kimi-k3", every_layer=True, situ=True),
    "minimax-01": Family(residual_normed=True, reserved_alone=True),
    "minimax-m2": Family(router=_SCORED._replace(scaled=False)),
    "minimax-m3": Family(router=_SCORED),
    "deepseek2": Family(router=_SCORED._replace(groups=((256, (8, 4)),)), plain_router=Router(normalised=False, scaled=True, groups=((160, (8, 3)),))),
    "deepseek2-ocr": Family(router=Router(normalised=False)),
    "deepseek32": Family(router=_SCORED._replace(groups=((256, (8, 4)),))),
    "glm-dsa": Family(router=_SCORED),
    "deepseek4": Family(router=Router(gate="sqrt_softplus", scaled=True)),
    "afmoe": Family(embedding_scaled=True, rope=Rope.THREE_OF_FOUR, attention_normed=True, router=_SCORED),
    # As measured: those files name neither that weights are normalised nor the scale (moe_routed_scaling_factor, moe_router_scaling_factor).
    "laguna": Family(head_gate="SOFTPLUS", router=_PLAIN_SIGMOID),
    "step35": Family(outputs_last=True, router=_PLAIN_SIGMOID),
    "mimo2": Family(attention_scaled=True, router=_SCORED._replace(scaled=False)),
    "mistral4": Family(router=Router(normalised=False), down_on_host=True),
    "llama4": Family(rope=Rope.THREE_OF_FOUR, plain_qk_norm=True, temperature="unrotated", router=Router(gate="sigmoid", normalised=False, before=True)),
    "granitehybrid": _GRANITE._replace(rope=Rope.STATELESS),
    "jamba": Family(rope=Rope.NONE, residual_first=True, stream_first=True, router=Router(normalised=False)),
    "nemotron_h": _NEMOTRON_H,
    "nemotron_h_moe": _NEMOTRON_H,
    "falcon-h1": Family(),
    "gpt-oss": Family(router=Router(gate="softmax_weight", normalised=False), outputs_last=True),
}


def family_of(layout: Layout) -> Family:
    """How this model's graph differs from others. Raises NotModelled where that is not known."""
    family = FAMILIES.get(layout.architecture)
    if family is None:
        raise NotModelled(f"the graph of {layout.architecture}")
    return family if layout.deepstack or not family.deepstack else family._replace(deepstack=0)
