"""Every bundled model that llama.cpp can hold, written as a header and read back, is laid out as before."""

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from runlocal.architectures import ARCHITECTURES, layout
from runlocal.catalog.facts import storage_types
from runlocal.catalog.models import spec_from_table
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec
from runlocal.quants.gguf import Recipe, store
from runlocal.sources import gguf, read
from runlocal.sources.gguf.origin import BY_NAME_ONLY

from .ggufwriter import file_of, write

DATA = Path(__file__).parents[2] / "data/models"
SPECS = [spec_from_table(path.stem, tomllib.loads(path.read_text())) for path in sorted(DATA.glob("*/*.toml"))]
LAID_OUT = [model for model in SPECS if model.architecture in ARCHITECTURES.keys() - BY_NAME_ONLY]

# config.json has a window there, llama.cpp keeps every token: what the file becomes is what llama.cpp does.
UNWINDOWED = ("llama", "mistral3", "phi3", "phimoe", "starcoder2")


def flat(laid: Layout) -> Counter[tuple[object, ...]]:
    """Tensors one by one, whatever the order and the grouping."""
    return Counter((t.role, t.columns, t.rows, t.copies, t.skipped, layer) for t in laid.tensors() for layer in t.layers or (None,))


def caches(laid: Layout) -> list[tuple[object, ...]]:
    return sorted((cache.kind, cache.layers, cache.k_values, cache.v_values, cache.window_tokens or 0) for cache in laid.caches())


def used(model: ModelSpec) -> tuple[int, int]:
    """Experts and those used per token, which no tensor's shape tells."""
    return (model.text.experts.count, model.text.experts.used) if model.text.experts else (0, 0)


@pytest.mark.parametrize("model", LAID_OUT, ids=lambda model: model.id)
def test_round_trip(model: ModelSpec, tmp_path: Path) -> None:
    types = storage_types()
    if model.architecture in UNWINDOWED:
        model = model._replace(text=model.text._replace(window=None))
    laid = layout(model)
    tensors = laid.tensors()
    whole = all(tensor.columns % 256 == 0 for tensor in tensors if tensor.quantizable)
    weights = store(laid, tensors, Recipe("Q4_K_M", "Q4_K", False) if whole else Recipe("BF16", "BF16", False), types)
    writer = file_of(model, laid, weights)
    found = read(write(tmp_path / f"{model.id}.gguf", writer.bytes()))
    assert found.header is not None
    again = layout(found.spec)
    assert flat(again) == flat(laid)
    assert caches(again) == caches(laid)
    assert again._replace(outer=(), placed=()) == laid._replace(outer=(), placed=())
    assert (found.spec.text.heads, found.spec.text.kv_heads, found.spec.text.head_dim) == (model.text.heads, model.text.kv_heads, model.text.head_dim)
    assert used(found.spec) == used(model)
    assert found.spec.context.native_tokens == model.context.native_tokens
    assert not [warning for warning in found.warnings if "not quite" in warning]
    real = gguf.stored(found.header, types, laid.layers, laid.loaded_ahead)
    assert Counter((s.tensor.role, s.type.name, s.tensor_bytes, s.tensor.skipped, layer) for s in real for layer in s.tensor.layers or (None,)) == Counter(
        (s.tensor.role, s.type.name, s.tensor_bytes, s.tensor.skipped, layer) for s in weights for layer in s.tensor.layers or (None,)
    )
    assert gguf.tensor_bytes(found.header, types) == sum(s.tensor_bytes * s.tensor.count for s in weights)


def test_linear_layers_that_are_not_as_the_fields_say(tmp_path: Path) -> None:
    model = next(model for model in LAID_OUT if model.id == "qwen3-coder-next-80b-a3b")
    laid = layout(model)
    weights = store(laid, laid.tensors(), Recipe("BF16", "BF16", False), storage_types())
    with pytest.raises(Problem, match=r"before llama\.cpp split") as caught:
        read(write(tmp_path / "early.gguf", file_of(model, laid, weights).tensor("blk.0.ssm_in.weight", (2048, 12288)).bytes()))
    assert caught.value.code is Code.NOT_COMPUTED
    delta = model.text.delta_net
    assert delta is not None
    other = model._replace(text=model.text._replace(delta_net=delta._replace(value_heads=16)))
    with pytest.raises(Problem, match="contradict the tensor ssm_conv1d") as caught:
        read(write(tmp_path / "odd.gguf", file_of(other, laid, weights).bytes()))
    assert caught.value.code is Code.BAD_FILE


def test_there_is_something_to_write() -> None:
    assert len(LAID_OUT) > 250


def test_state_space_layers_that_are_not_as_the_fields_say(tmp_path: Path) -> None:
    for model_id, changes in (("jamba-reasoning-3b", {"state_size": 8}), ("nemotron-h-8b", {"heads": 64}), ("mamba-130m", {"inner_size": 1024})):
        model = next(model for model in LAID_OUT if model.id == model_id)
        mamba, laid = model.text.mamba, layout(model)
        assert mamba is not None
        weights = store(laid, laid.tensors(), Recipe("BF16", "BF16", False), storage_types())
        other = model._replace(text=model.text._replace(mamba=mamba._replace(**changes)))
        found = write(tmp_path / f"{model_id}.gguf", file_of(other, laid, weights).bytes())
        with pytest.raises(Problem, match="contradict their tensors") as caught:
            read(found)
        assert caught.value.code is Code.BAD_FILE


def test_delta_layers_that_are_not_as_the_fields_say(tmp_path: Path) -> None:
    for model_id, changes, words in (
        ("kimi-linear-48b-a3b", {"head_dim": 64}, "contradict the tensor ssm_conv1d_q"),
        ("kimi-k3-2.8t-a104b", {"conv_size": 3}, "contradict the tensor ssm_conv1d_q"),
    ):
        model = next(model for model in LAID_OUT if model.id == model_id)
        kimi, laid = model.text.kimi_delta, layout(model)
        assert kimi is not None
        weights = store(laid, laid.tensors(), Recipe("BF16", "BF16", False), storage_types())
        other = model._replace(text=model.text._replace(kimi_delta=kimi._replace(**changes)))
        with pytest.raises(Problem, match=words) as caught:
            read(write(tmp_path / f"{model_id}.gguf", file_of(other, laid, weights).bytes()))
        assert caught.value.code is Code.BAD_FILE


def test_what_else_delta_layers_need(tmp_path: Path) -> None:
    for model_id, role, words in (
        ("glm-5.3-flash-321b-a18b", "indexer.attn_k", "no indexer of their own"),
        ("kimi-k3-2.8t-a104b", "ffn_routed_norm", "other layers than Kimi K3"),
        ("qwen3.8-flash-next-180b-a6b", "ple_key", "no table of n-grams"),
        ("qwen3.8-flash-next-180b-a6b", "indexer.k_proj", "do not choose blocks of one length"),
    ):
        model = next(model for model in LAID_OUT if model.id == model_id)
        laid = layout(model)
        weights = store(laid, tuple(t for t in laid.tensors() if t.role != role), Recipe("BF16", "BF16", False), storage_types())
        with pytest.raises(Problem, match=words) as caught:
            read(write(tmp_path / f"{model_id}.gguf", file_of(model, laid, weights).bytes()))
        assert caught.value.code is Code.NOT_COMPUTED


def test_blocks_are_chosen_in_the_layers_with_experts(tmp_path: Path) -> None:
    model = next(model for model in LAID_OUT if model.id == "minimax-m3-427b-a23b")
    laid = layout(model)
    weights = store(laid, tuple(t for t in laid.tensors() if t.role != "indexer.k_proj"), Recipe("BF16", "BF16", False), storage_types())
    with pytest.raises(Problem, match="those with an indexer are not the same") as caught:
        read(write(tmp_path / "m3.gguf", file_of(model, laid, weights).bytes()))
    assert caught.value.code is Code.BAD_FILE
