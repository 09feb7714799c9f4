"""The strict door for the files of data/models and for people's own: pydantic models made from `core.model`, and their JSON Schema.

Nothing is described twice: keys, types, defaults and descriptions are those of the NamedTuples. The hot path takes the other door,
`catalog.models`; both give equal objects. A count that a model cannot be without is at least 1, any other at least 0.
"""

import types
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from runlocal.core.errors import Code, Problem
from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple

if TYPE_CHECKING:
    from pydantic import BaseModel

_LARGEST_FILE_BYTES = 1 << 20
_LARGEST_COUNT = (1 << 53) - 1  # what every reader of JSON holds exactly
_LONGEST_SHOWN = 60
_SIGNED = frozenset({"feature_layer"})  # counted from the end where negative
_OF_ATTENTION = ("heads", "kv_heads", "head_dim")  # 0 where no layer has attention, and only there
_FROM_ZERO = (*_OF_ATTENTION, "qk_rope_head_dim", "layer")  # keys need no rotated part; layers are counted from 0
_FROM_PATH = frozenset({"id"})  # not a key of the file: its name says it
_KINDS = {int: "a whole number", bool: "true or false", str: "a text", float: "a number", list: "a list"}
_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def validate_model(source: Path | Mapping[str, Any], model_id: str = "") -> ModelSpec:
    """The spec in a model's file, whose name is the id unless `model_id` is given, or in the table `source` of the model `model_id`.

    Raises Problem (bad_file) with the file, the key and the repair where a key is unknown or missing or its value cannot be.
    """
    from pydantic import ValidationError

    name, table = (source.name, _read(source)) if isinstance(source, Path) else (model_id or "this model", source)
    try:
        checked = _model(ModelSpec).model_validate(table)
    except ValidationError as error:
        raise _problem(name, table, error.errors(include_url=False, include_context=False)) from None
    model = ModelSpec(**_values(ModelSpec, checked), id=model_id or Path(name).stem)
    if without_any := [key for key in _OF_ATTENTION if not getattr(model.text, key) and _attends(model)]:
        errors = [{"type": "greater_than_equal", "loc": ("text", key), "input": 0} for key in without_any]
        raise _problem(name, table, errors)
    return model


def _attends(model: ModelSpec) -> bool:
    """Whether any layer has attention."""
    everywhere = (model.text.mamba is None or model.text.mamba.layers is not None) and model.text.rwkv is None
    return bool(model.text.attention_layers) if model.text.attention_layers is not None else everywhere


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a model's file, for editors: docs/schema/model-file-1.json."""
    return {"$schema": _SCHEMA_DIALECT, **_model(ModelSpec).model_json_schema()}


@cache
def _model(kind: type) -> "type[BaseModel]":
    """The pydantic model of a NamedTuple: strict types, no key beyond its fields."""
    from pydantic import ConfigDict, Field, create_model

    described = descriptions(kind)
    defaults: dict[str, Any] = kind._field_defaults  # type: ignore[attr-defined]  # what every NamedTuple has
    fields: dict[str, Any] = {}
    for name, annotation in _hints(kind).items():
        if name in _FROM_PATH:
            continue
        wanted = _annotation(annotation)
        limits: dict[str, Any] = {}
        if wanted is int:
            limits = {"le": _LARGEST_COUNT} if name in _SIGNED else {"ge": int(name not in defaults and name not in _FROM_ZERO), "le": _LARGEST_COUNT}
        if name in defaults and defaults[name] is None:
            limits["json_schema_extra"] = _without_null
        default = defaults.get(name, ...)
        fields[name] = (wanted, Field(list(default) if isinstance(default, tuple) else default, description=described.get(name), **limits))
    about = (kind.__doc__ or "").partition("\n")[0]
    return create_model(kind.__name__, __config__=ConfigDict(extra="forbid", strict=True), __doc__=about, **fields)


def _hints(kind: Any) -> dict[str, Any]:
    """Field → annotation, in the order of the fields."""
    hints = get_type_hints(kind)
    return {field: hints[field] for field in kind._fields}


def _without_null(schema: dict[str, Any]) -> None:
    """What is absent has no value, not the value null, which TOML does not have."""
    schema.pop("default", None)


def _annotation(annotation: Any) -> Any:
    """The same for pydantic: a list for a tuple, a model for a NamedTuple; what may be None is left out of a file, never null."""
    if get_origin(annotation) is types.UnionType:
        return _annotation(next(kind for kind in get_args(annotation) if kind is not types.NoneType))
    if get_origin(annotation) is tuple:
        item = _annotation(get_args(annotation)[0])
        return list[item]  # type: ignore[valid-type]  # made for pydantic, at run time
    return _model(annotation) if hasattr(annotation, "_fields") else annotation


def descriptions(kind: type) -> dict[str, str]:
    """Field → meaning, from the docstring's lines `field: meaning`."""
    lines = (line.strip().partition(": ") for line in (kind.__doc__ or "").splitlines())
    return {field: meaning for field, _, meaning in lines if field in _hints(kind)}


def _values(kind: type, checked: "BaseModel") -> dict[str, Any]:
    """Arguments for the NamedTuple `kind`."""
    hints = _hints(kind)
    return {name: _value(hints[name], getattr(checked, name)) for name in type(checked).model_fields}


def _value(annotation: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(annotation) is types.UnionType:
        return _value(next(kind for kind in get_args(annotation) if kind is not types.NoneType), value)
    if get_origin(annotation) is tuple:
        return tuple(_value(get_args(annotation)[0], item) for item in value)
    return annotation(**_values(annotation, value)) if hasattr(annotation, "_fields") else value


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        if not path.is_file():
            raise Problem(Code.BAD_FILE, f"{_shown(path.name)} is no file", hint="give the path of a model's .toml file")
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise Problem(Code.BAD_FILE, f"{_shown(path.name)} cannot be read: {error.strerror}", hint="check its permissions") from None
    if len(text) > _LARGEST_FILE_BYTES:
        raise Problem(Code.BAD_FILE, f"{_shown(path.name)} is longer than the {_LARGEST_FILE_BYTES:,} bytes that are read", hint="a model needs a page")
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise Problem(Code.BAD_FILE, f"{_shown(path.name)} is no TOML: {_shown(str(error))}", hint="mend that place") from None


class _Place(NamedTuple):
    """Where in a file something is wrong: the NamedTuple it belongs to, the last key, and the whole key for people."""

    kind: type
    key: str
    dotted: str


def _place(location: Iterable[int | str]) -> _Place:
    kind: Any = ModelSpec
    at, key, dotted = kind, "", ""
    for piece in location:
        if isinstance(piece, int):
            dotted += f"[{piece}]"
            continue
        at, key, dotted = kind, piece, f"{dotted}.{piece}" if dotted else piece
        kind = _inner(_hints(kind).get(piece)) if hasattr(kind, "_fields") else None
    return _Place(at, key, dotted)


def _inner(annotation: Any) -> Any:
    """The NamedTuple or plain type inside a union or tuple."""
    while get_args(annotation):
        annotation = next(kind for kind in get_args(annotation) if kind not in (types.NoneType, ...))
    return annotation


def _problem(name: str, table: Mapping[str, Any], errors: list[Any]) -> Problem:
    """The first error as a sentence with its repair."""
    first = errors[0]
    place = _place(first["loc"])
    meaning = descriptions(place.kind).get(place.key, "")
    explained = f": {meaning}" if meaning else ""
    where, more = f"{_shown(name)}: ", f" ({len(errors) - 1} more after it)" if len(errors) > 1 else ""
    known = [field for field in _hints(place.kind) if field not in _FROM_PATH]
    match first["type"]:
        case "extra_forbidden":
            near = get_close_matches(place.key, known, n=1)
            what, hint = f"{_shown(place.dotted)} is not a key", f"did you mean {near[0]}?" if near else f"remove it; known here: {', '.join(known)}"
        case "missing":
            what, hint = f"{place.dotted} is missing", f"add {place.key}{explained}"
        case "greater_than_equal" | "less_than_equal":
            what, hint = f"{place.dotted} is {_literal(first['input'])}, out of bounds", f"correct {place.key}{explained}"
        case _:
            wanted = _wanted(place)
            what, hint = f"{place.dotted or 'the whole'} is {_literal(first['input'])}, not {wanted}", f"write {wanted}{explained}"
    return Problem(Code.BAD_FILE, f"{where}{what}{more}", hint=hint)


def _wanted(place: _Place) -> str:
    annotation = _hints(place.kind).get(place.key)
    item = place.dotted.endswith("]")
    listed = any(get_origin(kind) is tuple for kind in (annotation, *get_args(annotation)))
    return _KINDS[list] if listed and not item else _KINDS.get(_inner(annotation), "a table")


def _literal(value: Any) -> str:
    """A value as TOML writes it, more or less."""
    return _shown(str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value))


def _shown(text: str) -> str:
    """A stranger's text for a message: printable and short."""
    clean = "".join(character if character.isprintable() else "?" for character in text[: _LONGEST_SHOWN + 1])
    return clean if len(clean) <= _LONGEST_SHOWN else f"{clean[:_LONGEST_SHOWN]}…"
