"""A model that already runs here: its own process is among those that hold memory, and it would not run beside itself."""

from runlocal.core.machine import Holder, Machine
from runlocal.core.units import context_text, gib
from runlocal.core.verdict import Answer
from runlocal.runtimes import Runtime
from runlocal.solve.asked import HEADLINE_TOKENS, Asked
from runlocal.solve.grid import cells, contexts, headline

_THEN = {
    Answer.FITS: "fits",
    Answer.TIGHT: "fits, tightly",
    Answer.SPILLS: "fits with host memory",
    Answer.DOES_NOT_FIT: "does not fit either",
}


def named(holder: Holder) -> str:
    """`llama-server (pid 1234)`."""
    return f"{holder.name or 'a process'} (pid {holder.pid})"


def running(runtime: Runtime, asked: Asked, machine: Machine, file: str | None) -> str | None:
    """That the model runs here already, what that holds, and the verdict without it: a sentence; None where it does not.

    file: name of the file that was opened in place of a bundled model
    """
    own = [holder for holder in machine.holders if holder.model == runtime.model.id or (file is not None and file in holder.files)]
    if not own:
        return None
    who, held = " and ".join(named(holder) for holder in own), sum(holder.known_bytes for holder in own)
    already = f"{who} already run{'s' if len(own) == 1 else ''} {runtime.model.id} here"
    if not held:
        return f"{already}; the driver does not say how much memory that holds."
    pids = tuple(holder.pid for holder in own)
    columns = contexts(runtime, asked)
    column = asked._replace(contexts=(columns[0] if asked.contexts is not None else min(HEADLINE_TOKENS, max(columns)),))
    then = headline(cells(runtime, column, machine.without(pids)), column, contexts(runtime, column))
    verdict = _THEN.get(then.answer) if then.answer else None
    closed = f"; without {'it' if len(own) == 1 else 'them'} {then.quant} at {context_text(then.context_tokens)} context {verdict}" if verdict else ""
    return f"{already} and hold{'s' if len(own) == 1 else ''} {gib(held)}{closed} ({' '.join(f'--ignore-pid {pid}' for pid in pids)})."
