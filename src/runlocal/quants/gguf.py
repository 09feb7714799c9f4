"""llama.cpp's recipes: which storage type each tensor of a GGUF file gets.

Every rule here is one of `llama_tensor_get_type`, `llama_tensor_get_type_impl`, `tensor_type_fallback` and `tensor_allows_quantization` in llama.cpp's
src/llama-quant.cpp. Work is done on groups of equal tensors: only where a rule looks at the layer is a group split.
"""

from collections.abc import Callable, Container, Iterator, Mapping

from runlocal.core.layout import Layout
from runlocal.core.model import PublishedFile
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import StorageType, Tensor

Types = Mapping[str, StorageType]


class Recipe(NamedTuple):
    """A quantization that llama.cpp's quantizer makes.

    name: as people type it, `Q4_K_M`
    default_type: the type of tensors that no rule names
    imatrix: whether the file is made with an importance matrix
    rules: the quantizer's own name where a publisher gave it another: `Q4_K_M` of `Q4_K_L`
    embedding_type: what `--token-embedding-type` names
    output_type: what `--output-tensor-type` names
    file: it is no recipe but a publisher's mixture: one file, whose size is known and the types of whose tensors are not
    """

    name: str
    default_type: str
    imatrix: bool
    rules: str | None = None
    embedding_type: str | None = None
    output_type: str | None = None
    file: PublishedFile | None = None


class Stored(NamedTuple):
    """Tensors of a group that are stored alike: `tensor.layers` are the layers of this part of the group."""

    tensor: Tensor
    type: StorageType

    @property
    def tensor_bytes(self) -> int:
        """Bytes of one tensor, without padding."""
        return self.type.row_bytes(self.tensor.columns) * self.tensor.rows * self.tensor.copies


class _Traits(NamedTuple):
    """What the rules look at beside the tensor itself."""

    recipe: Recipe
    architecture: str
    experts: int
    kv_group: int
    stored_layers: int
    large_v: bool
    tied: bool


DYNAMIC = "UD"  # how the names of Unsloth's dynamic mixtures begin
_SHARD_WORDS = 3  # 00001-of-00003
_ATTENTION_V = ("attn_v", "attn_qkv", "attn_kv_b")
_ATTENTION_QUERY_KEY = ("attn_k", "attn_q", "indexer.attn_k")  # a rule names the end of the name
_LOW_BIT = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
_TWO_BIT_S_M = ("IQ2_S", "IQ2_M")
_FALLBACK = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_DOWN, _UP_AND_GATE = "ffn_down", ("ffn_up", "ffn_gate")  # anywhere in a name: `hc_ffn_down` too
_EIGHT = 8  # Mixtral's experts, which several rules name
_GROUPED = 4  # from this many query heads per KV head on, attn_v is small enough to be stored finer
_FIRST_Q3_K_M, _FIRST_Q4_K_S = 2, 4  # so many attn_v come out finer in these
_LARGE_LAYERS = 80  # llama.cpp calls models of these architectures with so many layers "70B" and stores attn_v finer
_LARGE_ARCHITECTURES = ("qwen2", "deci", "olmo")
_LARGE_IF_SHARED = "llama"  # "70B" only where heads share attn_v; else "65B"
_NEVER_BELOW_Q8_0 = ("attn_q_a", "attn_q_b", "nextn.eh_proj")  # of GLM-5.3 Flash
_UNQUANTIZED = ("F32", "F16", "BF16")
_EMBEDDINGS = ("token_embd", "per_layer_token_embd")
_EMBEDDING_TYPES = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0", "Q2_0"), "Q4_K"),
}
_EIGHT_EXPERT_OUTPUT = ("Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS")


def typed_name(text: str, known: Container[str]) -> str:
    """A quantization as typed, or the one that a file's name ends in, as names are written here: upper case, `_` for `-`.

    known: the names there are, so written
    """
    typed = text.strip().upper().rpartition(":")[2]
    if not typed.endswith(".GGUF"):
        return typed.replace("-", "_")
    words = typed.removesuffix(".GGUF").replace("-", "_").replace(".", "_").split("_")
    if len(words) > _SHARD_WORDS and words[-2] == "OF":
        words = words[:-_SHARD_WORDS]
    for start in range(len(words)):
        if words[start] == DYNAMIC or "_".join(words[start:]) in known:
            return "_".join(words[start:])
    return words[-1]


def store(layout: Layout, tensors: tuple[Tensor, ...], recipe: Recipe, types: Types) -> tuple[Stored, ...]:
    """Every tensor of the file with the type that the quantizer gives it; `tensors` are `layout.tensors()`."""
    traits = _Traits(
        recipe=recipe._replace(name=recipe.rules or recipe.name),
        architecture=layout.architecture,
        experts=layout.experts,
        kv_group=layout.kv_group,
        stored_layers=layout.stored_layers,
        large_v=layout.layers == _LARGE_LAYERS
        and (layout.architecture in _LARGE_ARCHITECTURES or (layout.architecture == _LARGE_IF_SHARED and layout.kv_group > 1)),
        tied=layout.tied,
    )
    return tuple(stored for tensor in tensors for stored in _store(tensor, traits, tensors, types))


def _store(tensor: Tensor, traits: _Traits, tensors: tuple[Tensor, ...], types: Types) -> Iterator[Stored]:
    if not tensor.quantizable:
        yield Stored(tensor, types[tensor.source_type or "F32"])
        return
    chosen = _choose(tensor, traits, tensors, types)
    if isinstance(chosen, str):
        yield Stored(tensor, types[_fit(chosen, tensor.columns, types)])
        return
    by_type: dict[str, list[int]] = {}
    for layer in tensor.layers:
        by_type.setdefault(chosen(layer), []).append(layer)
    for name, layers in by_type.items():
        yield Stored(tensor._replace(layers=tuple(layers)), types[_fit(name, tensor.columns, types)])


def _fit(name: str, columns: int, types: Types) -> str:
    """The type itself, or the one the quantizer falls back to where a row is no whole number of blocks."""
    if columns % types[name].block_elements == 0:
        return name
    name = _FALLBACK.get(name, name)
    return name if columns % types[name].block_elements == 0 else "F16"


def _choose(tensor: Tensor, traits: _Traits, tensors: tuple[Tensor, ...], types: Types) -> str | Callable[[int], str]:
    """The type of a tensor before fallback: a name, or a function of the layer where the rule looks at it."""
    recipe, role = traits.recipe, tensor.role
    if traits.architecture == "glm5-next" and role in _NEVER_BELOW_Q8_0 and recipe.default_type not in _UNQUANTIZED:
        return "Q8_0"
    if recipe.embedding_type and role in _EMBEDDINGS:
        return recipe.embedding_type
    if recipe.output_type and role == "output":
        return recipe.output_type
    if recipe.default_type == "F16" and tensor.source_type:
        return tensor.source_type  # that file is the converter's own
    if recipe.default_type in _UNQUANTIZED:
        return recipe.default_type
    if role == "output" or (traits.tied and role in _EMBEDDINGS):
        return _output_type(tensor, traits, types)
    if recipe.name == "MXFP4_MOE":
        return "MXFP4" if tensor.copies > 1 else "Q8_0"
    if role in _EMBEDDINGS:
        return _EMBEDDING_TYPES.get(recipe.name, recipe.default_type)
    if recipe.name in _LOW_BIT:
        return _low_bit_type(role, traits, tensors)
    if role in _ATTENTION_V:
        return _attention_v_type(traits, tensors)
    if role == "attn_k" and traits.experts == _EIGHT:
        return "Q8_0"
    if role in _ATTENTION_QUERY_KEY:
        return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(recipe.name, recipe.default_type)
    if _DOWN in role:
        return _ffn_down_type(role, traits, tensors)
    if role == "attn_output":
        return _attention_output_type(traits)
    if any(name in role for name in _UP_AND_GATE) and recipe.name == "IQ3_XS":
        layers, place = traits.stored_layers, _places(role, traits, tensors)
        return lambda layer: "IQ3_XXS" if layers // 8 <= place[layer] < 7 * layers // 8 else "IQ3_S"
    return recipe.default_type


def _output_type(tensor: Tensor, traits: _Traits, types: Types) -> str:
    recipe = traits.recipe
    if recipe.output_type:
        return recipe.output_type
    partial = tensor.columns % types[recipe.default_type].block_elements != 0
    if recipe.name == "MXFP4_MOE" or traits.architecture == "falcon" or partial:
        return "Q8_0"
    if recipe.name in (*_LOW_BIT, "IQ3_XXS"):
        return "Q5_K"
    return recipe.default_type if recipe.default_type == "Q8_0" else "Q6_K"


def _low_bit_type(role: str, traits: _Traits, tensors: tuple[Tensor, ...]) -> str | Callable[[int], str]:
    recipe = traits.recipe
    finer = "IQ3_S" if recipe.name in _TWO_BIT_S_M else "Q2_K"
    if role in _ATTENTION_V:
        return "Q4_K" if traits.kv_group >= _GROUPED or traits.experts >= _GROUPED else finer
    if role == "attn_k" and traits.experts == _EIGHT:
        return "Q4_K"
    if _DOWN in role:
        # Here the quantizer counts every ffn_down tensor it meets, experts and shared experts alike, even in mixtures of experts.
        walk = sorted((layer, t.role) for t in tensors if _DOWN in t.role and t.quantizable for layer in t.layers)
        first = {layer for layer, name in walk[: traits.stored_layers // 8] if name == role}
        return lambda layer: finer if layer in first else recipe.default_type
    if role == "attn_output":
        if traits.experts == _EIGHT:
            return "Q5_K"
        return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(recipe.name, recipe.default_type)
    return recipe.default_type


def _attention_v_type(traits: _Traits, tensors: tuple[Tensor, ...]) -> str | Callable[[int], str]:
    if traits.experts == _EIGHT:
        return "Q8_0"
    recipe, grouped = traits.recipe, traits.kv_group >= _GROUPED
    default = recipe.default_type

    def finer(name: str) -> str:
        return "Q5_K" if traits.large_v and name in ("Q3_K", "Q4_K") else name

    layers = sorted(layer for t in tensors if t.role in _ATTENTION_V for layer in t.layers)
    match recipe.name:
        case "Q2_K":
            return finer("Q4_K" if grouped else "Q3_K")
        case "Q2_K_S" | "IQ3_XS" | "IQ3_S":
            return finer("Q4_K" if grouped else default)
        case "IQ3_XXS":
            return finer("Q4_K" if grouped else "IQ3_XXS" if recipe.imatrix else "IQ3_S")
        case "IQ3_M":
            return finer("Q4_K")
        case "Q3_K_L":
            return "Q5_K"
        case "IQ4_NL" | "IQ4_XS":
            return "Q5_K" if grouped else default
        case "Q3_K_M":
            return lambda layer: "Q5_K" if layers.index(layer) < _FIRST_Q3_K_M else finer("Q4_K")
        case "Q4_K_S":
            return lambda layer: "Q5_K" if layers.index(layer) < _FIRST_Q4_K_S else finer(default)
        case "Q4_K_M" | "Q5_K_M":
            return lambda layer: "Q6_K" if _use_more_bits(layers.index(layer), len(layers)) else finer(default)
        case _:
            return finer(default)


def _places(role: str, traits: _Traits, tensors: tuple[Tensor, ...]) -> dict[int, int]:
    """Which of the model's tensors of that role a layer's is: in mixtures of experts the layer's number, else a count of those met."""
    if traits.experts > 1:
        return {layer: layer for layer in range(traits.stored_layers)}
    return {layer: rank for rank, layer in enumerate(sorted(layer for t in tensors if t.role == role for layer in t.layers))}


def _ffn_down_type(role: str, traits: _Traits, tensors: tuple[Tensor, ...]) -> str | Callable[[int], str]:
    recipe, falcon, count = traits.recipe, traits.architecture == "falcon", traits.stored_layers
    default = recipe.default_type
    place = _places(role, traits, tensors)
    first = count // 8
    match recipe.name:
        case "Q2_K":
            return "Q3_K"
        case "Q2_K_S":
            return lambda layer: "Q4_K" if place[layer] < first else default
        case "IQ3_XXS" if not recipe.imatrix:
            return lambda layer: "Q4_K" if place[layer] < first else "Q3_K"
        case "Q3_K_M":
            return lambda layer: "Q5_K" if place[layer] < count // 16 else "Q4_K" if not falcon or _use_more_bits(place[layer], count) else "Q3_K"
        case "IQ3_M":
            eight = traits.experts == _EIGHT
            return lambda layer: "Q4_K" if place[layer] < first or (eight and _use_more_bits(place[layer], count)) else default
        case "Q3_K_L":
            return "Q4_K" if falcon else "Q5_K"
        case "Q4_K_M" if falcon:
            return lambda layer: "Q6_K" if place[layer] < count // 16 else "Q5_K" if _use_more_bits(place[layer], count) else "Q4_K"
        case "Q4_K_M" | "Q5_K_M":
            return lambda layer: "Q6_K" if _use_more_bits(place[layer], count) else default
        case "IQ4_NL" | "IQ4_XS" if not recipe.imatrix:
            return lambda layer: "Q5_K" if place[layer] < first else default
        case "Q4_K_S" if not falcon:
            return lambda layer: "Q5_K" if place[layer] < first else default
        case "Q4_0" | "Q5_0" if recipe.imatrix:
            return lambda layer: f"{default[:-1]}1" if place[layer] < first else default
        case _:
            return default


def _attention_output_type(traits: _Traits) -> str:
    recipe = traits.recipe
    if traits.architecture == "falcon":
        return "Q4_K" if recipe.name == "Q3_K_L" else recipe.default_type
    if traits.experts == _EIGHT:
        return "Q5_K" if recipe.name in _EIGHT_EXPERT_OUTPUT else recipe.default_type
    return {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}.get(recipe.name, recipe.default_type)


def _use_more_bits(index: int, count: int) -> bool:
    """The first and last eighth, and every third between."""
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2  # noqa: PLR2004 - every third
