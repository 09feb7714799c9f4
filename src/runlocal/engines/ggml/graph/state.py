"""States of fixed size (src/llama-graph.cpp: build_rs, build_rs_inp)."""

from collections.abc import Callable

from runlocal.engines.ggml.allocator import Node
from runlocal.engines.ggml.graph.context import Context
from runlocal.engines.ggml.graph.tensors import F32, copy, get_rows, look, reshape, view


def state(c: Context, layer: int, values: int) -> Node:
    """The states of all sequences in one layer, `values` each; behind them those that are kept to go back to."""
    return c.cache(F32, layer, values, (c.settings.sequences + c.settings.resting) * (1 + c.settings.snapshots), 1)


def load(c: Context, states: Node, pick: Callable[[Node, Node], Node] = get_rows) -> Node:
    """The states of the sequences of this step; one is cleared, and those that are not in the step move along.

    pick: what reads the chosen rows of the states; an operation that works on states in place of a copy of them reads them itself
    """
    values, sequences, resting = states.shape[0], c.settings.sequences, c.settings.resting
    rows = reshape(states, values, states.shape[1])
    cleared = view(rows, (values,))
    c.graph.expand(look("SCALE", cleared, cleared.shape, cleared.strides))
    chosen, moved = c.state_rows
    out = pick(rows, chosen)
    c.graph.expand(out)
    others = get_rows(rows, moved)
    c.graph.expand(copy(others, view(states, (values, resting), (states.strides[1],), sequences * states.strides[1])))
    return out
