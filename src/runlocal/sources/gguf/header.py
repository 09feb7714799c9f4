"""The header of a GGUF file: metadata and tensor infos, read by hand.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Everything in the file is hostile: each length is held against what the file
has left and against a bound, and of long arrays (the vocabulary) only the length is kept.
"""

import os
import re
import struct
from collections.abc import Mapping
from typing import BinaryIO

from runlocal.core.errors import Problem
from runlocal.core.noun import NamedTuple
from runlocal.core.units import pad
from runlocal.sources.files import READ, bad_file, clean, label, open_regular, unreadable

Value = int | float | str | tuple[int, ...]

MAGIC = b"GGUF"
HEADER_LIMIT_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20
_OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg")
_SAVED_IN_ITS_PLACE = "a download page saved in its place, or a pointer of Git LFS, looks so"
_VERSIONS = (2, 3)
_KEY_BYTES = 65535
_NAME_BYTES = 255
_STRING_BYTES = 16 << 20
_KEPT_CHARACTERS = 256
_KEPT_ELEMENTS = 2048
_FIELDS, _TENSORS, _STRINGS, _PARTS = 1 << 16, 1 << 17, 1 << 23, 1 << 10
_DIMENSIONS = 4
_DIMENSION = 1 << 40
_ELEMENTS = 1 << 50
_ALIGNMENT = 32
_LARGEST_ALIGNMENT = 1 << 20

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_FLOATS = (6, 12)
_STRING, _ARRAY = 8, 9
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


class TensorInfo(NamedTuple):
    """A tensor as the file declares it.

    name: `blk.0.attn_q.weight`
    dimensions: ne0, the length of a row, first
    type: number of its ggml type
    offset: bytes from the start of the tensor data of its part
    part: which part of a split file it lies in, 0 first
    """

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int
    part: int = 0


class Header(NamedTuple):
    """What a GGUF file says of itself; of a split file, all parts together.

    version: of the format
    big_endian: its numbers are stored most significant byte first
    fields: metadata: numbers, text (cleaned and cut), short arrays of integers
    lengths: elements of each array, those left out of `fields` included
    tensors: every tensor
    file_bytes: size of each part
    data_offset_bytes: where the tensor data of each part begins
    """

    version: int
    big_endian: bool
    fields: Mapping[str, Value]
    lengths: Mapping[str, int]
    tensors: tuple[TensorInfo, ...]
    file_bytes: tuple[int, ...]
    data_offset_bytes: tuple[int, ...]


def read_header(path: str) -> Header:
    """The header of the file, and of every other part where the file is one of several.

    Raises Problem (bad_file) where the file is no GGUF, is cut short, is malformed, or lacks a part.
    """
    header = _read_part(path, 0)
    count = header.fields.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return header
    match = _SPLIT.fullmatch(os.path.basename(path))
    if match is None or int(match[3]) != count or count > _PARTS:
        raise bad_file(path, f"is one of {count} parts, but is not called …-00001-of-{min(count, 99999):05d}.gguf", hint="give the parts their names back")
    return _join(path, [_read_part(_part_path(path, match, number, count), number) for number in range(count)])


def stem(path: str) -> str:
    """The file's name without its ending and without the number of its part."""
    name = os.path.basename(path)
    match = _SPLIT.fullmatch(name)
    return match[1] if match else os.path.splitext(name)[0]


def _part_path(path: str, match: re.Match[str], number: int, count: int) -> str:
    part = os.path.join(os.path.dirname(path), f"{match[1]}-{number + 1:05d}-of-{count:05d}.gguf")
    if not os.path.exists(part):
        raise bad_file(path, f"part {number + 1} of {count}, {label(part)}, is not beside it", hint="download all parts into one folder")
    return part


def _join(path: str, parts: list[Header]) -> Header:
    first = parts[0]
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise bad_file(path, "two of its parts hold the same tensor", hint="download the parts again")
    return first._replace(
        tensors=tensors,
        file_bytes=tuple(size for part in parts for size in part.file_bytes),
        data_offset_bytes=tuple(offset for part in parts for offset in part.data_offset_bytes),
    )


def _read_part(path: str, part: int) -> Header:
    with open_regular(path) as file:
        try:
            return _read(_Cursor(file, path), part)
        except OSError as error:
            raise unreadable(path, error) from error


class _Cursor:
    """Reads on through a file in chunks, never past its end or past what a header may have."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self.file, self.path = file, path
        self.size = os.fstat(file.fileno()).st_size
        self.buffer, self.at, self.start = b"", 0, 0
        self.order = "<"
        self.strings = 0

    @property
    def position(self) -> int:
        return self.start + self.at

    def broken(self, what: str) -> Problem:
        return bad_file(self.path, f"is a malformed GGUF file: {what}", hint="download or convert it again")

    def require(self, count: int) -> None:
        """Raises Problem where the file has fewer than `count` bytes left, or the header more than it may have."""
        end = self.position + count
        if end > self.size:
            raise bad_file(self.path, f"is cut short: its header goes on behind its {self.size:,} bytes", hint="the download did not finish: get it again")
        if end > HEADER_LIMIT_BYTES:
            raise self.broken(f"its header is larger than {HEADER_LIMIT_BYTES >> 20} MiB")

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.buffer):
            self.require(count)
            rest = self.buffer[self.at :]
            self.start, self.at = self.position, 0
            self.buffer = rest + self.file.read(max(count - len(rest), _CHUNK_BYTES))
            if len(self.buffer) < count:  # the file shrank while it was read
                raise bad_file(self.path, "changed while it was read")
        self.at += count
        return self.buffer[self.at - count : self.at]

    def skip(self, count: int) -> None:
        if self.at + count <= len(self.buffer):
            self.at += count
            return
        self.require(count)
        self.start, self.at, self.buffer = self.position + count, 0, b""
        self.file.seek(self.start)

    def number(self, code: str) -> int | float:
        layout = struct.Struct(self.order + code)
        value: int | float = layout.unpack(self.take(layout.size))[0]
        return value

    def natural(self, code: str, limit: int, what: str) -> int:
        """An unsigned number of at most `limit`."""
        value = int(self.number(code))
        if value > limit:
            raise self.broken(f"{value:,} {what}, more than the {limit:,} that any model has")
        return value

    def text(self, limit: int, what: str) -> str:
        """A string of at most `limit` bytes, whatever it holds: what is not UTF-8 is replaced."""
        return self.take(self.natural("Q", limit, f"bytes in {what}")).decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        self.strings += count
        if self.strings > _STRINGS:
            raise self.broken(f"{self.strings:,} strings in its arrays")
        self.require(8 * count)
        unpack = struct.Struct(self.order + "Q").unpack_from
        while count:
            buffer, at = self.buffer, self.at
            last = len(buffer) - 8
            while count and at <= last:
                length: int = unpack(buffer, at)[0]
                if length > _STRING_BYTES:
                    raise self.broken(f"a string of {length:,} bytes")
                at += 8 + length
                count -= 1
            self.skip(at - self.at)
            if count:
                self.take(8)
                self.at -= 8


def _read(cursor: _Cursor, part: int) -> Header:
    magic = cursor.take(min(4, cursor.size))
    if magic != MAGIC:
        old, named = magic in _OLD_MAGICS, cursor.path.lower().endswith(".gguf")
        raise bad_file(
            cursor.path,
            "is of a format older than GGUF" if old else "is no GGUF file" if named else "is no file that a model is read from",
            hint="convert the model again with today's llama.cpp" if old else _SAVED_IN_ITS_PLACE if named else READ,
        )
    version = int(cursor.number("I"))
    if version & 0xFFFF == 0:
        cursor.order, version = ">", int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in _VERSIONS:
        raise cursor.broken(f"version {version} of the format, of which 2 and 3 are read")
    tensor_count = cursor.natural("Q", _TENSORS, "tensors")
    field_count = cursor.natural("Q", _FIELDS, "metadata fields")
    fields: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(field_count):
        key = clean(cursor.text(_KEY_BYTES, "a key"), _KEPT_CHARACTERS)
        if key in fields or key in lengths:
            raise cursor.broken(f"the field {key} stands in it twice")
        kind = int(cursor.number("I"))
        if kind == _ARRAY:
            lengths[key], kept = _array(cursor)
            if kept is not None:
                fields[key] = kept
        else:
            fields[key] = _scalar(cursor, kind)
    tensors = tuple(_tensor(cursor, part) for _ in range(tensor_count))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise cursor.broken("two tensors have the same name")
    alignment = fields.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.broken("an alignment that is no power of two")
    return Header(
        version=version,
        big_endian=cursor.order == ">",
        fields=fields,
        lengths=lengths,
        tensors=tensors,
        file_bytes=(cursor.size,),
        data_offset_bytes=(pad(cursor.position, alignment),),
    )


def _scalar(cursor: _Cursor, kind: int) -> int | float | str:
    if kind == _STRING:
        return clean(cursor.text(_STRING_BYTES, "a text"), _KEPT_CHARACTERS)
    if kind not in _SCALARS:
        raise cursor.broken(f"a field of the unknown type {kind}")
    return cursor.number(_SCALARS[kind])


def _array(cursor: _Cursor) -> tuple[int, tuple[int, ...] | None]:
    """The array's length, and its elements where they are few integers."""
    kind, count = int(cursor.number("I")), int(cursor.number("Q"))
    if kind == _STRING:
        cursor.skip_strings(count)
        return count, None
    if kind not in _SCALARS:
        raise cursor.broken(f"an array of the unknown type {kind}")
    layout = struct.Struct(f"{cursor.order}{_SCALARS[kind]}")
    cursor.require(count * layout.size)
    if kind in _FLOATS or count > _KEPT_ELEMENTS:
        cursor.skip(count * layout.size)
        return count, None
    values: tuple[int, ...] = struct.unpack(f"{cursor.order}{count}{_SCALARS[kind]}", cursor.take(count * layout.size))
    return count, tuple(int(value) for value in values)


def _tensor(cursor: _Cursor, part: int) -> TensorInfo:
    name = clean(cursor.text(_NAME_BYTES, "a tensor's name"), _NAME_BYTES)
    rank = cursor.natural("I", _DIMENSIONS, "dimensions of a tensor")
    dimensions = tuple(cursor.natural("Q", _DIMENSION, "values in a dimension") for _ in range(rank))
    elements = 1
    for length in dimensions:
        elements *= length
    if not 0 < elements <= _ELEMENTS or not rank:
        raise cursor.broken(f"the tensor {name} has {elements:,} values")
    return TensorInfo(name=name, dimensions=dimensions, type=int(cursor.number("I")), offset=int(cursor.number("Q")), part=part)
