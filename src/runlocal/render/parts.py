"""What the headline cell is made of: a bar per device, and the key that says what each colour and letter is."""

from collections.abc import Iterable, Sequence

from runlocal.core.machine import Machine
from runlocal.core.part import HOST, Basis, Kind, gpu, margin, need
from runlocal.core.report import Cell, MachineCheck
from runlocal.core.units import gib, size_text
from runlocal.render import layout
from runlocal.render.bar import LETTERS, Load, bar_lines
from runlocal.render.breakdown import Row, device_text, devices, layers_text, left, rows, shares_host_memory, usable
from runlocal.render.layout import Line, paragraph, row_line
from runlocal.render.phrases import BASIS_WORDS, asked_text, settings_text, speed_text
from runlocal.render.style import BOLD, DIM, HEAD, KIND_INKS, MISSING, PLAIN, Style, clean

_WIDEST_BAR = 100


def parts_lines(found: MachineCheck, style: Style, *, explain: bool) -> list[Line]:
    """Bars and key of the machine's headline cell."""
    cell, machine = found.headline, found.machine
    if not cell.parts:
        return []
    lines = [*paragraph(f"{asked_text(cell)} on {machine.label}", style, ink=BOLD), *paragraph(settings_text(cell), style, ink=DIM)]
    if speed := speed_text(cell, explain=explain):
        lines += paragraph(speed, style)
        sources = cell.speed.sources if cell.speed and explain else ()
        lines += [line for source in sources for line in paragraph(source, style, ink=DIM, indent=6)]
    for bar in _bars(cell, machine, style):
        lines += [(), *bar]
    lines += [(), *_key(cell, machine, style, explain=explain)]
    if explain:
        seen = dict.fromkeys(row.basis for row in rows(cell))
        lines += [(), *(line for basis in Basis if basis in seen for line in paragraph(f"{basis}: {BASIS_WORDS[basis]}", style, ink=DIM))]
    return lines


def _bars(cell: Cell, machine: Machine, style: Style) -> Iterable[list[Line]]:
    """A bar per GPU on one scale, equal ones once; the host's where there is no GPU, else a line."""
    names = devices(cell, machine)
    bars = [name for name in names if name != HOST] or names
    loads = {name: _load(cell, name, machine) for name in bars}
    scale = max(load.scale_bytes for load in loads.values())
    groups: list[tuple[list[str], str, Load]] = []
    for name, load in loads.items():
        title = _device_title(name, machine)
        if groups and groups[-1][1:] == (title, load):
            groups[-1][0].append(name)
        else:
            groups.append(([name], title, load))
    for members, title, load in groups:
        held = layers_text(members, cell)
        head = paragraph(f"{_which(members)}{title}: {gib(load.need_bytes)} needed{held and f' for {held}'}", style)
        yield [*head, *(bar_lines(load, scale, min(style.width, _WIDEST_BAR), style) if load.scale_bytes else [])]
    if HOST in names and HOST not in bars and not any(shares_host_memory(name, machine) for name in bars):
        size = usable(HOST, machine)
        of = "" if size is None else f" of {gib(size)} that may be used"
        held = layers_text([HOST], cell)
        yield paragraph(f"host memory: {size_text(need(cell.parts, HOST))} needed{of}{held and f', for {held}'}", style)


def _which(members: Sequence[str]) -> str:
    """`GPU 0`, `GPU 1 to 3, each`, `host memory`."""
    if len(members) > 1:
        return f"{device_text(members[0])} to {members[-1].removeprefix('gpu')}, each"
    return "host memory" if members[0] == HOST else device_text(members[0])


def _device_title(name: str, machine: Machine) -> str:
    title = next((one.name for one in machine.gpus if gpu(one.index) == name), "")
    shared = ", memory shared with the host" if shares_host_memory(name, machine) else ""
    return f", {title}{shared}" if title else shared


def _load(cell: Cell, name: str, machine: Machine) -> Load:
    kinds: dict[Kind, int] = {}
    for row in rows(cell):
        size = (row.on(name) or 0) + ((row.on(HOST) or 0) if shares_host_memory(name, machine) else 0)
        if size:
            kinds[row.kind] = kinds.get(row.kind, 0) + size
    return Load(tuple(kinds.items()), usable(name, machine))


def _key(cell: Cell, machine: Machine, style: Style, *, explain: bool) -> list[Line]:
    """Swatch, part, size per device, share of what is usable, how sure; then the sums. Narrow terminals get the GPU with the least headroom alone."""
    names = devices(cell, machine)
    gpus = [name for name in names if name != HOST]
    table = rows(cell)
    host = [HOST] if HOST in names else []
    tightest = [min(gpus, key=lambda name: _room(name, cell, machine))] if gpus else host
    # Never a sum over GPUs: that one has room does not help another.
    for columns, full in ((names, True), (names, False), (gpus or host, False), ([*tightest, *host] if gpus else host, True), (tightest, False)):
        shown = [row for row in table if any(row.on(name) for name in columns)]
        lines = _key_table(cell, shown, machine, columns, style, full=full)
        widths = layout.widths(lines)
        if sum(widths) + 2 * (len(widths) - 1) + 4 <= style.width:
            break
    out: list[Line] = []
    for number, line in enumerate(lines):
        row = shown[number - 1] if 0 < number <= len(shown) else None
        swatch = (f" {LETTERS[row.kind]} ", KIND_INKS[row.kind]) if row else ("   ", PLAIN)
        out.append([swatch, (" ", PLAIN), *row_line(line, widths)])
        if row and explain:
            out += _explained(row, style)
    return out + paragraph(_left_out([name for name in names if name not in columns], gpus, cell, machine), style, ink=DIM)


def _room(name: str, cell: Cell, machine: Machine) -> int:
    """What is left on a GPU, for comparing; where nothing limits them the fullest has least."""
    free = left(name, cell, machine)
    return -need(cell.parts, name) if free is None else free


def _left_out(names: Sequence[str], gpus: Sequence[str], cell: Cell, machine: Machine) -> str:
    """The devices that the width had no room for, a sentence; empty where it had."""
    if not names:
        return ""
    alike: dict[str, list[str]] = {}
    for name in names:
        free = left(name, cell, machine)
        headroom = f", headroom {size_text(free)}" if free is not None and name != HOST else ""
        alike.setdefault(f"{size_text(need(cell.parts, name))} needed{headroom}", []).append(device_text(name))
    told = "; ".join(f"{', '.join(members)}: {what}" for what, members in alike.items())
    return f"Left out for want of width: {told}." + (" The GPU shown has the least headroom." if set(names) & set(gpus) else "")


def _key_table(cell: Cell, table: Sequence[Row], machine: Machine, columns: Sequence[str], style: Style, *, full: bool) -> list[list[layout.Cell]]:
    """head, a row per part, `needed`, and `usable` and what is left where something limits it. full: with how sure, and of one GPU the share."""
    counted = [name for name in columns if name != HOST] or [HOST]
    total = usable(counted[0], machine) if len(counted) == 1 else None

    def line(label: str, sizes: Sequence[str], share: str, last: str, ink: str = PLAIN) -> list[layout.Cell]:
        numbers = [layout.Cell(text, ink, right=True) for text in (*sizes, *((share,) if total and full else ()))]
        sure = [layout.Cell(last, DIM if ink == PLAIN else ink)] if full else []
        return [layout.Cell(clean(label, style), ink), *numbers, *sure]

    heads = [device_text(name) for name in columns]
    out = [line("part", heads, "of usable", "how sure", HEAD)]
    for row in table:
        sizes = [_size(row.on(name)) for name in columns]
        out.append(line(row.label, sizes, _share(row.on(counted[0]), total), row.basis.value))
    needs = {name: need(cell.parts, name) for name in columns}
    worst = {name: size + margin(cell.parts, name) for name, size in needs.items()}
    for label, sums, ink in (("needed", needs, BOLD), *((("at the most", worst, PLAIN),) if worst != needs else ())):
        out.append(line(label, [size_text(sums[name]) for name in columns], _share(sums[counted[0]], total), "", ink))
    have = [usable(name, machine) for name in columns]
    free = [left(name, cell, machine) for name in columns]
    if any(size is not None for size in have):
        short = any(size is not None and size < 0 for size in free)
        out.append(line("usable", [_size(size) for size in have], "", ""))
        out.append(line("headroom", [_size(size) for size in free], "", "", MISSING if short else PLAIN))
    return out


def _size(size: int | None) -> str:
    return "" if size is None else size_text(size)


def _share(size: int | None, total: int | None) -> str:
    if size is None or not total:
        return ""
    percent = round(100 * size / total)
    return f"{percent} %" if percent or not size else "<1 %"


def _explained(row: Row, style: Style) -> list[Line]:
    """Formula and source of a part; of each device where they differ."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for part in row.parts:
        reasons.setdefault((part.because, part.source), []).append(device_text(part.device))
    out: list[Line] = []
    for (because, source), where in reasons.items():
        prefix = f"{', '.join(where)}: " if len(reasons) > 1 else ""
        out += paragraph(prefix + because, style, indent=6) if because else []
        out += paragraph(source, style, ink=DIM, indent=6) if source else []
    return out
