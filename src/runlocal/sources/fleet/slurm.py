"""Nodes as `scontrol show nodes --json` prints them. Form of GRES: https://slurm.schedmd.com/gres.html."""

import re
from collections.abc import Iterator, Mapping

from runlocal.core.fleet import Card, Node
from runlocal.sources.fleet.texts import MOST_CARDS, cut_profile, name_of, whole

_DOWN = ("DOWN", "DRAIN", "FAIL", "NOT_RESPONDING", "POWERED_DOWN", "UNKNOWN")
_SOCKETS = re.compile(r"\([^()]*\)")
_LONGEST_GRES = 10_000


def node(found: object) -> Node:
    """The node of one entry. Raises ValueError with a sentence for people."""
    if not isinstance(found, Mapping):
        raise ValueError("a node is no object")
    name = name_of(found.get("name")) or name_of(found.get("hostname")) or "a node without a name"
    gres = found.get("gres") or ""
    if not isinstance(gres, str) or len(gres) > _LONGEST_GRES:
        raise ValueError(f"node {name}: gres is no text such as gpu:a100:8")
    cards: list[Card] = []
    try:
        for card, count in _cards(gres):
            if len(cards) + count > MOST_CARDS:
                raise ValueError(f"gres counts more than {MOST_CARDS} GPUs")
            cards += [card] * count
    except ValueError as error:
        raise ValueError(f"node {name}: {error}") from None
    state = found.get("state")
    states = [name_of(one).upper() for one in (state if isinstance(state, list) else [state])]
    return Node(name, tuple(cards), down=any(one.startswith(_DOWN) for one in states))


def _cards(gres: str) -> Iterator[tuple[Card, int]]:
    """`gpu:a100:8(S:0-1),gpu:h100_1g.10gb:7,shard:32`: the GPUs alone, each kind with its number."""
    for part in _SOCKETS.sub("", gres).split(","):
        kind, _, rest = part.strip().partition(":")
        if kind != "gpu":
            continue
        name, _, number = rest.rpartition(":")
        # `gpu:4` has no type, `gpu:a100` is one of it.
        count = whole(number)
        if count is None:
            name, count = rest, 1
            if ":" in rest:
                raise ValueError(f"gres {name_of(part)!r} is not of the form gpu:TYPE:COUNT")
        card, profile = cut_profile(name_of(name))
        yield Card(card.replace("_", " ").strip(), profile=profile), count
