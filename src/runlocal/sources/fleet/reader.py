"""A stranger's inventory, read piece by piece: what was understood is let go before the next piece comes."""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from runlocal.core.errors import Code, Problem
from runlocal.core.noun import NamedTuple
from runlocal.sources.files import clean

MOST_BYTES = 256 << 20
LISTS = ("items", "nodes", "gpus")
"""Keys under which kubectl, scontrol and `runlocal gpus` list what they found."""

_PIECE = 1 << 20
_LONGEST_VALUE = 4 << 20  # characters; a Kubernetes object may have 1.5 MiB
_LONGEST_LINE = 1 << 16
_MOST_MEMBERS = 256
_NEAR_THE_END = 64
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class Document(NamedTuple):
    """One JSON object of the stream.

    key: the list it holds, one of `LISTS`; empty: none, then `values` is the object itself
    values: to be gone through once, before the next document
    """

    key: str
    values: Iterator[Any]


class Reader:
    """Text of at most `MOST_BYTES`, of which a piece is held at a time."""

    def __init__(self, stream: BinaryIO, label: str) -> None:
        self.label = label
        self._stream = stream
        self._bytes = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text, self._place, self._start, self._ended = "", 0, 0, False
        self._line = 1  # of the first character of `_text`

    def wrong(self, what: str, hint: str = "", place: int | None = None) -> Problem:
        """The problem that what was read last is not what it should be; says in which line that began."""
        line = self._line + self._text.count("\n", 0, self._start if place is None else place)
        return Problem(Code.BAD_FILE, f"{self.label}, line {line:,}: {what}", hint=hint)

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._place)
            self._place = self._start = space.end() if space else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Goes past the character that `peek` told."""
        self._place += 1

    def lines(self) -> Iterator[str]:
        """The lines that are left, without their ends."""
        while True:
            end = self._text.find("\n", self._place)
            if end < 0 and len(self._text) - self._place <= _LONGEST_LINE and self._more():
                continue
            self._start, stop = self._place, len(self._text) if end < 0 else end
            if stop - self._place > _LONGEST_LINE:
                raise self.wrong(f"a line of more than {_LONGEST_LINE:,} characters is not read")
            if end < 0 and self._place == len(self._text):
                return
            line = self._text[self._place : stop]
            self._place = stop if end < 0 else end + 1
            yield line.removesuffix("\r")

    def value(self) -> Any:
        """The JSON value that begins here."""
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._place)
            except RecursionError:
                raise self.wrong("brackets are nested deeper than in any inventory") from None
            except ValueError as error:
                self._check_cut(error)
            else:
                if end < len(self._text) or self._ended or self._text[end - 1] in '}]"':
                    self._start, self._place = self._place, end
                    return found
            if len(self._text) - self._place > _LONGEST_VALUE:
                raise self.wrong(f"an entry of more than {_LONGEST_VALUE >> 20} MiB is not read")
            # As much again as there is, so that a long value is not tried once per piece.
            wanted = len(self._text) - self._place
            while wanted > 0 and self._more():
                wanted -= _PIECE

    def whole(self) -> Any:
        """The JSON value that begins here, if all of it has been read already; else None."""
        try:
            found, end = _DECODER.raw_decode(self._text, self._place)
        except (ValueError, RecursionError):
            return None
        self._start, self._place = self._place, end
        return found

    def _check_cut(self, error: ValueError) -> None:
        """Raises Problem where reading on will not help."""
        position = getattr(error, "pos", self._place)
        what = getattr(error, "msg", "a number is too long")
        if self._ended and (position >= len(self._text) or what.startswith("Unterminated")):
            raise self.wrong("the text ends in the middle of this entry: it was cut off", "write it again, and let it finish") from None
        if self._ended or not (what.startswith("Unterminated") or position > len(self._text) - _NEAR_THE_END):
            raise self.wrong(f"this is no JSON: {what}", place=position) from None

    def _more(self) -> bool:
        """Reads on, letting go what is behind us; False at the end."""
        if self._ended:
            return False
        try:
            piece = self._stream.read(_PIECE)
        except (OSError, ValueError):
            raise Problem(Code.BAD_FILE, f"{self.label} cannot be read") from None
        self._bytes += len(piece)
        if self._bytes > MOST_BYTES:
            raise Problem(
                Code.BAD_FILE,
                f"{self.label} is larger than the {MOST_BYTES >> 20} MiB that an inventory may have",
                hint="ask about some of the nodes at a time",
            )
        if self._decoder is None:
            # PowerShell's `>` writes UTF-16.
            coding = "utf-16" if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
            self._decoder = codecs.getincrementaldecoder(coding)("replace")
        self._line += self._text.count("\n", 0, self._place)
        self._text = self._text[self._place :] + self._decoder.decode(piece, final=not piece)
        self._start -= self._place
        self._start, self._place = max(0, self._start), 0
        self._ended = not piece
        return not self._ended


def documents(reader: Reader) -> Iterator[Document]:
    """Every JSON object of the stream, one after the other or in an array."""
    while character := reader.peek():
        if character == "[":
            yield from (Document("", iter((value,))) for value in _elements(reader))
        elif character != "{":
            raise reader.wrong(f"{clean(character) or 'this'!r} begins no JSON object")
        elif (whole := reader.whole()) is not None:
            key = _list_in(whole)
            yield Document(key, iter(whole[key]) if key else iter((whole,)))
        else:
            yield from _streamed(reader)


def _list_in(found: Mapping[str, Any]) -> str:
    return next((key for key in LISTS if isinstance(found.get(key), list)), "")


def _streamed(reader: Reader) -> Iterator[Document]:
    """An object that is longer than a piece: the elements of its list one by one, other members as they come."""
    others: dict[str, Any] = {}
    listed = False
    for key in _keys(reader):
        if key in LISTS and reader.peek() == "[":
            listed = True
            yield Document(key, _elements(reader))
        else:
            value = reader.value()
            if len(others) < _MOST_MEMBERS and not listed:
                others[key] = value
    if not listed:
        yield Document("", iter((others,)))


def _keys(reader: Reader) -> Iterator[str]:
    """The keys of the object that begins here; the caller takes each value before the next key."""
    for _ in _between(reader, "}"):
        if reader.peek() != '"':
            raise _no_json(reader, "a key in quotes")
        key = reader.value()
        if reader.peek() != ":":
            raise _no_json(reader, f"a colon after {clean(key, 40)!r}")
        reader.skip()
        reader.peek()
        yield key


def _elements(reader: Reader) -> Iterator[Any]:
    """The values of the array that begins here."""
    for _ in _between(reader, "]"):
        yield reader.value()


def _between(reader: Reader, closing: str) -> Iterator[None]:
    """Stops before every member of an array or object."""
    reader.skip()
    first = True
    while (character := reader.peek()) != closing:
        if not first:
            if character != ",":
                raise _no_json(reader, f"a comma or {closing}")
            reader.skip()
            reader.peek()
        first = False
        yield None
    reader.skip()


def _no_json(reader: Reader, wanted: str) -> Problem:
    if not reader.peek():
        return reader.wrong("the text ends in the middle of a list: it was cut off", "write it again, and let it finish")
    return reader.wrong(f"this is no JSON: {wanted} is missing")
