"""Literal registries: every entry imports and is what it promises, and nothing in data/ names an entry that is not there."""

import inspect
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from runlocal.architectures import ARCHITECTURES, CHECKPOINTS, has_gguf, layout
from runlocal.architectures.towers import CHECKPOINTS as CHECKPOINT_TOWERS
from runlocal.architectures.towers import ENCODERS, TOWERS, tensors
from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled, index
from runlocal.catalog.runtimes import newest_known
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec
from runlocal.core.tensor import Tensor
from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.decoder import OWN_BEGINNINGS, OWN_LAYERS
from runlocal.engines.ggml.graph.layers import MIXERS, OTHERS, WHOLE, builder
from runlocal.runtimes import RUNTIMES, Runtime, is_priced, open_runtime
from runlocal.runtimes.unpriced import RULES

ROOT = Path(__file__).resolve().parents[1]
MODELS = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "data" / "models").rglob("*.toml"))}
FAMILIES = {path.stem for path in (ROOT / "src" / "runlocal" / "architectures").glob("*.py")} - {"__init__"}
SHARED_BY_TOWERS = {"encoder"}


@pytest.mark.parametrize("module", sorted({*ARCHITECTURES.values(), *CHECKPOINTS.values()}))
def test_a_family_lays_a_model_out(module: str) -> None:
    family = import_module(f"runlocal.architectures.{module}")
    assert list(inspect.signature(family.layout).parameters) == ["model"]
    assert get_type_hints(family.layout) == {"model": ModelSpec, "return": Layout}


def test_every_family_is_registered() -> None:
    assert {*ARCHITECTURES.values(), *CHECKPOINTS.values()} == FAMILIES
    assert list(ARCHITECTURES) == sorted(ARCHITECTURES)
    assert list(CHECKPOINTS) == sorted(CHECKPOINTS)
    assert not set(CHECKPOINTS) & set(ARCHITECTURES)


@pytest.mark.parametrize("module", sorted({*TOWERS.values(), *CHECKPOINT_TOWERS.values(), *ENCODERS.values()}))
def test_a_tower_gives_tensors(module: str) -> None:
    tower = import_module(module)
    assert get_type_hints(tower.tensors)["return"] == tuple[Tensor, ...]
    assert len(inspect.signature(tower.tensors).parameters) == 2


def test_every_tower_is_registered() -> None:
    folder = ROOT / "src" / "runlocal" / "architectures" / "towers"
    modules = {*TOWERS.values(), *CHECKPOINT_TOWERS.values(), *ENCODERS.values()}
    assert {module.rpartition(".")[2] for module in modules} == {path.stem for path in folder.glob("*.py")} - {"__init__"} - SHARED_BY_TOWERS
    assert list(TOWERS) == sorted(TOWERS)
    assert list(CHECKPOINT_TOWERS) == sorted(CHECKPOINT_TOWERS)
    assert list(ENCODERS) == sorted(ENCODERS)


@pytest.mark.parametrize("model_id", MODELS)
def test_a_bundled_model_can_be_laid_out(model_id: str) -> None:
    model = bundled(model_id)
    assert model.architecture in ARCHITECTURES or model.architecture in CHECKPOINTS
    laid = layout(model)
    assert laid.parameters() > 0
    assert {layer for cache in laid.caches() for layer in cache.layers} <= set(range(model.text.layers))
    if model.vision is not None:
        assert model.vision.tower in TOWERS or (model.vision.tower in CHECKPOINT_TOWERS and not has_gguf(model))
        assert tensors(model.vision, model.text.hidden_size)
    if model.audio is not None:
        assert (model.audio.encoder in ENCODERS) == has_gguf(model) == bool(model.audio.hidden_size)


def blocks() -> dict[str, type]:
    """Every class that stands in a layer, by name."""
    folder = ROOT / "src" / "runlocal" / "architectures" / "blocks"
    modules = [import_module(f"runlocal.architectures.blocks.{path.stem}") for path in folder.glob("*.py")]
    return {name: found for module in modules for name, found in inspect.getmembers(module, inspect.isclass) if hasattr(found, "tensors")}


@pytest.mark.parametrize("block", [*MIXERS, *WHOLE])
def test_a_builder_takes_the_block_that_it_is_named_for(block: str) -> None:
    build = builder({**MIXERS, **WHOLE}[block])
    hints = get_type_hints(build)
    assert hints["block"] is blocks()[block] and hints["x"] is hints["return"] is Node
    assert list(inspect.signature(build).parameters) == ["c", "block", "x", "layer", *(("last",) if block in WHOLE else ())]


@pytest.mark.parametrize("layer", OWN_LAYERS)
def test_a_layer_of_its_own_is_built(layer: str) -> None:
    assert list(inspect.signature(builder(OWN_LAYERS[layer])).parameters) == ["c", "blocks", "block", "x", "layer"]


@pytest.mark.parametrize("layer", OWN_BEGINNINGS)
def test_what_goes_before_layers_of_ones_own(layer: str) -> None:
    begin = builder(OWN_BEGINNINGS[layer])
    assert list(inspect.signature(begin).parameters) == ["c", "layers", "x"]
    assert get_type_hints(begin)["return"] is Node
    assert layer in OWN_LAYERS


def test_blocks_of_one_family_are_blocks() -> None:
    assert {*OTHERS, "HyperConnections"} <= set(blocks())


def test_every_model_is_in_the_index() -> None:
    assert set(index()) == set(MODELS)


def members(protocol: type) -> set[str]:
    return {name for name in (*vars(protocol), *get_type_hints(protocol)) if not name.startswith("_")}


@pytest.mark.parametrize("runtime_id", RUNTIMES)
def test_a_runtime_keeps_its_promise(runtime_id: str) -> None:
    model = bundled("llama-3.1-8b")
    version = newest_known(runtime_id)
    opened: Any = open_runtime(runtime_id, version, model, facts(runtime_id, version))
    assert (opened.id, opened.version, opened.model) == (runtime_id, version, model)
    for name in members(Runtime) - {"id", "version", "model"}:
        promised = inspect.signature(getattr(Runtime, name)).parameters
        kept = inspect.signature(getattr(type(opened), name)).parameters
        assert [(one.name, one.kind, one.default) for one in kept.values()] == [(one.name, one.kind, one.default) for one in promised.values()], name


def test_a_runtime_that_is_not_priced_keeps_what_it_promises() -> None:
    """The rest of what a runtime is asked for says that it is not computed."""
    opened: Any = open_runtime("vllm", newest_known("vllm"), bundled("llama-3.1-8b"), facts("vllm", None))
    assert (opened.id, opened.version, opened.model.id) == ("vllm", newest_known("vllm"), "llama-3.1-8b")
    for name in members(Runtime) - {"id", "version", "model"}:
        if hasattr(type(opened), name):
            kept = list(inspect.signature(getattr(type(opened), name)).parameters)
            assert kept == list(inspect.signature(getattr(Runtime, name)).parameters), name
        else:
            with pytest.raises(Problem) as raised:
                getattr(opened, name)
            assert raised.value.code is Code.NOT_COMPUTED, name


@pytest.mark.parametrize("runtime_id", RULES)
def test_rules_of_a_runtime_that_is_not_priced(runtime_id: str) -> None:
    assert not is_priced(runtime_id) and newest_known(runtime_id)
    rules = import_module(RULES[runtime_id])
    assert list(inspect.signature(rules.refuses).parameters) == ["model", "workload", "gpus", "facts"]
    assert list(inspect.signature(rules.weights).parameters) == ["model", "workload", "facts"]
    assert get_type_hints(rules.refuses)["return"] == get_type_hints(rules.weights)["return"] == (str | None)


def test_every_priced_runtime_has_its_data() -> None:
    assert {f"{runtime_id}.toml" for runtime_id in RUNTIMES} <= {path.name for path in (ROOT / "data" / "runtimes").glob("*.toml")}
