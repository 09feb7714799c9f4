"""`runlocal check`: does it fit, which quantizations, how long a context."""

from collections.abc import Sequence

from runlocal.commands import machines as asked_machines
from runlocal.commands.options import Options, read
from runlocal.core.errors import Exit
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.core.report import Check
from runlocal.core.verdict import is_yes
from runlocal.solve.check import check


class Found(NamedTuple):
    """The reports, what else to say, and the answer as an exit code."""

    checks: tuple[Check, ...]
    hints: tuple[str, ...]
    exit: Exit


def run(names: Sequence[str], options: Options) -> Found:
    """A report per model. Raises Problem."""
    asked = read(options)
    places = asked_machines.machines(options)
    checks = []
    for name in names:
        model, notes = open_model(name)
        found = check(model, asked, [place.machine for place in places], [place.words for place in places])
        checks.append(found._replace(notes=(*notes, *found.notes)))
    yes = any(one.answer is not None and is_yes(one.answer, strict=asked.strict, offload=asked.offload) for one in checks)
    hints = tuple(dict.fromkeys(place.hint for place in places if place.hint))
    return Found(tuple(checks), hints, Exit.YES if yes else Exit.NO)


def open_model(name: str) -> tuple[ModelSpec, tuple[str, ...]]:
    """The model that a name or path means, and what to know about that name. Raises Problem."""
    from runlocal.catalog.models import alias_variant, find_model

    model = find_model(name)
    notes = [model.note] if model.note else []
    if alias_variant(model, name) == "base":
        notes.append("These are base weights: they complete text and have no chat template.")
    return model, tuple(notes)
