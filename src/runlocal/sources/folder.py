"""A model folder as Hugging Face's hub has it: config.json and a checkpoint in safetensors, of which the headers alone are read.

Format: https://github.com/huggingface/safetensors#format: eight bytes with the length of a JSON object, the object, the tensors.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

from runlocal.architectures import layout
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.core.units import gb
from runlocal.sources.config import LIMIT_BYTES, parse_object, spec
from runlocal.sources.files import bad_file, clean, identifier, open_regular, read_all, unreadable
from runlocal.sources.found import Found
from runlocal.sources.stranger import UNKNOWN

CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_INDEX_BYTES = 64 << 20
_HEADER_BYTES = 16 << 20
_HEADERS_BYTES = 256 << 20
_LENGTH_BYTES = 8
_SHARDS = 4096
_ENTRIES = 1 << 16
_LARGEST = 1 << 50
_TOLERANCE = 1000
"""A checkpoint may have one value in so many more or less than the shapes give before a word is said: buffers, scales."""

_TYPES = {"BF16": "BF16", "F16": "F16", "F32": "F32", "F8_E4M3": "FP8", "F8_E5M2": "FP8"}
_SCALES = ("_scale_inv", "_scale", ".scales", ".inv_freq")
_LAYER = re.compile(r"\blayers\.(\d{1,6})\.")


class Shard(NamedTuple):
    """One tensor of a checkpoint: its name, its type as safetensors calls it, values and bytes."""

    name: str
    type: str
    elements: int
    bytes: int


def read_folder(path: str) -> Found:
    """The model in the folder.

    Raises Problem: bad_file without a config.json, or where a file is malformed; not_computed as `config.spec` does.
    """
    names = _names(path)
    if CONFIG not in names:
        files = sorted(clean(name) for name in names if name.lower().endswith(".gguf"))[:5]
        raise bad_file(path, "the folder holds no config.json", hint=f"give one of its files: {', '.join(files)}" if files else "give the folder of one model")
    file = os.path.join(path, CONFIG)
    found = spec(parse_object(read_all(file, LIMIT_BYTES), file), file, identifier(os.path.basename(os.path.abspath(path))))
    shards = sorted(name for name in names if name.endswith(".safetensors"))
    expected, missing = _index(path, names)
    if not shards and expected is None:
        return Found(spec=found, warnings=("The folder holds no safetensors: the sizes are computed from config.json alone.",))
    tensors = () if missing else tuple(_checkpoint(path, shards))
    size = sum(tensor.bytes for tensor in tensors) if tensors else expected
    warnings = tuple(_warnings(found, tensors, size, expected, missing))
    return Found(spec=found._replace(checkpoint_type=_main_type(found, tensors)), stored_bytes=size, warnings=warnings)


def _names(path: str) -> set[str]:
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry, _ in zip(entries, range(_ENTRIES), strict=False)}
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _index(path: str, names: set[str]) -> tuple[int | None, tuple[str, ...]]:
    """Bytes of the whole checkpoint as its index states them, and the shards that it names and the folder lacks."""
    if _INDEX not in names:
        return None, ()
    file = os.path.join(path, _INDEX)
    table = parse_object(read_all(file, _INDEX_BYTES), file)
    metadata, places = table.get("metadata"), table.get("weight_map")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    named = {name for name in places.values() if isinstance(name, str)} if isinstance(places, dict) else set()
    known = isinstance(size, int | float) and not isinstance(size, bool) and 0 < size <= _LARGEST
    return int(size) if known and size is not None else None, tuple(sorted(clean(name) for name in named - names))


def _checkpoint(path: str, shards: list[str]) -> Iterator[Shard]:
    if len(shards) > _SHARDS:
        raise bad_file(path, f"{len(shards):,} safetensors files are more than any checkpoint has")
    left = _HEADERS_BYTES
    for name in shards:
        table, size = _header(os.path.join(path, name))
        left -= size
        if left < 0:
            raise bad_file(path, f"the headers of its safetensors files have more than {_HEADERS_BYTES >> 20} MiB")
        for tensor, entry in table.items():
            if tensor != "__metadata__":
                yield _shard(os.path.join(path, name), tensor, entry)


def _header(path: str) -> tuple[dict[str, Any], int]:
    with open_regular(path) as file:
        try:
            start = file.read(_LENGTH_BYTES)
            length = int.from_bytes(start, "little") if len(start) == _LENGTH_BYTES else 0
            content = file.read(length) if length <= _HEADER_BYTES else b""
        except OSError as error:
            raise unreadable(path, error) from error
    if not content or len(content) < length:
        raise bad_file(path, "is no safetensors file, or cut short", hint="download it again")
    return parse_object(content, path), length


def _shard(path: str, name: str, entry: Any) -> Shard:
    try:
        kind, shape, (begin, end) = str(entry["dtype"]), entry["shape"], entry["data_offsets"]
        elements = 1
        for length in shape:
            elements *= _natural(length)
        size = _natural(end) - _natural(begin)
    except (KeyError, TypeError, ValueError) as error:
        raise bad_file(path, f"the tensor {clean(name)} is described wrongly", hint="download it again") from error
    if not 0 <= size <= _LARGEST or elements > _LARGEST:
        raise bad_file(path, f"the tensor {clean(name)} has a senseless size", hint="download it again")
    return Shard(name=name, type=kind, elements=elements, bytes=size)


def _natural(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise ValueError(value)
    return value


def _main_type(found: ModelSpec, tensors: tuple[Shard, ...]) -> str:
    """What most bytes are stored in, where config.json names no quantization of its own."""
    sizes: dict[str, int] = {}
    for tensor in tensors:
        sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.bytes
    main = _TYPES.get(max(sizes, key=sizes.__getitem__)) if sizes else None
    return main if main and found.checkpoint_type in (*_TYPES.values(), UNKNOWN) else found.checkpoint_type


def _warnings(found: ModelSpec, tensors: tuple[Shard, ...], size: int | None, expected: int | None, missing: tuple[str, ...]) -> Iterator[str]:
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        yield f"The folder lacks {missing[0]}{more}: the download did not finish."
    elif size is not None and expected is not None and size != expected:
        yield f"Its index states {gb(expected)} of tensors, the files hold {gb(size)}."
    counted, computed = _counted(found, tensors), _computed(found)
    if counted is not None and abs(counted - computed) * _TOLERANCE > computed:
        yield f"The checkpoint holds {counted:,} parameters, its config.json describes {computed:,}."


def _counted(found: ModelSpec, tensors: tuple[Shard, ...]) -> int | None:
    """Parameters of the layers that run, None where weights are packed so that shapes do not tell them."""
    if not tensors or any(tensor.type not in _TYPES for tensor in tensors if not tensor.name.endswith(_SCALES)):
        return None
    return sum(tensor.elements for tensor in tensors if not tensor.name.endswith(_SCALES) and not _behind_the_last(tensor.name, found))


def _behind_the_last(name: str, found: ModelSpec) -> bool:
    match = _LAYER.search(name)
    return match is not None and "vision" not in name and int(match[1]) >= found.text.layers


def _computed(found: ModelSpec) -> int:
    return layout(found).parameters() + found.tower_parameters
