"""How vLLM shares a model out: which sizes it takes, which layers go to which stage, and what a rank then holds, held against its own logs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.catalog.facts import facts
from runlocal.catalog.models import find_model
from runlocal.catalog.runtimes import constants
from runlocal.core.model import Context, ModelSpec, Parameters, Text
from runlocal.engines.vllm.parallel import refuses, sizes, stages
from runlocal.engines.vllm.shards import rank_bytes, rope_cache_bytes

GIB = 1 << 30
MULTIPLE = 64
VLLM = facts("vllm", None).runtime
REPORT = "https://github.com/llm-d-incubation/llm-d-planner/blob/main/docs/accuracy/vllm-v0.19.0-accuracy-report.md"


def held(model: str | ModelSpec, ranks: int = 1, stages: int = 1) -> tuple[int, ...]:
    spec = find_model(model) if isinstance(model, str) else model
    found = rank_bytes(spec, tensor_parallel=ranks, pipeline_parallel=stages, constants=VLLM)
    assert found is not None
    return found


def logged(model: str, ranks: int = 1, stages: int = 1) -> float:
    """GiB as vLLM logs them: the fullest stage's weights, and the table of rotations."""
    element_bytes = constants("vllm")["rope_cache_element_bytes"].value
    assert isinstance(element_bytes, int)
    return (max(held(model, ranks, stages)) + rope_cache_bytes(find_model(model), element_bytes)) / GIB


def test_the_constants_are_those_of_the_data() -> None:
    assert constants("vllm")["vocabulary_multiple"].value == MULTIPLE


@pytest.mark.parametrize(
    ("model", "ranks", "stages", "measured"),
    [
        ("llama-3.1-8b", 1, 1, 14.99),
        ("llama-3.1-8b", 2, 1, 7.51),
        ("llama-3.1-8b", 4, 1, 3.77),
        ("llama-3.1-8b", 1, 2, 7.51),
        ("llama-3.1-8b", 1, 4, 4.26),
        ("qwen3-8b", 1, 1, 15.27),
        ("qwen3-8b", 1, 3, 5.48),
    ],
)
def test_measured_weights(model: str, ranks: int, stages: int, measured: float) -> None:
    """REPORT, vLLM 0.19.0 on H100: to its last digit."""
    assert round(logged(model, ranks, stages), 2) == measured


@pytest.mark.parametrize(("ranks", "measured"), [(1, 14.25), (2, 7.12), (4, 3.55)])
def test_measured_weights_of_a_model_with_biases(ranks: int, measured: float) -> None:
    """REPORT: one rank logs 0.06 GiB more than the checkpoint has, whatever they are; the more ranks, the less."""
    assert logged("qwen2.5-7b", ranks) == pytest.approx(measured, rel=0.005)


@pytest.mark.parametrize(("ranks", "measured"), [(1, 19.9073), (4, 5.1131)])
def test_measured_weights_with_a_tower(ranks: int, measured: float) -> None:
    """https://github.com/vllm-project/vllm/issues/8879: the tables of positions are whole on every rank, the blocks are cut."""
    assert logged("llama-3.2-11b-vision", ranks) == pytest.approx(measured, rel=0.0015)


def test_llama_by_hand() -> None:
    """Llama 3.1 8B on two ranks, in values: 32 layers of 4096, 32 heads and 8 KV heads of 128, an MLP of 14,336, a vocabulary of 128,256 = 64 × 2,004."""
    attention = 2 * 4096 * 4096 // 2 + 2 * 4096 * 1024 // 2
    mlp = 3 * 4096 * 14336 // 2
    norms = 2 * 4096
    assert held("llama-3.1-8b", 2) == (2 * (32 * (attention + mlp + norms) + 4096 + 2 * 128256 * 4096 // 2),)


def test_kv_heads_are_held_by_several_ranks_where_they_are_fewer() -> None:
    """Qwen3 30B A3B has 4 KV heads of 128: of K and V, 8 ranks hold 8 heads, twice as many, in 48 layers of 2,048."""
    four, eight = (ranks * held("qwen3-30b-a3b", ranks)[0] for ranks in (4, 8))
    norms_and_routers = 48 * (2 * 2048 + 2 * 128 + 128 * 2048) + 2048
    assert eight - four == 2 * (2 * 4 * 128 * 2048 * 48 + 4 * norms_and_routers)


@pytest.mark.parametrize(
    ("model", "ranks", "reason"),
    [
        ("llama-3.1-8b", 3, "32 attention heads are not divisible by 3"),
        # https://github.com/vllm-project/vllm/issues/5951
        ("phi-3-medium-14b", 4, "10 KV heads are not divisible by 4, nor 4 by 10"),
        # https://github.com/vllm-project/vllm/issues/1399: 32,064 is not divisible by 5
        ("phi-3-medium-14b", 5, "the vocabulary, padded to a multiple of 64, of 32,064 is not divisible by 5"),
        # https://github.com/vllm-project/vllm/issues/31474: 151,552 cannot be divided by 6
        ("glm-4.7-355b", 6, "the vocabulary, padded to a multiple of 64, of 151,552 is not divisible by 6"),
        ("qwen3-8b", 64, "32 attention heads are not divisible by 64"),
    ],
)
def test_what_is_refused(model: str, ranks: int, reason: str) -> None:
    assert refuses(find_model(model), ranks, VLLM) == f"vLLM cuts every layer into equal parts: {reason}"


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("llama-3.1-8b", (1, 2, 4, 8, 16, 32)),
        ("llama-3.2-3b", (1, 2, 4, 8)),  # 24 heads and 8 KV heads: 3, 6 and 12 do not divide those, and 24 not the MLP's 8,192
        ("qwen2.5-7b", (1, 2, 4)),  # 28 heads, 4 KV heads: 28 would hold them 7 times, and does not divide 152,064 rows
        ("phi-3-medium-14b", (1, 2)),
    ],
)
def test_what_is_taken(model: str, taken: tuple[int, ...]) -> None:
    assert sizes(find_model(model), VLLM) == taken


@pytest.mark.parametrize("model", ["mamba-2.8b", "qwen3-next-80b-a3b", "falcon-h1-7b", "deepseek-v4-flash"])
def test_layers_whose_rules_are_not_known_have_no_list(model: str) -> None:
    assert sizes(find_model(model), VLLM) is None


def test_what_is_not_known_has_no_size() -> None:
    """Checkpoints of 8 or 4 bits; norms over all heads, which some of vLLM's classes cut and some do not; towers but one."""
    for model in ("deepseek-r1-671b", "gpt-oss-20b", "olmo-2-7b", "qwen2.5-vl-7b"):
        assert rank_bytes(find_model(model), tensor_parallel=2, pipeline_parallel=1, constants=VLLM) is None, model


@pytest.mark.parametrize(
    ("layers", "count", "dealt"),
    [
        (32, 4, [8, 8, 8, 8]),
        (33, 4, [8, 8, 9, 8]),
        (34, 4, [8, 9, 9, 8]),
        (35, 4, [9, 9, 9, 8]),
        (7, 2, [4, 3]),
        (1, 1, [1]),
    ],
)
def test_stages(layers: int, count: int, dealt: list[int]) -> None:
    """The last has the output and the first the embedding: what is left over goes elsewhere first."""
    assert [len(stage) for stage in stages(layers, count)] == dealt


@given(layers=st.integers(1, 200), count=st.integers(1, 64))
def test_stages_are_all_layers_once_in_order(layers: int, count: int) -> None:
    dealt = stages(layers, count)
    assert [layer for stage in dealt for layer in stage] == list(range(layers))
    assert len(dealt) == count
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def made(**text: Any) -> ModelSpec:
    """A model of Llama's architecture."""
    return ModelSpec(
        id="made",
        name="Made",
        family="made",
        vendor="nobody",
        released="2026-01-01",
        variant="base",
        architecture="llama",
        hf_architecture="LlamaForCausalLM",
        modalities=("text",),
        checkpoint_type="BF16",
        license="mit",
        context=Context(native_tokens=4096),
        parameters=Parameters(source="https://example.org"),
        text=Text(**text),
        aliases=(),
        sources=(),
    )


@given(
    layers=st.integers(1, 12),
    heads=st.integers(1, 6).map(lambda power: 2**power),
    group=st.integers(0, 4).map(lambda power: 2**power),
    ranks=st.integers(0, 5).map(lambda power: 2**power),
    count=st.integers(1, 5),
    vocabulary=st.integers(1, 300),
    width=st.integers(1, 8),
    tied=st.booleans(),
    biased=st.booleans(),
)
def test_the_ranks_hold_the_model_and_what_is_duplicated(
    layers: int, heads: int, group: int, ranks: int, count: int, vocabulary: int, width: int, tied: bool, biased: bool
) -> None:
    """Norms are whole on every rank; KV heads fewer than ranks are held by several; a tied matrix lies on the last stage again."""
    ranks, kv_heads, hidden, head_dim = min(ranks, heads), max(1, heads // group), 64, 16
    model = made(
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary_size=vocabulary,
        tied_embeddings=tied,
        intermediate_size=64 * width,
        qkv_bias=biased,
    )
    assert refuses(model, ranks, VLLM) is None
    (single,), several = held(model), held(model, ranks, count)
    kv_values = 2 * head_dim * (hidden + biased) * layers
    norms = (2 * layers + 1) * hidden
    rows = -(-vocabulary // MULTIPLE) * MULTIPLE
    twice = kv_values * (max(kv_heads, ranks) - kv_heads) + norms * (ranks - 1) + (rows * hidden if tied and count > 1 else 0)
    assert ranks * sum(several) == single + 2 * twice
