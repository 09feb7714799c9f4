"""llama.cpp's recipes by hand: which type a tensor gets, layer by layer."""

from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.architectures import layout
from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled
from runlocal.core.errors import Code, Problem
from runlocal.quants.gguf import Recipe, Stored
from runlocal.runtimes.llama_cpp import LlamaCpp


@cache
def opened(model_id: str) -> LlamaCpp:
    return LlamaCpp(bundled(model_id), "0c1e57098", facts("llama.cpp", None))


def stored(model_id: str, quant: str, imatrix: bool | None = None) -> tuple[Stored, ...]:
    return opened(model_id).stored(opened(model_id).recipe(quant, imatrix))


def types(model_id: str, quant: str, role: str, imatrix: bool | None = None) -> dict[str, tuple[int, ...]]:
    """Layers of each type of one kind of tensor; () for a tensor outside the layers."""
    return {found.type.name: found.tensor.layers for found in stored(model_id, quant, imatrix) if found.tensor.role == role}


def only(model_id: str, quant: str, role: str, imatrix: bool | None = None) -> str:
    (name,) = types(model_id, quant, role, imatrix)
    return name


def without(count: int, layers: Iterable[int]) -> tuple[int, ...]:
    left = set(layers)
    return tuple(layer for layer in range(count) if layer not in left)


# use_more_bits(i, 32): the first 32/8 = 4, the last from 7 × 32/8 = 28 on, and between where (i - 4) % 3 == 2.
MORE_OF_32 = (0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31)


def test_more_bits_of_32_layers() -> None:
    assert types("llama-3.1-8b", "Q4_K_M", "attn_v") == {"Q6_K": MORE_OF_32, "Q4_K": without(32, MORE_OF_32)}
    assert types("llama-3.1-8b", "Q4_K_M", "ffn_down") == {"Q6_K": MORE_OF_32, "Q4_K": without(32, MORE_OF_32)}
    assert types("llama-3.1-8b", "Q5_K_M", "ffn_down") == {"Q6_K": MORE_OF_32, "Q5_K": without(32, MORE_OF_32)}


def test_more_bits_of_28_layers() -> None:
    """28/8 = 3 (rounded down) at the start, from 7 × 28/8 = 24 on (rounded down), and between where (i - 3) % 3 == 2."""
    more = (0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27)
    assert types("qwen2.5-7b", "Q4_K_M", "attn_v")["Q6_K"] == more


def test_q4_k_m_of_llama_3_1_8b_in_bytes() -> None:
    """16 of 32 attn_v and ffn_down and the output as Q6_K (210 bytes per 256), every other matrix Q4_K (144), vectors F32: 4,912,898,304."""
    finer = 16 * (4096 * 1024 + 14336 * 4096) + 128256 * 4096
    matrices = 32 * (4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336) + 2 * 128256 * 4096
    vectors = 32 * 2 * 4096 + 4096 + 64
    by_hand = finer // 256 * 210 + (matrices - finer) // 256 * 144 + 4 * vectors
    runtime = opened("llama-3.1-8b")
    assert by_hand == runtime.tensor_bytes(runtime.recipe("Q4_K_M", None)) == 4_912_898_304
    assert runtime.bits_per_weight(runtime.recipe("Q4_K_M", None)) == pytest.approx(8 * by_hand / (matrices + vectors))


def test_q8_0_is_8_and_a_half_bits() -> None:
    matrices = 32 * (4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336) + 2 * 128256 * 4096
    runtime = opened("llama-3.1-8b")
    assert runtime.tensor_bytes(runtime.recipe("Q8_0", None)) == matrices // 32 * 34 + 4 * (65 * 4096 + 64)


@pytest.mark.parametrize(
    ("quant", "output"),
    [
        ("Q8_0", "Q8_0"),
        ("Q4_K_M", "Q6_K"),
        ("Q4_0", "Q6_K"),
        ("Q2_K", "Q6_K"),
        ("IQ4_XS", "Q6_K"),
        ("IQ3_XXS", "Q5_K"),
        ("IQ2_M", "Q5_K"),
        ("IQ1_S", "Q5_K"),
        ("F16", "F16"),
    ],
)
def test_output_matrix(quant: str, output: str) -> None:
    assert only("llama-3.1-8b", quant, "output") == output
    assert only("llama-3.2-1b", quant, "token_embd") == output, "a tied embedding is stored as the output would be"


@pytest.mark.parametrize(
    ("quant", "embedding"),
    [("Q4_K_M", "Q4_K"), ("Q8_0", "Q8_0"), ("IQ1_S", "Q2_K"), ("IQ2_XS", "Q2_K"), ("IQ2_M", "IQ3_S"), ("IQ3_XXS", "IQ3_S"), ("IQ3_M", "IQ3_S")],
)
def test_embedding_that_is_not_tied(quant: str, embedding: str) -> None:
    assert only("llama-3.1-8b", quant, "token_embd") == embedding


@pytest.mark.parametrize(
    ("quant", "grouped", "alone"),
    [
        ("Q2_K", "Q4_K", "Q3_K"),
        ("IQ3_S", "Q4_K", "IQ3_S"),
        ("IQ4_XS", "Q5_K", "IQ4_XS"),
        ("Q3_K_L", "Q5_K", "Q5_K"),
        ("IQ2_XXS", "Q4_K", "Q2_K"),
        ("IQ2_M", "Q4_K", "IQ3_S"),
    ],
)
def test_attn_v_is_finer_with_four_query_heads_per_kv_head(quant: str, grouped: str, alone: str) -> None:
    """Llama 3.1 8B has 32 / 8 = 4, Llama 2 7B 32 / 32 = 1."""
    assert only("llama-3.1-8b", quant, "attn_v") == grouped
    assert only("llama-2-7b", quant, "attn_v") == alone


def test_first_layers() -> None:
    assert types("llama-2-7b", "Q3_K_M", "attn_v") == {"Q5_K": (0, 1), "Q4_K": tuple(range(2, 32))}
    assert types("llama-2-7b", "Q3_K_M", "ffn_down") == {"Q5_K": (0, 1), "Q4_K": tuple(range(2, 32))}, "32 / 16 = 2"
    assert types("llama-2-7b", "Q4_K_S", "attn_v") == {"Q5_K": (0, 1, 2, 3), "Q4_K": tuple(range(4, 32))}, "four"
    assert types("llama-2-7b", "Q4_K_S", "ffn_down") == {"Q5_K": (0, 1, 2, 3), "Q4_K": tuple(range(4, 32))}, "32 / 8"


def test_importance_matrix() -> None:
    """With one Q4_0 keeps the first eighth of ffn_down in Q4_1; without one IQ4_XS keeps it in Q5_K."""
    assert types("llama-2-7b", "Q4_0", "ffn_down", True) == {"Q4_1": (0, 1, 2, 3), "Q4_0": tuple(range(4, 32))}
    assert types("llama-2-7b", "Q4_0", "ffn_down", False) == {"Q4_0": tuple(range(32))}
    assert types("llama-2-7b", "IQ4_XS", "ffn_down", False) == {"Q5_K": (0, 1, 2, 3), "IQ4_XS": tuple(range(4, 32))}
    assert types("llama-2-7b", "IQ4_XS", "ffn_down", True) == {"IQ4_XS": tuple(range(32))}


def test_what_published_files_are_made_with() -> None:
    runtime = opened("llama-3.1-8b")
    assert {name: runtime.recipe(name, None).imatrix for name in ("Q4_0", "Q5_0", "IQ4_XS", "IQ3_XXS", "Q4_K_M", "Q8_0")} == {
        "Q4_0": True,
        "Q5_0": True,
        "IQ4_XS": True,
        "IQ3_XXS": True,
        "Q4_K_M": False,
        "Q8_0": False,
    }


def test_eighty_layers_keep_attn_v_finer() -> None:
    """qwen2 and llama with 80 layers and grouped heads: what would be Q4_K is Q5_K."""
    found = types("qwen2.5-72b", "Q4_K_M", "attn_v")
    assert set(found) == {"Q6_K", "Q5_K"}
    assert only("qwen2.5-72b", "Q2_K", "attn_v") == "Q5_K"
    assert set(types("llama-3.1-70b", "Q4_K_S", "attn_v")) == {"Q5_K"}


def test_eight_experts() -> None:
    for role, name in (("attn_v", "Q8_0"), ("attn_k", "Q8_0"), ("attn_output", "Q5_K"), ("attn_q", "Q4_K")):
        assert only("mixtral-8x7b", "Q4_K_M", role) == name


def test_rows_that_are_no_whole_blocks_fall_back() -> None:
    """gpt-oss: 2880 = 11.25 × 256; Q4_K becomes Q5_0, Q6_K Q8_0. Qwen2.5 0.5B: 896 = 3.5 × 256, its tied embedding Q8_0."""
    assert only("gpt-oss-20b", "Q4_K_M", "attn_q") == "Q5_0"
    assert set(types("gpt-oss-20b", "Q4_K_M", "ffn_down_exps")) == {"Q8_0", "Q5_0"}
    assert only("qwen2.5-0.5b", "Q4_K_M", "token_embd") == "Q8_0"
    assert only("qwen2.5-0.5b", "Q4_K_M", "attn_q") == "Q5_0"
    assert only("qwen2.5-0.5b", "IQ4_XS", "attn_q") == "IQ4_NL"
    assert only("qwen2.5-0.5b", "Q3_K_S", "attn_q") == "Q4_0"


def test_falcon_goes_by_its_name() -> None:
    """Its output is Q8_0; Q4_K_M gives ffn_down Q6_K in the first sixteenth, Q5_K where more bits are wanted."""
    assert only("falcon-7b", "Q4_K_M", "token_embd") == "Q8_0"
    assert types("falcon-7b", "Q4_K_M", "ffn_down")["Q6_K"] == (0, 1)


def test_mxfp4_takes_the_experts_alone() -> None:
    assert only("gpt-oss-20b", "MXFP4_MOE", "ffn_up_exps") == "MXFP4"
    assert only("gpt-oss-20b", "MXFP4_MOE", "attn_q") == "Q8_0"
    assert only("gpt-oss-20b", "MXFP4_MOE", "output") == "Q8_0"
    assert only("deepseek-v2-lite-16b", "MXFP4_MOE", "attn_k_b") == "MXFP4", "every tensor of three dimensions"


def test_what_is_never_quantized() -> None:
    for role in ("attn_norm", "ffn_gate_inp", "attn_sinks", "ffn_up_exps.bias", "output_norm"):
        assert only("gpt-oss-20b", "IQ1_S", role) == "F32"


@pytest.mark.parametrize(
    ("quant", "rules"),
    [("Q6_K_L", "Q6_K"), ("Q5_K_L", "Q5_K_M"), ("Q4_K_L", "Q4_K_M"), ("Q3_K_XL", "Q3_K_L"), ("Q2_K_L", "Q2_K")],
)
def test_variants_store_embedding_and_output_in_q8_0(quant: str, rules: str) -> None:
    """`--token-embedding-type q8_0 --output-tensor-type q8_0` on an ordinary recipe; everything else is as in that."""
    outer = ("token_embd", "output", "per_layer_token_embd")
    for model_id in ("llama-3.1-8b", "llama-3.2-1b", "gemma-3n-e4b", "mixtral-8x7b"):
        for role in outer:
            assert set(types(model_id, quant, role)) <= {"Q8_0"}
        inner, base = ([s for s in stored(model_id, name) if s.tensor.role not in outer] for name in (quant, rules))
        assert inner == base


def test_q4_k_l_of_llama_3_1_8b_in_bytes() -> None:
    """As Q4_K_M by hand, with embedding and output in Q8_0 (34 bytes per 32): 5,302,796,544. The published file has 7,840,928 more."""
    outer = 2 * 128256 * 4096
    finer = 16 * (4096 * 1024 + 14336 * 4096)
    layers = 32 * (4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336)
    by_hand = outer // 32 * 34 + finer // 256 * 210 + (layers - finer) // 256 * 144 + 4 * (65 * 4096 + 64)
    assert by_hand == opened("llama-3.1-8b").tensor_bytes(opened("llama-3.1-8b").recipe("Q4_K_L", None)) == 5_302_796_544


def test_q4_k_l_of_a_tied_embedding_in_bytes() -> None:
    """One matrix of 128,256 rows of 2,048: the base recipe stores it in Q6_K (210 bytes per 256), this in Q8_0 (272)."""
    runtime = opened("llama-3.2-1b")
    more = runtime.tensor_bytes(runtime.recipe("Q4_K_L", None)) - runtime.tensor_bytes(runtime.recipe("Q4_K_M", None))
    assert more == 128256 * 2048 // 256 * (272 - 210)


def test_q4_0_of_quantization_aware_training() -> None:
    """Google's files of Gemma 3: Q4_0 without an importance matrix, the tied embedding in F16. 27B: 17.2 GB were published."""
    assert only("gemma-3-27b", "qat-q4_0", "token_embd") == "F16"
    assert types("gemma-3-27b", "QAT_Q4_0", "ffn_down") == {"Q4_0": tuple(range(62))}
    assert opened("gemma-3-27b").tensor_bytes(opened("gemma-3-27b").recipe("QAT-Q4_0", None)) == pytest.approx(17.2e9, abs=0.05e9)
    with pytest.raises(Problem):
        opened("llama-3.1-8b").recipe("QAT_Q4_0", None)


@pytest.mark.parametrize(("typed", "name"), [("q4_k_m", "Q4_K_M"), (" Q4-K-M ", "Q4_K_M"), ("fp16", "F16"), ("mxfp4", "MXFP4_MOE"), ("bf16", "BF16")])
def test_names_as_typed(typed: str, name: str) -> None:
    assert opened("llama-3.1-8b").recipe(typed, None).name == name


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(Problem) as problem:
        opened("llama-3.1-8b").recipe("Q4_K_X", None)
    assert problem.value.code is Code.UNKNOWN_QUANT
    assert "Q4_K_M" in problem.value.candidates or "Q4_K_S" in problem.value.candidates


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("Q4", ["Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "Q4_K_L"]),
        ("q4km", ["Q4_K_M"]),
        ("Q4_K", ["Q4_K_M", "Q4_K_S"]),
        ("Q5", ["Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q5_K_L"]),
        ("Q6", ["Q6_K", "Q6_K_L"]),
        ("Q8", ["Q8_0"]),
        ("q3", ["Q3_K_M", "Q3_K_L", "Q3_K_S", "Q3_K_XL"]),
        ("Q2", ["Q2_K", "Q2_K_S", "Q2_K_L"]),
        ("iq4", ["IQ4_XS", "IQ4_NL"]),
    ],
)
def test_the_usual_ones_of_those_that_begin_so_come_first(typed: str, near: list[str]) -> None:
    with pytest.raises(Problem) as problem:
        opened("llama-3.1-8b").recipe(typed, None)
    assert list(problem.value.candidates[: len(near)]) == near


FINER = [
    ("Q8_0", "Q6_K"),
    ("Q6_K", "Q5_K_M"),
    ("Q5_K_M", "Q5_K_S"),
    ("Q5_K_S", "Q4_K_M"),
    ("Q4_K_M", "Q4_K_S"),
    ("Q4_K_S", "Q3_K_L"),
    ("Q3_K_L", "Q3_K_M"),
    ("Q3_K_M", "Q3_K_S"),
]
FINER += [("Q3_K_S", "Q2_K"), ("F16", "Q8_0"), ("IQ4_XS", "IQ3_M"), ("IQ3_M", "IQ3_XXS"), ("IQ3_XXS", "IQ2_M"), ("IQ2_M", "IQ2_XXS"), ("IQ2_XXS", "IQ1_S")]


@settings(deadline=None, max_examples=40)
@given(
    model=st.sampled_from(["llama-3.1-8b", "mixtral-8x7b", "deepseek-v2-lite-16b", "phi-4-14b", "llama-3.2-90b-vision", "qwen2.5-72b"]),
    pair=st.sampled_from(FINER),
)
def test_more_bits_are_never_fewer_bytes(model: str, pair: tuple[str, str]) -> None:
    runtime = opened(model)
    finer, coarser = (runtime.tensor_bytes(runtime.recipe(name, None)) for name in pair)
    assert finer > coarser


def test_a_group_is_split_and_never_lost() -> None:
    """Whatever the recipe does, every tensor is stored exactly once."""
    wanted = {tensor.role: set(tensor.layers) for tensor in layout(bundled("mixtral-8x7b")).tensors()}
    for name in ("Q4_K_M", "IQ2_XS", "Q3_K_M", "IQ3_XS"):
        found: dict[str, list[int]] = {}
        for part in stored("mixtral-8x7b", name):
            found.setdefault(part.tensor.role, []).extend(part.tensor.layers)
        assert {role: len(layers) for role, layers in found.items()} == {role: len(layers) for role, layers in wanted.items()}
        assert {role: set(layers) for role, layers in found.items()} == wanted


def test_recipes_are_values() -> None:
    assert Recipe("Q4_K_M", "Q4_K", False) == opened("llama-3.1-8b").recipe("Q4_K_M", None)


def test_layers_without_mlp_are_not_counted() -> None:
    """Nemotron Ultra has 81 MLPs in 162 layers. IQ3_XS stores gates coarser from the 20th on that the quantizer meets, 162/8; 7 × 162/8 is never reached."""
    gates = [found for found in stored("llama-3.1-nemotron-ultra-253b", "IQ3_XS") if found.tensor.role == "ffn_gate"]
    widths = bundled("llama-3.1-nemotron-ultra-253b").text.intermediate_sizes or ()
    met = [layer for layer, width in enumerate(widths) if width]
    fine = {layer for found in gates if found.type.name == "IQ3_S" for layer in found.tensor.layers}
    assert {found.type.name for found in gates} == {"IQ3_S", "IQ3_XXS"}
    assert fine == set(met[:20])
