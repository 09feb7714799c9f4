"""A stacked bar of what stands on a device, and the ruler that says what of it is there."""

from collections.abc import Sequence
from itertools import accumulate

from runlocal.core.noun import NamedTuple
from runlocal.core.part import Kind
from runlocal.core.units import size_text
from runlocal.render.layout import Line, Span, width_of
from runlocal.render.style import BOLD, DIM, KIND_INKS, MISSING, PLAIN, Style, glyphs

LETTERS = {Kind.WEIGHTS: "W", Kind.CACHE: "K", Kind.STATE: "S", Kind.VISION: "V", Kind.VISION_BUFFER: "I", Kind.COMPUTE_BUFFER: "C", Kind.RUNTIME: "R"}
NAMES = {
    Kind.WEIGHTS: "weights",
    Kind.CACHE: "cache",
    Kind.STATE: "state",
    Kind.VISION: "vision",
    Kind.VISION_BUFFER: "image graph",
    Kind.COMPUTE_BUFFER: "compute",
    Kind.RUNTIME: "runtime",
}


class Load(NamedTuple):
    """What one device is asked to hold.

    kinds: bytes of each kind, in the order of the bar, none of them zero
    usable_bytes: what can be allocated there, None where that does not end
    """

    kinds: tuple[tuple[Kind, int], ...]
    usable_bytes: int | None

    @property
    def need_bytes(self) -> int:
        return sum(size for _, size in self.kinds)

    @property
    def scale_bytes(self) -> int:
        """What the bar's whole length stands for."""
        return max(self.need_bytes, self.usable_bytes or 0)


def cells(sizes: Sequence[int], width: int) -> list[int]:
    """`width` columns shared out by `sizes`: rounded edge by edge, so that they add up, at least one for everything that is not zero.

    `width` is at least the number of sizes that are not zero, and some size is not zero.
    """
    total = sum(sizes)
    edges = [0, *(round(edge * width / total) for edge in accumulate(sizes))]
    for i, size in enumerate(sizes):
        edges[i + 1] = max(edges[i + 1], edges[i] + bool(size))
    edges[-1] = width
    for i in range(len(sizes) - 1, 0, -1):
        edges[i] = min(edges[i], edges[i + 1] - bool(sizes[i]))
    return [edges[i + 1] - edges[i] for i in range(len(sizes))]


def bar_lines(load: Load, scale_bytes: int, width: int, style: Style) -> list[Line]:
    """The bar and its ruler: `width` columns stand for `scale_bytes` (at least the load's own scale)."""
    free = max(0, (load.usable_bytes or 0) - load.need_bytes)
    sizes = [*(size for _, size in load.kinds), free]
    length = max(round(load.scale_bytes * width / scale_bytes), len(load.kinds) + bool(free))
    columns = cells(sizes, length)
    bar: list[Span] = [_segment(kind, size, count, style) for (kind, size), count in zip(load.kinds, columns, strict=False)]
    if free:
        bar.append(_free(free, columns[-1], style))
    return [bar, *_ruler(load, length, width, style)]


def _segment(kind: Kind, size: int, width: int, style: Style) -> Span:
    label = _longest_that_fits((f" {NAMES[kind]} {size_text(size)} ", f" {size_text(size)} ", LETTERS[kind]), width)
    # Without colour the letter fills the segment, or neighbours would run into one another.
    filler = " " if style.colour else LETTERS[kind]
    return label.center(width, filler) if width_of(label) > 1 else label.ljust(width, filler), KIND_INKS[kind]


def _free(size: int, width: int, style: Style) -> Span:
    label = _longest_that_fits((f" {size_text(size)} free ", " free ", ""), width - 2)
    return label.center(width, glyphs(style).free), DIM


def _longest_that_fits(labels: Sequence[str], width: int) -> str:
    return next((label for label in labels if len(label) <= width), labels[-1])


def _ruler(load: Load, length: int, room: int, style: Style) -> list[Line]:
    if load.usable_bytes is None:
        return _brackets([(length, f"{size_text(load.need_bytes)} needed", BOLD)], room, style)
    usable = f"{size_text(load.usable_bytes)} usable"
    missing = load.need_bytes - load.usable_bytes
    if missing <= 0:
        return _brackets([(length, usable, BOLD)], room, style)
    there, short = cells((load.usable_bytes, missing), length)
    return _brackets([(there, usable, BOLD), (short, f"{size_text(missing)} missing", MISSING)], room, style)


def _brackets(pieces: Sequence[tuple[int, str, str]], room: int, style: Style) -> list[Line]:
    """Brackets of so many columns around their labels; labels too wide for their bracket go behind the last, or below where there is no room."""
    marks = glyphs(style)
    line: list[Span] = []
    outside: list[Span] = []
    for width, label, ink in pieces:
        roomy = width >= len(label) + 4
        if not roomy:
            outside += [(", ", ink)] if outside else []
            outside.append((label, ink))
        if width == 1:
            line.append((marks.corner_right, ink))
        elif width:
            inside = f" {label} " if roomy else ""
            line.append((marks.corner_left + inside.center(width - 2, marks.line) + marks.corner_right, ink))
    taken = sum(width for width, _, _ in pieces) + 1 + sum(len(text) for text, _ in outside)
    if outside and taken > room:
        return [line, outside]
    return [[*line, (" ", PLAIN), *outside]] if outside else [line]
