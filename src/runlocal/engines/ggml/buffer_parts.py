"""Compute buffers as parts."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runlocal.core.layout import Layout
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.units import mib
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings

if TYPE_CHECKING:
    from runlocal.engines.ggml.graph import ComputeBuffers

_F32_BYTES = 4


def buffer_parts(
    layout: Layout,
    settings: Settings,
    placement: Placement,
    buffers: "tuple[ComputeBuffers, ComputeBuffers]",
    facts: Mapping[str, Any],
    *,
    sequences: int,
    copied_as: str | None,
) -> Iterator[Part]:
    """The graph's buffers on every device, and the rows of logits on the host.

    buffers: as reserved, and with a full context
    facts: `graph_doubts` and the allocator's source
    copied_as: the type that weights which a step copies are counted as, where theirs is not known; else None
    """
    source = facts["sources"]["allocator"]["url"]
    because = f"ggml's allocator over the graph of {settings.ubatch_tokens} tokens, {settings.cells} cells, {_rows(settings.output_rows)} of logits"
    basis, percent = Basis.EXACT, doubt_percent(layout.architecture, facts)
    if copied_as is not None:
        basis = Basis.ESTIMATED
        because += f"; weights that a step copies counted as {copied_as}"
    if doubt := facts["graph_doubts"].get(layout.architecture):
        basis = Basis.ESTIMATED
        because += f"; {doubt['because']}: up to {percent} % more"
    reserved, full = ((*sizes.gpus, sizes.host) for sizes in buffers)
    more = max(most - size for size, most in zip(reserved, full, strict=True))
    if more > 0:
        basis = Basis.ESTIMATED
        because += f"; reserved for the first {settings.positions} positions and enlarged as the context fills: up to {mib(more)} more when it is full"
    for device, size, most in zip((*placement.devices(), HOST), reserved, full, strict=True):
        label = "compute buffer, host" if device == HOST else "compute buffer"
        yield Part(Kind.COMPUTE_BUFFER, label, device, size, basis, because, source, doubt_bytes(size, percent) + max(0, most - size))
    rows = max(sequences, settings.output_rows)
    # With embeddings asked for, a row of them lies behind the logits, which are set aside all the same.
    values = layout.vocabulary_size + (layout.hidden_size if layout.pooling else 0)
    because = f"4 B × {values} values × {_rows(rows)}"
    yield Part(Kind.COMPUTE_BUFFER, "logits", HOST, _F32_BYTES * values * rows, Basis.EXACT, because, source)


def doubt_percent(architecture: str, facts: Mapping[str, Any]) -> int:
    """How much more a graph may take of whose shape something is not known. facts: `graph_doubts`"""
    percent: int = facts["graph_doubts"].get(architecture, {}).get("margin_percent", 0)
    return percent


def doubt_bytes(size: int, percent: int) -> int:
    """The margin of a buffer of that size."""
    return size * percent // 100


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
