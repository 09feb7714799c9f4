"""Reports that are rows or a page: what `models`, `show`, `gpus` found."""

from collections.abc import Mapping
from enum import StrEnum

from runlocal.core.noun import NamedTuple

Value = str | int | float | tuple[str, ...] | None
"""What a cell of a listing holds: raw in machine formats (bytes, tokens), in people's units on screen."""


class Form(StrEnum):
    """How a value is shown to people.

    COUNT: 1,234; PARAMETERS: 88.6 B; GIB, GB: from bytes; RATE: bytes per second as GB/s; TOKENS: 128k; LONGEST: a context that fits, 34k, rounded down;
    DOLLARS: $1,500;
    YES_NO: from a bool; ANSWER: from an `Answer`
    """

    TEXT = "text"
    NUMBER = "number"
    COUNT = "count"
    PARAMETERS = "parameters"
    GIB = "gib"
    GB = "gb"
    RATE = "rate"
    TOKENS = "tokens"
    LONGEST = "longest"
    DOLLARS = "dollars"
    YES_NO = "yes_no"
    ANSWER = "answer"


class Shown(StrEnum):
    """Whom a column is for: people, machine formats, or both."""

    BOTH = "both"
    SCREEN = "screen"
    DATA = "data"


class Column(NamedTuple):
    """A column of a listing.

    key: its name in machine formats, with the unit: `memory_bytes`
    label: its heading on screen
    form: how its values are shown
    extra: left out on screen where the width is short, the last one first; machine formats have it always
    on: whom it is for
    """

    key: str
    label: str
    form: Form = Form.TEXT
    extra: bool = False
    on: Shown = Shown.BOTH


class Listing(NamedTuple):
    """Rows of equal things: the report of `models`, `gpus`, `fit`, `buy`.

    kind: what the rows are, a plural: `models`; the schema of its JSON is `runlocal.<kind>/1`
    title: what the reader looks at
    columns: what is shown, and the order of the keys
    rows: a value per column's key; an absent key is None
    notes: sentences below
    """

    kind: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Value], ...]
    notes: tuple[str, ...] = ()

    @property
    def screen(self) -> tuple[Column, ...]:
        """The columns for people."""
        return tuple(column for column in self.columns if column.on is not Shown.DATA)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of machine formats."""
        return tuple(column.key for column in self.columns if column.on is not Shown.SCREEN)


class Fact(NamedTuple):
    """One value of a page: the key in machine formats, the label on screen."""

    key: str
    label: str
    value: Value
    form: Form = Form.TEXT


class Section(NamedTuple):
    """Facts under a heading."""

    heading: str
    facts: tuple[Fact, ...]


class Page(NamedTuple):
    """One thing in full: the report of `show`.

    kind: what it is: `model`; the schema of its JSON is `runlocal.<kind>/1`
    sections: facts, whose keys are unique over the page
    listings: tables below them, such as the sizes per quantization
    """

    kind: str
    title: str
    sections: tuple[Section, ...]
    listings: tuple[Listing, ...] = ()
    notes: tuple[str, ...] = ()
