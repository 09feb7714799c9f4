"""Several residual streams with a table of hashed n-grams (Qwen3.8 Flash Next)."""

from collections import defaultdict

import pytest

from runlocal.architectures import layout
from runlocal.catalog.models import bundled
from runlocal.core.cache import CacheKind
from runlocal.core.errors import Code, Problem
from runlocal.engines.ggml.graph import compute_buffers
from runlocal.engines.ggml.graph.context import Context, Devices
from runlocal.engines.ggml.graph.decoder import build
from runlocal.engines.ggml.graph.family import FAMILIES
from runlocal.engines.ggml.graph.layers import layers_of
from runlocal.engines.ggml.graph.resolve import unfused
from runlocal.engines.ggml.placement import place

from .test_graph import context_of, model
from .test_session import cards, parts

MODEL = "qwen3.8-flash-next-180b-a6b"


def test_what_the_convolution_of_the_table_remembers() -> None:
    # 4 taps, 3 tokens apart, reach 9 tokens back; 4 streams of 2560 values, once for each sequence.
    (table,) = (cache for cache in model(MODEL).caches() if cache.layers == (1,) and cache.kind is CacheKind.RECURRENT)
    assert (table.k_values, table.v_values) == (9 * 4 * 2560, 0)


def test_the_table_stays_on_the_host() -> None:
    # 320,001,536 rows of 160 values, Q5_0 because no row is a whole number of blocks of 256: 22 bytes to 32 values; the embedding beside it in Q4_K.
    found = parts(MODEL, cards(8), vision=False)
    (embedding,) = (part for part in found if part.label == "token embedding")
    assert embedding.device == "host"
    assert embedding.bytes == 320_001_536 * 160 // 32 * 22 + 248_320 * 2560 // 256 * 144


def test_blocks_of_four_cells() -> None:
    shape = model(MODEL)
    devices = Devices(layers=(0,) * shape.layers, output=0, host_experts=0, cache_on_host=False, host=1, keeps_pins=False)
    context = Context(shape, FAMILIES[shape.architecture], context_of(shape, 8192), devices, defaultdict(int))
    build(context, layers_of(shape), range(4))
    assert context.shared["block_bias"].shape == (2048, 512, 1, 1)
    assert context.shared["cells_of_blocks"].shape == (8192, 1, 1, 1)
    # Rows of the table: 8 for pairs of tokens and 8 for three of them, for each token.
    assert context.shared["ngrams"].shape == (16 * 160, 512, 1, 1)
    chosen = next(node for node in context.graph.nodes if node.op == "TOP_K")
    assert chosen.shape == (2048 + 3, 512, 1, 1)


# As llama.cpp says when it sets the context up, for eight sequences and the output alone on the GPU.
def test_what_is_taken_apart_where_rows_are_picked() -> None:
    shape = model(MODEL)
    context = context_of(shape, 99840, ubatch=4096, sequences=8, outputs=8, flash=False)
    assert unfused(shape, context, place(shape.stored_layers, 1, (1,))) == ("DSV4_HC_POST",)
    assert unfused(shape, context, place(shape.stored_layers, None, (1,))) == ()


def test_a_longer_context_takes_more() -> None:
    shape = model(MODEL)
    placement = place(shape.stored_layers, None, (1,))
    sizes = [compute_buffers(shape, context_of(shape, cells), placement).gpus[0] for cells in (4096, 16384, 65536)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("field", ["ngrams", "hc_low_rank", "indexer"])
def test_without_its_parts_there_is_no_layout(field: str) -> None:
    given = bundled(MODEL)
    with pytest.raises(Problem, match="needs `ngrams`, `hc_low_rank` and `indexer`") as problem:
        layout(given._replace(text=given.text._replace(**{field: None})))
    assert problem.value.code is Code.BAD_FILE
