"""Questions as requests, answered in this process."""

import json
from functools import cache
from typing import Any

from runlocal.commands.batch import Batch
from runlocal.commands.options import Options

Answered = dict[str, Any]
GIB, GB = 1 << 30, 10**9


@cache
def _asked(line: str) -> Answered:
    found: Answered = json.loads(next(iter(Batch(Options()).answers([line]))))
    return found


def ask(model: str, **question: Any) -> Answered:
    """The cell that answers one request; without a machine, on one that is big enough."""
    found = _asked(json.dumps({"model": model, **question}))
    assert "error" not in found, found
    return found


def summed(cell: Answered, *kinds: str) -> int:
    """Bytes of the parts of those kinds on the GPUs."""
    return sum(part["bytes"] for part in cell["parts"] if part["kind"] in kinds and part["device"] != "host")
