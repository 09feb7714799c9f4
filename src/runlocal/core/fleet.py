"""Fleets: the nodes of an inventory, as it states them."""

from runlocal.core.machine import Backend
from runlocal.core.noun import NamedTuple


class Card(NamedTuple):
    """One device of a node, or one slice of a card.

    name: the product as the inventory spells it; empty where it does not name one
    memory_bytes: the total it states, of the slice where it is one; None where it states none
    nominal: that total is the size on the box, not a driver's reading
    profile: of a MIG slice: `1g.10gb`; None for a card
    reserved_bytes, in_use_bytes: what the driver keeps and what processes hold; None where it does not say
    backend: the allocator behind it
    """

    name: str
    memory_bytes: int | None = None
    nominal: bool = False
    profile: str | None = None
    reserved_bytes: int | None = None
    in_use_bytes: int | None = None
    backend: Backend = Backend.CUDA


class Node(NamedTuple):
    """One computer of a fleet.

    name: what the inventory calls it
    cards: its devices; empty: no GPU
    down: drained, cordoned or not answering
    problem: why its devices are not known or not to be had, a sentence; empty where all is well
    """

    name: str
    cards: tuple[Card, ...] = ()
    down: bool = False
    problem: str = ""


class Fleet(NamedTuple):
    """What an inventory holds.

    nodes: in its order
    notes: how it was read, a sentence each
    """

    nodes: tuple[Node, ...]
    notes: tuple[str, ...] = ()
