"""Attention to chosen pools of tokens, and hyper-connections whose operations llama.cpp takes apart."""

from collections import defaultdict

import pytest

from runlocal.architectures import layout
from runlocal.catalog.models import bundled
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Layout
from runlocal.engines.ggml.graph.context import Context, Devices
from runlocal.engines.ggml.graph.decoder import build
from runlocal.engines.ggml.graph.family import FAMILIES
from runlocal.engines.ggml.graph.layers import layers_of
from runlocal.engines.ggml.graph.resolve import unfused
from runlocal.engines.ggml.placement import place

from .test_graph import context_of, model

MODEL = "glm-5.3-flash-321b-a18b"


def nodes(shape: Layout, ubatch: int = 512, unfused: tuple[str, ...] = ()) -> dict[str, int]:
    """How often each operation stands in the first four layers, the last of which has latents."""
    devices = Devices(layers=(0,) * shape.layers, output=0, host_experts=0, cache_on_host=False, host=1, keeps_pins=False)
    context = Context(shape, FAMILIES[shape.architecture], context_of(shape, 8192, ubatch=ubatch)._replace(unfused=unfused), devices, defaultdict(int))
    build(context, layers_of(shape), range(4))
    found: dict[str, int] = defaultdict(int)
    for node in context.graph.nodes:
        found[node.op] += 1
    return found


def test_few_tokens_gather_what_they_chose() -> None:
    shape = model(MODEL)
    assert nodes(shape, ubatch=16)["FLASH_ATTN_EXT"] == 0
    assert nodes(shape, ubatch=17)["FLASH_ATTN_EXT"] == 1


def test_pools_of_a_full_cache() -> None:
    # 8,192 cells are 2,048 pools of 4 tokens, and one that is never used: padded to 64, 2,112.
    shape = model(MODEL)
    devices = Devices(layers=(0,) * shape.layers, output=0, host_experts=0, cache_on_host=False, host=1, keeps_pins=False)
    context = Context(shape, FAMILIES[shape.architecture], context_of(shape, 8192), devices, defaultdict(int))
    build(context, layers_of(shape), range(4))
    assert context.shared["members"].shape == (4, 2112, 1, 1)
    assert context.shared["new_members"].shape == (4, 2048, 1, 1)
    # 2,048 tokens are chosen, whole pools, and the 3 at most behind the last pool.
    assert context.shared["live"].shape == (2048 + 3, 1, 1, 512)


# What llama.cpp says when it sets a context up (resolve_fused_ops): with layers on the host GLM-5.3 Flash's streams are not mixed by one operation, DeepSeek
# V4's are, for it tells the last one of a layer where to run.
@pytest.mark.parametrize(
    ("name", "gpu_layers", "apart"),
    [(MODEL, 22, ("DSV4_HC_POST",)), ("deepseek-v4-flash-284b", 22, ()), (MODEL, None, ()), ("deepseek-v4-flash-284b", None, ())],
)
def test_what_is_taken_apart(name: str, gpu_layers: int | None, apart: tuple[str, ...]) -> None:
    shape = model(name)
    assert unfused(shape, context_of(shape, 8192), place(shape.stored_layers, gpu_layers, (1, 1))) == apart


def test_streams_mixed_by_hand() -> None:
    # Four layers of two halves. Each stream is a result's product and one of each of four streams, added up one by one; three times a stream is joined on.
    shape = model(MODEL)
    whole, apart = nodes(shape), nodes(shape, unfused=("DSV4_HC_POST",))
    assert (whole["DSV4_HC_POST"], apart["DSV4_HC_POST"]) == (8, 0)
    assert apart["MUL"] - whole["MUL"] == 8 * 4 * 5
    assert apart["ADD"] - whole["ADD"] == 8 * 4 * 4
    assert apart["CONCAT"] - whole["CONCAT"] == 8 * 3


@pytest.mark.parametrize("change", [{"indexer": None}, {"layers": (3,)}, {"pool_tokens": None}])
def test_without_pools_there_is_no_layout(change: dict[str, object]) -> None:
    given = bundled(MODEL)
    indexer = None if "indexer" in change else given.text.indexer and given.text.indexer._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(Problem, match="needs `indexer` with `pool_tokens`") as problem:
        layout(given._replace(text=given.text._replace(indexer=indexer)))
    assert problem.value.code is Code.BAD_FILE
