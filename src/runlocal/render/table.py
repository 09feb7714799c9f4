"""The answer for people: the sentence first, then the grid, what stands where, what loads it, what may be done with it, what would help."""

from collections.abc import Sequence

from runlocal.core.machine import Origin
from runlocal.core.report import Advice, Check, MachineCheck, Shelf, Support
from runlocal.core.units import gib, size_text
from runlocal.core.verdict import Answer
from runlocal.render import layout
from runlocal.render.grid import grid_lines, legend_lines
from runlocal.render.layout import Line, command_lines, marked, paint, paragraph, row_line
from runlocal.render.parts import parts_lines
from runlocal.render.phrases import (
    ANSWER_WORDS,
    answer_sentence,
    asked_text,
    gib_number,
    license_text,
    longest_text,
    several_machines_sentence,
    several_models_sentence,
    support_text,
    usual_runtimes_sentence,
)
from runlocal.render.style import BOLD, DIM, HEAD, PLAIN, WARNING, Style, answer_ink, clean, glyphs, support_ink

_OVERVIEW_UNITS = "need and usable in GiB; headroom on the fullest device"
_SPEED = 7  # its column of the overview


def checks_text(checks: Sequence[Check], style: Style, *, explain: bool = False) -> str:
    """One check in full, several a line each."""
    return paint(checks_lines(checks, style, explain=explain), style)


def checks_lines(checks: Sequence[Check], style: Style, *, explain: bool = False) -> list[Line]:
    """The lines of `checks_text`."""
    return check_lines(checks[0], style, explain=explain) if len(checks) == 1 else _several_models(checks, style)


def check_lines(check: Check, style: Style, *, explain: bool) -> list[Line]:
    """One model on one or several machines."""
    several = len(check.machines) > 1
    lines = _first_lines(check, style)
    if several:
        lines += [(), *_overview([(found.machine.label, found) for found in check.machines], "machine", style)]
    for found in check.machines:
        lines += [(), *grid_lines(check, found, style)]
        if several:
            for note in (found.headline.reason, *found.machine.notes):
                lines += paragraph(note, style, ink=DIM)
    if legend := legend_lines(check, style):
        lines += [(), *legend]
    for found in check.machines:
        if found.shelf:
            lines += [(), *_shelf_lines(found, found.shelf, style)]
        if (explain or not several) and (parts := parts_lines(found, style, explain=explain)):
            lines += [(), *parts]
    for block in (
        _runtime_lines(check.runtimes, style, explain=explain),
        _license_lines(check, style),
        _advice_lines(check.advice, style, explain=explain),
        _command_lines(check, style),
    ):
        lines += [(), *block] if block else []
    return lines


def _first_lines(check: Check, style: Style) -> list[Line]:
    """The sentence, and what must not be missed: runtimes that most people have and that do not load it, the reason, warnings."""
    only = check.machines[0] if len(check.machines) == 1 else None
    sentence = answer_sentence(check.model, only) if only else several_machines_sentence(check)
    answer = only.headline.answer if only else check.answer
    mark = f"{glyphs(style).of(answer)}"
    lines = marked((mark, answer_ink(answer)), sentence, style, ink=BOLD) if answer else paragraph(sentence, style, ink=BOLD)
    alarms = [usual_runtimes_sentence(check.runtimes)]
    if only and answer not in (Answer.CANNOT_RUN, Answer.SPILLS):
        lines += paragraph(only.headline.reason, style, indent=2)
    # How a name was read is no alarm.
    notes = only.machine.notes if only and only.machine.origin is Origin.NAMED else ()
    alarms += [warning for warning in only.headline.warnings if warning not in notes] if only else []
    for alarm in alarms:
        if alarm:
            lines += marked((glyphs(style).warning, WARNING), alarm, style)
    return lines + [line for note in (*notes, *check.notes) for line in paragraph(note, style, ink=DIM, indent=2)]


def _overview(rows: Sequence[tuple[str, MachineCheck]], subject: str, style: Style) -> list[Line]:
    """A line each: answer, what it needs of what is there, what is left on the fullest device, the longest context, how fast where that is known."""
    head = [
        layout.Cell(text, HEAD, right)
        for text, right in (
            ("", False),
            (subject, False),
            ("quant", False),
            ("need", True),
            ("usable", True),
            ("headroom", True),
            ("up to", True),
            ("est. t/s", True),
            ("answer", False),
        )
    ]
    table = [head]
    fast = any(found.headline.speed for _, found in rows)
    for label, found in rows:
        cell = found.headline
        left = size_text(min(cell.headroom_bytes)) if cell.headroom_bytes else "?"
        speed = cell.speed.text if cell.speed else "?" if cell.speed_unknown else ""
        table.append(
            [
                layout.Cell(f" {glyphs(style).of(cell.answer)} ", answer_ink(cell.answer)),
                layout.Cell(clean(label, style)),
                layout.Cell(clean(cell.quant, style)),
                *(
                    layout.Cell(text, right=True)
                    for text in (gib_number(cell.need_bytes), gib_number(cell.usable_bytes), left, longest_text(cell.fits_context_tokens), speed)
                ),
                layout.Cell(ANSWER_WORDS[cell.answer] if cell.answer else ""),
            ]
        )
    # The mark says what the last column says: it goes first where the width is short, then the sizes that the grids repeat.
    unasked = () if fast else (_SPEED,)
    for narrower in ((), (8,), (8, 4), (8, _SPEED), (8, _SPEED, 4), (8, _SPEED, 4, 2), (8, _SPEED, 5, 4, 2)):
        dropped = {*unasked, *narrower}
        kept = [[cell for number, cell in enumerate(row) if number not in dropped] for row in table]
        widths = layout.widths(kept)
        taken = sum(widths) + 2 * (len(widths) - 1)
        if taken <= style.width:
            break
    # The mark says what the answer says: that column is not missed.
    missed = ", ".join(head[number].text for number in sorted(dropped.difference(unasked)) if number != len(head) - 1)
    spills = any(found.headline.answer is Answer.SPILLS for _, found in rows)
    units = _OVERVIEW_UNITS + ("; up to: longest context without host memory" if spills else "")
    units += "; t/s: of one sequence, its context full" if fast and _SPEED not in dropped else ""
    explained = paragraph(units + (f"; left out for want of width: {missed}" if missed else ""), style, ink=DIM)
    if taken > style.width:
        # Labels longer than what is left beside the numbers stand on a line of their own.
        lines: list[Line] = []
        for number, row in enumerate(kept):
            rest = row_line([row[0], *row[2:]], [widths[0], *widths[2:]])
            lines += [rest] if number == 0 else [*paragraph(row[1].text, style), rest]
        return lines + explained
    return [row_line(row, widths) for row in kept] + explained


def _several_models(checks: Sequence[Check], style: Style) -> list[Line]:
    """A line per model and machine, then what must not be missed of each."""
    several = len({found.machine.label for check in checks for found in check.machines}) > 1
    rows = [(f"{check.model.id} on {found.machine.label}" if several else check.model.id, found) for check in checks for found in check.machines]
    lines = [*paragraph(several_models_sentence(checks), style, ink=BOLD), (), *_overview(rows, "model", style)]
    alarms: dict[str, dict[str, None]] = {}
    for check in checks:
        if alarm := usual_runtimes_sentence(check.runtimes):
            alarms.setdefault(alarm, {})[check.model.id] = None
    for alarm, models in alarms.items():
        lines += marked((glyphs(style).warning, WARNING), f"{', '.join(models)}: {alarm}", style)
    return lines


def _shelf_lines(found: MachineCheck, shelf: Shelf, style: Style) -> list[Line]:
    """What a card would have to hold, for somebody without one."""
    need = f" needs {gib(shelf.need_bytes)}." if shelf.need_bytes is not None else ":"
    lines = paragraph(f"On a GPU {asked_text(found.headline)}{need} Common cards, GB on the box and GiB usable:", style, ink=BOLD)
    columns = [
        ((str(size), HEAD), (gib_number(usable), PLAIN), (glyphs(style).of(answer), answer_ink(answer)))
        for size, usable, answer in ((size, usable, Answer.FITS if fits else Answer.DOES_NOT_FIT) for size, usable, fits in shelf.sizes)
    ]
    width = max((len(text) for column in columns for text, _ in column), default=0)
    labels = ("card", "usable", "")
    label_width = max(map(len, labels)) + 1
    per_block = max(1, (style.width - label_width) // (width + 1))
    for start in range(0, len(columns), per_block):
        block = columns[start : start + per_block]
        lines += [()] if start else []
        lines += [
            [(label.ljust(label_width), DIM), *(span for text, ink in row for span in ((" ", PLAIN), (text.rjust(width), ink)))]
            for label, row in zip(labels, zip(*block, strict=True), strict=True)
        ]
    lines += paragraph(f"Smallest single card: {shelf.smallest_card or 'none that we know'}", style)
    return lines + paragraph(f"Cheapest pair of cards: {f'2 × {shelf.cheapest_pair}' if shelf.cheapest_pair else 'none that we know'}", style)


def _runtime_lines(runtimes: Sequence[Support], style: Style, *, explain: bool) -> list[Line]:
    """What each runtime says to the model, as of which version."""
    if not runtimes:
        return []
    width = max(layout.width_of(clean(one.name, style)) for one in runtimes)
    lines: list[Line] = [(("What loads it", HEAD),)]
    for one in runtimes:
        name = layout.pad(clean(one.name, style), width)
        text = support_text(one) + (f": {one.note}" if one.note else "")
        indent = width + 4
        first, *rest = paragraph(text, style._replace(width=style.width - indent)) or [()]
        lines.append([(glyphs(style).of_support(one.loads), support_ink(one.loads)), (f" {name}  ", PLAIN), *first])
        lines += [[(" " * indent, PLAIN), *line] for line in rest]
        if explain and one.source:
            lines += paragraph(one.source, style, ink=DIM, indent=indent)
    return lines


def _license_lines(check: Check, style: Style) -> list[Line]:
    return paragraph(f"Licence: {license_text(check.license, check.model.gated)}", style)


def _advice_lines(advice: Sequence[Advice], style: Style, *, explain: bool) -> list[Line]:
    """Changes that turn the no into a yes, cheapest first."""
    if not advice:
        return []
    arrow = glyphs(style).arrow
    changes = [clean(one.change, style) for one in advice]
    savings = [f"saves {size_text(one.saves_bytes)}" if one.saves_bytes > 0 else "" for one in advice]
    change_width, saving_width = max(map(layout.width_of, changes)), max(map(len, savings))
    indent = len(arrow) + 1
    widest = max(len(ANSWER_WORDS[one.answer]) for one in advice)
    beside = indent + change_width + 2 + saving_width + 2 + indent + widest <= style.width
    lines: list[Line] = [(("What would help", HEAD),)]
    for one, change, saving in zip(advice, changes, savings, strict=True):
        outcome = [(f"{arrow} ", DIM), (ANSWER_WORDS[one.answer], answer_ink(one.answer))]
        if beside:
            lines.append([(f"{arrow} ", BOLD), (f"{layout.pad(change, change_width)}  {saving.ljust(saving_width)}  ", PLAIN), *outcome])
        else:
            lines += marked((arrow, BOLD), change, style)
            lines.append([(" " * indent + (f"{saving}  " if saving else ""), PLAIN), *outcome])
        if explain:
            lines += paragraph(one.command, style, ink=DIM, indent=indent)
    return lines


def _command_lines(check: Check, style: Style) -> list[Line]:
    """What starts the headline cell; of one machine, since several would be started each in its own way."""
    cell = check.machines[0].headline if len(check.machines) == 1 else None
    if cell is None or not cell.command or cell.answer in (Answer.DOES_NOT_FIT, Answer.CANNOT_RUN):
        return []
    commands = (*(one.command for one in cell.beside), cell.command)
    return [(("Start it with", HEAD),), *(line for command in commands for line in command_lines(command, style))]
