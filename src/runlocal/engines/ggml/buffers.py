"""Compute buffers for many contexts: the graph is laid out at two of them, and a straight line gives the rest.

With flash attention and an unquantized cache nothing in the graph grows with the context but the attention masks, which are inputs and are
never reused, so the buffers are straight lines in the cells: exactly, not nearly (tests/engines/test_buffers.py). Everything else, a cache on
the host, many rows of logits, what is shorter than a window, and layers with a state, which use the memory of the masks behind the last
attention, is laid out for its own context.
"""

from collections.abc import Mapping

from runlocal.core.cache import CacheKind
from runlocal.core.layout import Layout
from runlocal.engines.ggml.graph import ComputeBuffers, Known, compute_buffers
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import CELL_PADDING, Settings

_LEAST_CELLS = 4096
_MANY_TOKENS = 512  # a prompt's step of so many to a sequence takes more than one of a token, whose inputs are that much smaller
_LEAST_TOKENS_PER_ROW = 64  # with fewer tokens of a step to a row of logits, the logits can overtake the body of the graph


class BufferLines:
    """The compute buffers of one model."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._chooses = any(cache.kind is CacheKind.INDEXER for cache in layout.caches())
        self._windows = max((cache.window_tokens or 0 for cache in layout.caches()), default=0)
        self._mixed = len({cache.kind is CacheKind.RECURRENT for cache in layout.caches()}) > 1
        self._laid: dict[tuple[Settings, Placement], ComputeBuffers] = {}
        self._known: Known = {}

    def of(self, settings: Settings, placement: Placement, copied: Mapping[tuple[str, int | None], int] | None = None) -> ComputeBuffers:
        """The buffers of a step. copied: as `compute_buffers` wants it; then every question is laid out anew."""
        if copied is not None:
            return compute_buffers(self._layout, settings, placement, copied)
        start = self.straight_from(settings, placement)
        if start is None or settings.cells <= start:
            return self._at(settings, placement)
        low, high = self._at(settings._replace(cells=start), placement), self._at(settings._replace(cells=2 * start), placement)
        steps, base = (settings.cells - start) // CELL_PADDING, start // CELL_PADDING
        return ComputeBuffers(
            gpus=tuple(first + (second - first) * steps // base for first, second in zip(low.gpus, high.gpus, strict=True)),
            host=low.host + (high.host - low.host) * steps // base,
        )

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
        start = max(_LEAST_CELLS, 2 * (self._windows * settings.sequences + settings.ubatch_tokens) // CELL_PADDING * CELL_PADDING)
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
