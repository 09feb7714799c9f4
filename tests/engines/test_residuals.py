"""Attention residuals: what is kept of the stream."""

from collections import defaultdict

import pytest

from runlocal.architectures import layout
from runlocal.catalog.models import bundled
from runlocal.core.errors import Code, Problem
from runlocal.engines.ggml.graph import compute_buffers
from runlocal.engines.ggml.graph.context import Context, Devices
from runlocal.engines.ggml.graph.decoder import build
from runlocal.engines.ggml.graph.family import FAMILIES
from runlocal.engines.ggml.graph.layers import layers_of
from runlocal.engines.ggml.placement import place

from .test_graph import context_of, model

MODEL = "kimi-k3-2.8t-a104b"


@pytest.mark.parametrize(("layers", "kept"), [(1, 1), (12, 1), (13, 2), (93, 8)])
def test_kept_every_twelve_layers(layers: int, kept: int) -> None:
    shape = model(MODEL)
    devices = Devices(layers=(0,) * 93, output=0, host_experts=0, cache_on_host=False, host=1, keeps_pins=False)
    context = Context(shape, FAMILIES[shape.architecture], context_of(shape, 4096, ubatch=64), devices, defaultdict(int))
    build(context, layers_of(shape), range(layers))
    assert context.shared["kept"].shape == (7168, kept, 64, 1)


def test_what_is_kept_by_hand() -> None:
    # At the last mixture the 8 streams that were kept lie there beside their norms: 7168 values of 512 tokens, 4 bytes each.
    shape = model(MODEL)
    found = compute_buffers(shape, context_of(shape, 4096), place(shape.stored_layers, None, (1,)))
    assert found.gpus[0] > 2 * 8 * 7168 * 512 * 4


def test_without_its_block_there_is_no_layout() -> None:
    model_without = bundled(MODEL)
    with pytest.raises(Problem, match="needs `residual_block`") as problem:
        layout(model_without._replace(text=model_without.text._replace(residual_block=None)))
    assert problem.value.code is Code.BAD_FILE
