"""Room for a graph's tensors: what llama.cpp counted itself, and on which side of its limit it ran or aborted."""

from functools import cache
from typing import Any, NamedTuple

import pytest

from runlocal.architectures import layout
from runlocal.catalog.facts import facts
from runlocal.catalog.models import bundled, index
from runlocal.core.layout import Layout
from runlocal.core.workload import Workload
from runlocal.engines.ggml.graph.family import FAMILIES
from runlocal.engines.ggml.graph.size import graph_size
from runlocal.engines.ggml.placement import place
from runlocal.engines.ggml.room import GraphRoom
from runlocal.engines.ggml.settings import Settings, settle

FACTS = facts("llama.cpp", None)
ROOM: dict[str, Any] = FACTS.ggml["graph_room"]

# llama.cpp at 0c1e57098 (https://github.com/ggml-org/llama.cpp/tree/0c1e57098) over a CUDA device without kernels, 8,192 tokens of cache in
# all: model, types of K and V, flash attention, sequences and whether they share the cache, GPUs, layers on them; llama_model::n_tensors,
# llama_context::graph_max_nodes, nodes and leaves of the largest graph, tensors made in its context; and whether the context came up or
# ended in "ggml-impl.h:330: fatal error", which is the table of tensors being full.Graphs of
# deepseek32, deepseek4, glm-dsa, kimi-linear, llama4, mamba, mimo2, minicpm3 and qwen3next have a few nodes more or fewer here than there, those of
# gemma3n and gemma4 a few leaves: the same settings of 12 models of them came no nearer to a limit than 93 % of it, so none stands in the table.
COUNTED = """
phi-4-14b                  f16   f16   auto 1 apart   1 all   243   1944  1166   330  1173 runs
phi-4-14b                  q8_0  q8_0  on   1 apart   1 all   243   1944  1646   332  1655 runs
phi-4-14b                  q8_0  f16   auto 1 apart   1 all   243   1944  1406   331  1414 runs
phi-4-14b                  f16   f16   off  1 apart   1 all   243   1944  1366   330  1373 runs
phi-4-14b                  q8_0  q8_0  on   4 apart   1 all   243   1944  1726   332  1735 aborts
phi-4-14b                  q8_0  f16   auto 4 apart   1 all   243   1944  1486   331  1494 runs
phi-4-14b                  f16   q4_0  on   4 apart   1 all   243   1944  1486   331  1494 runs
phi-4-14b                  f16   f16   auto 4 apart   1 all   243   1944  1246   330  1253 runs
phi-4-14b                  q8_0  q8_0  on   4 unified 1 all   243   1944  1646   332  1655 runs
phi-4-14b                  q8_0  q8_0  on   4 apart   2 all   243   1944  1726   332  1735 aborts
phi-4-14b                  q8_0  q8_0  on   4 apart   2   9   243   1944  1726   332  1735 aborts
phi-4-14b                  q8_0  q8_0  on   1 apart   1   0   243   1944  1646   332  1655 runs
phi-4-14b                  q8_0  q8_0  on   4 apart   1   0   243   1944  1726   332  1735 aborts
phi-4-14b                  q8_0  f16   off  1 apart   1 all   243   1944  1606   331  1614 runs
phi-4-14b                  f16   f16   off  4 apart   1 all   243   1944  1406   330  1413 runs
phi-4-14b                  q5_1  f16   off  4 apart   1 all   243   1944  1646   331  1654 runs
phi-3-medium-14b           f16   f16   auto 1 apart   1 all   245   1960  1166   331  1173 runs
phi-3-medium-14b           q8_0  q8_0  on   1 apart   1 all   245   1960  1646   333  1655 runs
phi-3-medium-14b           q8_0  f16   auto 1 apart   1 all   245   1960  1406   332  1414 runs
phi-3-medium-14b           f16   f16   off  1 apart   1 all   245   1960  1366   331  1373 runs
phi-3-medium-14b           q8_0  q8_0  on   4 apart   1 all   245   1960  1726   333  1735 aborts
phi-3-medium-14b           q8_0  f16   auto 4 apart   1 all   245   1960  1486   332  1494 runs
phi-3-medium-14b           f16   q4_0  on   4 apart   1 all   245   1960  1486   332  1494 runs
phi-3-medium-14b           f16   f16   auto 4 apart   1 all   245   1960  1246   331  1253 runs
phi-3-medium-14b           q8_0  q8_0  on   4 unified 1 all   245   1960  1646   333  1655 runs
phi-3-medium-14b           q8_0  q8_0  on   4 apart   2 all   247   1976  1726   334  1735 aborts
phi-3-medium-14b           q8_0  q8_0  on   4 apart   2   9   249   1992  1726   335  1735 aborts
phi-3-medium-14b           q8_0  q8_0  on   1 apart   1   0   245   1960  1646   333  1655 runs
phi-3-medium-14b           q8_0  q8_0  on   4 apart   1   0   245   1960  1726   333  1735 aborts
phi-3-medium-14b           q8_0  f16   off  1 apart   1 all   245   1960  1606   332  1614 runs
phi-3-medium-14b           f16   f16   off  4 apart   1 all   245   1960  1406   331  1413 runs
phi-3-medium-14b           q5_1  f16   off  4 apart   1 all   245   1960  1646   332  1654 runs
granite-3.1-1b-a400m       f16   f16   auto 1 apart   1 all   243   1944  1472   298  1479 runs
granite-3.1-1b-a400m       q8_0  q8_0  on   1 apart   1 all   243   1944  1760   300  1769 aborts
granite-3.1-1b-a400m       q8_0  f16   auto 1 apart   1 all   243   1944  1616   299  1624 runs
granite-3.1-1b-a400m       f16   f16   off  1 apart   1 all   243   1944  1592   298  1599 runs
granite-3.1-1b-a400m       q8_0  q8_0  on   4 apart   1 all   243   1944  1808   300  1817 aborts
granite-3.1-1b-a400m       q8_0  f16   auto 4 apart   1 all   243   1944  1664   299  1672 runs
granite-3.1-1b-a400m       f16   q4_0  on   4 apart   1 all   243   1944  1664   299  1672 runs
granite-3.1-1b-a400m       f16   f16   auto 4 apart   1 all   243   1944  1520   298  1527 runs
granite-3.1-1b-a400m       q8_0  q8_0  on   4 unified 1 all   243   1944  1760   300  1769 aborts
granite-3.1-1b-a400m       q8_0  q8_0  on   4 apart   2 all   243   1944  1808   300  1817 aborts
granite-3.1-1b-a400m       q8_0  q8_0  on   4 apart   2   9   243   1944  1808   300  1817 aborts
granite-3.1-1b-a400m       q8_0  q8_0  on   1 apart   1   0   242   1936  1760   299  1769 aborts
granite-3.1-1b-a400m       q8_0  q8_0  on   4 apart   1   0   242   1936  1808   299  1817 aborts
granite-3.1-1b-a400m       q8_0  f16   off  1 apart   1 all   243   1944  1736   299  1744 runs
granite-3.1-1b-a400m       f16   f16   off  4 apart   1 all   243   1944  1616   298  1623 runs
granite-3.1-1b-a400m       q5_1  f16   off  4 apart   1 all   243   1944  1760   299  1768 aborts
phi-4-mini                 q8_0  q8_0  on   4 apart   2   9   201   1608  1382   271  1391 runs
phi-4-mini                 q8_0  q8_0  on   1 apart   1   0   196   1568  1318   268  1327 runs
phi-4-mini                 q8_0  q8_0  on   4 apart   1   0   196   1568  1382   268  1391 runs
dbrx-132b                  f16   f16   auto 1 apart   1 all   323   2584  2006   410  2013 runs
dbrx-132b                  q8_0  q8_0  on   4 apart   1 all   323   2584  2566   412  2575 runs
dbrx-132b                  q8_0  q8_0  on   4 unified 1 all   323   2584  2486   412  2495 runs
dbrx-132b                  q8_0  q8_0  on   4 apart   2 all   323   2584  2566   412  2575 runs
granite-3.1-3b-a800m       f16   f16   auto 1 apart   1 all   323   2584  1960   394  1967 runs
granite-3.1-3b-a800m       q8_0  q8_0  on   4 apart   1   0   322   2576  2408   395  2417 runs
bitnet-b1.58-2b-4t         q8_0  q8_0  on   4 apart   1 all   332   2656  1476   401  1485 runs
bitnet-b1.58-2b-4t         q8_0  q8_0  on   4 apart   1   0   332   2656  1476   401  1485 runs
gemma-3-12b                q8_0  q8_0  on   4 apart   1 all   627   5016  2599   737  2613 runs
gemma-3-12b                q8_0  q8_0  on   4 apart   1   0   626   5008  2599   736  2613 runs
ling-lite-16.8b            q8_0  q8_0  on   4 apart   1 all   367   2936  2078   432  2087 runs
ling-lite-16.8b            q8_0  q8_0  on   4 apart   1   0   367   2936  2078   432  2087 runs
mellum2-12b-a2.5b          q8_0  q8_0  on   4 apart   1 all   339   2712  2162   409  2176 runs
mellum2-12b-a2.5b          q8_0  q8_0  on   4 apart   1   0   339   2712  2162   409  2176 runs
north-mini-code-30b-a3b    q8_0  q8_0  on   4 apart   1 all   443   3544  3193   555  3207 runs
north-mini-code-30b-a3b    q8_0  q8_0  on   4 apart   1   0   442   3536  3193   554  3207 runs
olmo-7b                    q8_0  q8_0  on   4 apart   1 all   226   1808  1381   299  1390 runs
olmo-7b                    q8_0  q8_0  on   4 apart   1   0   226   1808  1381   299  1390 runs
qwen3.5-0.8b               q8_0  q8_0  on   4 apart   1 all   321  20480  1495   379  1505 runs
qwen3.5-0.8b               q8_0  q8_0  on   4 apart   1   0   320  20480  1495   378  1505 runs
falcon-7b                  q8_0  q8_0  on   4 apart   1 all   196   1568  1320   269  1329 runs
falcon-7b                  q8_0  q8_0  on   4 apart   1   0   195   1560  1320   268  1329 runs
gpt-oss-20b                q8_0  q8_0  on   4 apart   1 all   459   3672  1685   521  1699 runs
gpt-oss-20b                q8_0  q8_0  on   4 apart   1   0   459   3672  1685   521  1699 runs
llama-3.2-1b               q8_0  q8_0  on   4 apart   1 all   148   1184   726   189   735 runs
llama-3.2-1b               q8_0  q8_0  on   4 apart   1   0   147   1176   726   188   735 runs
nemotron-3-ultra-550b-a55b q8_0  q8_0  on   4 apart   1 all   927   7416  6295  1056  6304 runs
nemotron-3-ultra-550b-a55b q8_0  q8_0  on   4 apart   1   0   927   7416  6295  1056  6304 runs
qwen3.5-35b-a3b            q8_0  q8_0  on   4 apart   1 all   733  23456  3927   823  3937 runs
qwen3.5-35b-a3b            q8_0  q8_0  on   4 apart   1   0   733  23456  3927   823  3937 runs
bge-large-en-v1.5          f16   f16   auto 1 apart   1 all   389   3112   779   395   785 runs
bge-large-en-v1.5          q8_0  f16   off  4 apart   1 all   389   3112   851   395   857 runs
bge-large-en-v1.5          q8_0  q8_0  on   4 apart   1 all   389   3112   779   395   785 runs
bge-large-en-v1.5          q8_0  q8_0  on   4 apart   1   0   389   3112   779   395   785 runs
embeddinggemma-300m        f16   f16   auto 1 apart   1 all   315   2520   873   321   880 runs
embeddinggemma-300m        q8_0  f16   off  4 apart   1 all   315   2520   945   321   952 runs
embeddinggemma-300m        q8_0  q8_0  on   4 apart   1 all   315   2520   873   321   880 runs
embeddinggemma-300m        q8_0  q8_0  on   4 apart   1   0   314   2512   873   321   880 runs
nomic-embed-text-v1.5      f16   f16   auto 1 apart   1 all   112   1024   335   118   341 runs
nomic-embed-text-v1.5      q8_0  f16   off  4 apart   1 all   112   1024   371   118   377 runs
nomic-embed-text-v1.5      q8_0  q8_0  on   4 apart   1 all   112   1024   335   118   341 runs
nomic-embed-text-v1.5      q8_0  q8_0  on   4 apart   1   0   112   1024   335   118   341 runs
"""


class Case(NamedTuple):
    """A line of the table."""

    layout: Layout
    settings: Settings
    gpus: int
    gpu_layers: int | None
    weights: int
    most: int
    nodes: int
    leaves: int
    made: int
    outcome: str


def case(line: str) -> Case:
    model, k, v, flash, sequences, shared, gpus, layers, *counts, outcome = line.split()
    weights, most, nodes, leaves, made = map(int, counts)
    laid = laid_out(model)
    workload = Workload(
        context_tokens=8192 // int(sequences),
        pool_tokens=8192,
        sequences=int(sequences),
        unified_kv=shared == "unified",
        cache_type_k=k,
        cache_type_v=v,
        flash_attention={"auto": None, "on": True, "off": False}[flash],
    )
    settings = settle(laid, workload, FACTS.types, FACTS.ggml, batch_tokens=2048, ubatch_tokens=512)
    return Case(laid, settings, int(gpus), None if layers == "all" else int(layers), weights, most, nodes, leaves, made, outcome)


@cache
def laid_out(model_id: str) -> Layout:
    return layout(bundled(model_id))


@pytest.mark.parametrize("line", COUNTED.split("\n")[1:-1])
def test_counts_and_limits_of_llama_cpp(line: str) -> None:
    one = case(line)
    room = GraphRoom(one.layout, one.layout.tensors(), ROOM)
    placement = place(one.layout.stored_layers, one.gpu_layers, (1.0,) * one.gpus)
    size = graph_size(one.layout, one.settings)
    assert (size.nodes, room.leaves(size, placement), size.nodes + size.inputs) == (one.nodes, one.leaves, one.made)
    weights = room.weights(placement)
    assert (weights, room.most_tensors(weights, one.settings.ubatch_tokens)) == (one.weights, one.most)
    assert bool(room.refuses(one.settings, placement)) == (one.outcome == "aborts")


def test_the_table_is_what_is_full() -> None:
    """phi-4: 40 layers × 6 weights + 3 = 243 weights, 8 tensors for each are 1,944, and the next size of a table is 2,053 < 1,726 + 332."""
    one = case("phi-4-14b q8_0 q8_0 on 4 apart 1 all 243 1944 1726 332 1735 aborts")
    reason = GraphRoom(one.layout, one.layout.tensors(), ROOM).refuses(one.settings, place(40, None, (1.0,)))
    assert reason == "the graph has 2,058 tensors, and for 243 weights llama.cpp makes a table of 2,053: it aborts while it reserves memory"


def test_tensors_that_are_made() -> None:
    """With 7 for a weight dbrx would have room for 7 × 323 = 2,261, of the 2,566 nodes and 9 inputs that it makes; the table of 4,099 would do."""
    one = case("dbrx-132b q8_0 q8_0 on 4 apart 1 all 323 2584 2566 412 2575 runs")
    room = GraphRoom(one.layout, one.layout.tensors(), {**ROOM, "per_weight": 7})
    reason = room.refuses(one.settings, place(40, None, (1.0,)))
    assert reason == "the graph makes 2,575 tensors, and for 323 weights llama.cpp has room for 2,261: it aborts while it reserves memory"


@pytest.mark.parametrize(
    ("architecture", "weights", "ubatch", "most"),
    [
        ("llama", 100, 512, 1024),  # at least
        ("llama", 291, 4096, 8 * 291),
        ("qwen35moe", 733, 512, 32 * 733),  # 23,456 > 40 × 512 = 20,480
        ("qwen35moe", 733, 2048, 40 * 2048),
        ("kimi-k3", 1000, 512, 160 * 512),  # 81,920 > 64,000
        ("glm5-next", 1500, 512, 64 * 1500),  # 96,000 > 81,920
    ],
)
def test_room_by_weights_and_tokens(architecture: str, weights: int, ubatch: int, most: int) -> None:
    assert GraphRoom(laid_out("llama-3.1-8b")._replace(architecture=architecture), (), ROOM).most_tensors(weights, ubatch) == most


@pytest.mark.parametrize(("most", "table"), [(1024, 1031), (1031, 1031), (1032, 2053), (1944, 2053), (524_309, 524_309), (600_000, 600_001)])
def test_the_next_size_of_a_table(most: int, table: int) -> None:
    assert GraphRoom(laid_out("llama-3.1-8b"), (), ROOM).table(most) == table


def first_of_each_architecture() -> list[str]:
    found: dict[str, str] = {}
    for model_id in sorted(index()):
        architecture = bundled(model_id).architecture
        if architecture in FAMILIES:
            found.setdefault(architecture, model_id)
    return sorted(found.values())


@pytest.mark.parametrize("model_id", first_of_each_architecture())
def test_a_few_layers_stand_for_all(model_id: str) -> None:
    laid = laid_out(model_id)
    for types, sequences in ((("f16", "f16"), 1), (("q8_0", "q8_0"), 4)):
        workload = Workload(context_tokens=8192, sequences=sequences, cache_type_k=types[0], cache_type_v=types[1])
        settings = settle(laid, workload, FACTS.types, FACTS.ggml, batch_tokens=2048, ubatch_tokens=512)
        size = graph_size(laid, settings)
        assert size == graph_size(laid, settings, all_layers=True)


def test_a_model_whose_graph_is_not_known_is_not_refused() -> None:
    one = case("phi-4-14b q8_0 q8_0 on 4 apart 1 all 243 1944 1726 332 1735 aborts")
    room = GraphRoom(one.layout._replace(architecture="mllama"), one.layout.tensors(), ROOM)
    assert room.ample(one.settings)
    assert room.refuses(one.settings, place(40, None, (1.0,))) is None


@pytest.mark.parametrize("line", COUNTED.split("\n")[1:-1])
def test_ample_room_is_room_wherever_layers_lie(line: str) -> None:
    one = case(line)
    room = GraphRoom(one.layout, one.layout.tensors(), ROOM)
    if one.outcome == "aborts":
        assert not room.ample(one.settings)
    elif room.ample(one.settings):
        for gpus in range(5):
            for on_gpus in (None, 0, 1, 9):
                assert room.refuses(one.settings, place(one.layout.stored_layers, on_gpus, (1.0,) * gpus)) is None
