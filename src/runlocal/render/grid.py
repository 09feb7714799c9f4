"""The grid: quantizations down, contexts across, what each needs and whether it fits."""

from collections.abc import Sequence

from runlocal.core.noun import NamedTuple
from runlocal.core.report import Cell, Check, MachineCheck
from runlocal.core.units import GB, context_text, gib
from runlocal.core.verdict import Answer
from runlocal.render import layout
from runlocal.render.layout import Line, paragraph, row_line
from runlocal.render.phrases import ANSWER_WORDS, LEGEND, gib_number, longest_text, of_usable_text
from runlocal.render.style import BOLD, DIM, HEAD, PLAIN, Style, answer_ink, clean, glyphs

_QUANT, _BITS, _FILE, _CACHE, _LONGEST = "quant", "bpw", "GB", "cache", "up to"

# Below this, bits per weight and download would leave no room for two contexts.
_ROOM_FOR_BITS = 60


class Row(NamedTuple):
    """A quantization with one pair of cache types.

    cells: one per context, None where it was not asked
    """

    quant: str
    cache: str
    cells: tuple[Cell | None, ...]

    @property
    def asked(self) -> tuple[Cell, ...]:
        """Its cells without the gaps."""
        return tuple(cell for cell in self.cells if cell is not None)

    # What does not depend on the context stands in every cell that could be priced: the first that knows it tells.
    @property
    def bits(self) -> str:
        """Bits per weight."""
        return next((f"{cell.bits_per_weight:.2f}" for cell in self.asked if cell.bits_per_weight is not None), "?")

    @property
    def download(self) -> str:
        """The file's tensors in GB."""
        return next((f"{cell.tensor_bytes / GB:.1f}" for cell in self.asked if cell.tensor_bytes is not None), "?")

    @property
    def longest(self) -> str:
        """The longest context that fits."""
        return longest_text(next((cell.fits_context_tokens for cell in self.asked if cell.fits_context_tokens is not None), None))


def rows(check: Check, found: MachineCheck) -> tuple[tuple[int, ...], list[Row]]:
    """The contexts, and a row for each quantization and pair of cache types, in the order of the cells."""
    contexts = check.asked_contexts or tuple(sorted({cell.context_tokens for cell in found.cells}))
    table: dict[tuple[str, str], dict[int, Cell]] = {}
    for cell in found.cells:
        cache = cell.cache_type_k if cell.cache_type_k == cell.cache_type_v else f"{cell.cache_type_k}:{cell.cache_type_v}"
        table.setdefault((cell.quant, cache), {})[cell.context_tokens] = cell
    # Contexts that a setting alone reaches may stand in the cells without having been asked for as a column.
    return contexts, [
        Row(quant, cache, tuple(cells.get(tokens) for tokens in contexts))
        for (quant, cache), cells in table.items()
        if any(tokens in cells for tokens in contexts)
    ]


def grid_rows(check: Check, found: MachineCheck) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    """The grid in words, for Markdown: head (label, stands right) and rows."""
    contexts, table = rows(check, found)
    head = [
        ("quantization", False),
        ("cache", False),
        ("bits per weight", True),
        ("download", True),
        *((f"{context_text(tokens)} context", True) for tokens in contexts),
        ("fits up to", True),
    ]
    body = [[row.quant, row.cache, row.bits, f"{row.download} GB", *(_in_words(cell) for cell in row.cells), row.longest] for row in table]
    return head, body


def _in_words(cell: Cell | None) -> str:
    if cell is None:
        return ""
    size = _need_bytes(cell)
    need = "" if size is None else gib(size)
    return need if cell.answer is None else f"{need} {ANSWER_WORDS[cell.answer]}".strip()


def grid_lines(check: Check, found: MachineCheck, style: Style) -> list[Line]:
    """The grid under its title. Where the width has no room for every context, the contexts go on in a further block."""
    contexts, table = rows(check, found)
    if not table:
        return []
    lines = paragraph(f"GiB needed{of_usable_text(found)} on {found.machine.label}", style, ink=BOLD)
    need = max(len(_need(cell)) for row in table for cell in row.cells) + 2
    width = max(need, *(len(context_text(tokens)) for tokens in contexts))
    left = _left_columns(table, style)
    left_widths = layout.widths(left)
    right = _right_column(table)
    right_width = layout.widths(right)[0] if right else 0
    room = style.width - sum(left_widths) - 2 * (len(left_widths) - 1) - 1 - (right_width + 2 if right else 0)
    # Colours look better with a blank around the numbers; they get one where that costs no further block.
    width += (width + 2) * len(contexts) <= room
    per_block = max(1, room // (width + 1))
    for start in range(0, len(contexts), per_block):
        block = range(start, min(start + per_block, len(contexts)))
        last = block.stop == len(contexts)
        for number, label in enumerate(left):
            line = [*row_line(label, left_widths), (" ", PLAIN)]
            if number == 0:
                for column in block:
                    line += [(" ", PLAIN), (context_text(contexts[column]).rjust(width), HEAD)]
            else:
                for column in block:
                    line += [(" ", PLAIN), _cell_span(table[number - 1].cells[column], width, style)]
            if right and last:
                line += [(" ", PLAIN), (" " + right[number][0].text.rjust(right_width), right[number][0].ink)]
            lines.append(line)
        if not last:
            lines.append(())
    return lines


def _left_columns(table: Sequence[Row], style: Style) -> list[list[layout.Cell]]:
    """Quantization, cache types where there are several, bits per weight and download, head first."""
    caches = len({row.cache for row in table}) > 1
    head = [layout.Cell(_QUANT, HEAD)]
    body = [[layout.Cell(clean(row.quant, style))] for row in table]
    columns = [(_CACHE, [row.cache for row in table])] if caches else []
    if style.width >= _ROOM_FOR_BITS:
        columns += [(_BITS, [row.bits for row in table]), (_FILE, [row.download for row in table])]
    for label, texts in columns:
        right = label != _CACHE
        head.append(layout.Cell(label, HEAD, right))
        for line, text in zip(body, texts, strict=True):
            line.append(layout.Cell(clean(text, style), DIM, right))
    return [head, *body]


def _right_column(table: Sequence[Row]) -> list[list[layout.Cell]]:
    """The longest context that fits, head first; nothing where no machine limits it."""
    if all(cell.answer is None for row in table for cell in row.asked):
        return []
    return [[layout.Cell(_LONGEST, HEAD, right=True)], *([layout.Cell(row.longest, right=True)] for row in table)]


def _need(cell: Cell | None) -> str:
    size = None if cell is None else _need_bytes(cell)
    return "" if size is None else gib_number(size)


def _need_bytes(cell: Cell) -> int | None:
    """What the cell needs, wherever it lies: what spills counts too, or a longer context would seem to need less."""
    spilled = (cell.host_need_bytes or 0) if cell.answer is Answer.SPILLS else 0
    return None if cell.need_bytes is None else cell.need_bytes + spilled


def _cell_span(cell: Cell | None, width: int, style: Style) -> tuple[str, str]:
    if cell is None:
        return " " * width, PLAIN
    return f"{_need(cell)} {glyphs(style).of(cell.answer)}".rjust(width), answer_ink(cell.answer)


def legend_lines(check: Check, style: Style) -> list[Line]:
    """What the marks and headings of the grids mean; only those that stand in one."""
    seen = {cell.answer for found in check.machines for row in rows(check, found)[1] for cell in row.asked}
    if not seen:
        return []
    lines: list[Line] = []
    line: list[tuple[str, str]] = []
    taken = 0
    for answer in Answer:
        if answer not in seen:
            continue
        label = f" {LEGEND[answer]}"
        size = 3 + len(label) + (3 if line else 0)
        if line and taken + size > style.width:
            lines.append(line)
            line, taken = [], 0
            size -= 3
        line += [*([("   ", PLAIN)] if line else []), (f" {glyphs(style).of(answer)} ", answer_ink(answer)), (label, PLAIN)]
        taken += size
    if line:
        lines.append(line)
    wide = style.width >= _ROOM_FOR_BITS
    words = [f"{_BITS}: bits per weight", f"{_FILE}: download (10^9)"] if wide else []
    if seen != {None}:
        words.append(f"{_LONGEST}: longest context that fits" + (" without host memory" if Answer.SPILLS in seen else ""))
    words += [] if wide else ["left out for want of width: bits per weight, download"]
    return [*lines, *(paragraph("; ".join(words), style, ink=DIM) if words else [])]
