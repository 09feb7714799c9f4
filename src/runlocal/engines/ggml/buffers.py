"""Compute buffers for many contexts: the graph is built at some of them, and straight lines give the rest.

With flash attention and an unquantized cache nothing in the graph grows with the context but the attention masks, which are inputs and are
never reused, so the buffers are straight lines in the cells: exactly, not nearly (tests/engines/test_buffers.py). Of everything else, a
quantized cache, many rows of logits, layers with a state, which use the memory of the masks behind the last attention, or weights that are
copied, the sizes of the tensors are straight lines, but where they find a place is looked at for each context. What is shorter than a window
or than what an indexer chooses, and caches that hold a cell for several tokens, are built for their own context.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runlocal.architectures.blocks.attention import LatentAttention
from runlocal.core.cache import CacheKind
from runlocal.core.layout import Layout
from runlocal.engines.ggml.graph import ComputeBuffers, Known, compute_buffers, largest
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.places import Growth, Timeline, grown, growth
from runlocal.engines.ggml.settings import CELL_PADDING, Settings

if TYPE_CHECKING:
    from runlocal.engines.ggml.graph.copies import Templates

Copied = Mapping[tuple[str, int | None], int]  # as `compute_buffers` wants `weight_bytes`

_LEAST_CELLS = 4096
_FAR_CELLS = 131_072  # the longest context that is usually asked about
_MANY_TOKENS = 512  # a prompt's step of so many to a sequence takes more than one of a token, whose inputs are that much smaller
_LEAST_TOKENS_PER_ROW = 64  # with fewer tokens of a step to a row of logits, the logits can overtake the body of the graph


class _Line:
    """What is known of one graph at many contexts.

    laid: the buffers at some
    first: cells and graphs of the first question from which on sizes are straight lines
    growing: what its tensors gain up to so many cells, of each graph; None where there is no such line
    """

    __slots__ = ("first", "growing", "high", "laid")

    def __init__(self) -> None:
        self.laid: dict[int, ComputeBuffers] = {}
        self.first: tuple[int, list[Timeline]] | None = None
        self.growing: tuple[Growth, ...] | None = None
        self.high = 0


class BufferLines:
    """The compute buffers of one model."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        caches = layout.caches()
        self._chooses = any(cache.kind is CacheKind.INDEXER for cache in caches)
        indexers = (block.indexer for block, _ in layout.placed if isinstance(block, LatentAttention))
        self._chosen = max((indexer.top_k for indexer in indexers if indexer), default=0)
        self._windows = max((cache.window_tokens or 0 for cache in caches), default=0)
        self._mixed = len({cache.kind is CacheKind.RECURRENT for cache in caches}) > 1
        self._cell_each = all(cache.ratio == 1 for cache in caches)
        self._laid: dict[tuple[Settings, Placement], ComputeBuffers] = {}
        self._grown: dict[tuple[Settings, Placement, tuple[int, ...]], _Line] = {}
        self._known: Known = {}
        self._templates: Templates = {}

    def of(self, settings: Settings, placement: Placement, copied: Copied | None = None) -> ComputeBuffers:
        """The buffers of a step. copied: as `compute_buffers` wants it."""
        start = self.straight_from(settings, placement) if copied is None else None
        if start is None:
            return self._near(settings, placement, copied)
        if settings.cells <= start:
            return self._at(settings, placement)
        low, high = self._at(settings._replace(cells=start), placement), self._at(settings._replace(cells=2 * start), placement)
        return _between(start, low, settings.cells, high, 2 * start)

    def when_full(self, settings: Settings, placement: Placement, copied: Mapping[tuple[str, int | None], int] | None = None) -> ComputeBuffers:
        """The buffers of a graph that follows the positions in use, once all are: the larger one of a step of the prompt and of one token per sequence."""
        full = settings._replace(positions=settings.cells)
        if settings.ubatch_tokens >= _MANY_TOKENS * settings.sequences:
            return self.of(full, placement, copied)
        one = full._replace(ubatch_tokens=settings.sequences, output_rows=min(settings.output_rows, settings.sequences))
        steps = [self.of(each, placement, copied) for each in (full, one)]
        return ComputeBuffers(gpus=tuple(map(max, *(step.gpus for step in steps))), host=max(step.host for step in steps))

    def straight_from(self, settings: Settings, placement: Placement) -> int | None:
        """Cells from which on the buffers are a straight line, through those many and twice as many; None where they are none."""
        start = self._start(settings)
        few_rows = settings.output_rows * _LEAST_TOKENS_PER_ROW <= settings.ubatch_tokens
        plain = (
            not self._chooses
            and not settings.hidden_kept
            and settings.flash_attention
            and not settings.kv_is_quantized
            and not settings.swa_full
            and not settings.flash_on_host
        )
        return start if plain and few_rows and not placement.cache_on_host and not self._mixed else None

    def _at(self, settings: Settings, placement: Placement) -> ComputeBuffers:
        key = (settings, placement)
        if key not in self._laid:
            self._laid[key] = compute_buffers(self._layout, settings, placement, known=self._known)
        return self._laid[key]

    def _start(self, settings: Settings) -> int:
        """Cells from which on no window and no choice of tokens is cut short."""
        least = max(2 * (self._windows * settings.sequences + settings.ubatch_tokens), self._chosen)
        return max(_LEAST_CELLS, -(-least // CELL_PADDING) * CELL_PADDING)

    def _near(self, settings: Settings, placement: Placement, copied: Copied | None) -> ComputeBuffers:
        """The buffers at a context: built for it, or grown out of the first. The second question builds the far end."""
        cells = settings.cells
        line = self._grown.setdefault((_at_cells(settings, 0), placement, tuple((copied or {}).values())), _Line())
        if cells in line.laid:
            return line.laid[cells]
        if line.first is not None and cells > line.first[0]:
            low, graphs = line.first
            if cells > line.high:
                line.high = max(cells, _FAR_CELLS)
                far = self._build(line, _at_cells(settings, line.high), placement, copied)
                found = [growth(near, end, (line.high - low) // CELL_PADDING) for near, end in zip(graphs, far, strict=True)]
                line.growing = tuple(one for one in found if one is not None) if None not in found else None
            if line.growing and cells < line.high:
                line.laid[cells] = largest(grown(growing, (cells - low) // CELL_PADDING) for growing in line.growing)
        if cells not in line.laid:
            graphs = self._build(line, settings, placement, copied)
            if line.first is None and self._cell_each and cells >= self._start(settings):
                line.first = cells, graphs
        return line.laid[cells]

    def _build(self, line: _Line, settings: Settings, placement: Placement, copied: Copied | None) -> list[Timeline]:
        graphs: list[Timeline] = []
        known = self._known if copied is None else None
        line.laid[settings.cells] = compute_buffers(self._layout, settings, placement, copied, known=known, templates=self._templates, timelines=graphs)
        return graphs


def _at_cells(settings: Settings, cells: int) -> Settings:
    """The same with so many cells, all in use where all were."""
    return settings._replace(cells=cells, positions=cells if settings.positions == settings.cells else settings.positions)


def _between(low: int, at_low: ComputeBuffers, cells: int, at_high: ComputeBuffers, high: int) -> ComputeBuffers:
    """The straight line through two contexts."""
    steps, base = (cells - low) // CELL_PADDING, (high - low) // CELL_PADDING
    return ComputeBuffers(
        gpus=tuple(first + (second - first) * steps // base for first, second in zip(at_low.gpus, at_high.gpus, strict=True)),
        host=at_low.host + (at_high.host - at_low.host) * steps // base,
    )
