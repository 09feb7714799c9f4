"""A JSON object of a stranger, read key by key: a missing key and a senseless value are named."""

from collections.abc import Mapping
from typing import Any

from runlocal.core.errors import Code, Problem
from runlocal.core.noun import NamedTuple
from runlocal.sources.files import bad_file, clean, label

LARGEST = 1 << 31
LARGEST_LAYERS = 1024
_LONGEST_LIST = 4096
_NESTED = 8


class Keys(NamedTuple):
    """An object of config.json.

    table: its keys and values
    path: the file, for messages
    where: the object's own key with a point behind it: `text_config.`
    defaults: what is assumed for keys that may be left out
    names: other names of keys
    """

    table: Mapping[str, Any]
    path: str
    where: str = ""
    defaults: Mapping[str, int] = {}
    names: Mapping[str, str] = {}

    def bad(self, key: str, what: str) -> Problem:
        """The problem that the field is not what it should be."""
        return bad_file(self.path, f"the field {self.where}{key} {what}")

    def not_computed(self, why: str) -> Problem:
        """The problem that this version does not compute such a model."""
        hint = "`runlocal models` lists the models that are computed"
        return Problem(Code.NOT_COMPUTED, f"{label(self.path)}: {why}, which this version does not compute", hint=hint)

    def get(self, key: str) -> Any:
        """The value, None where the key is absent."""
        value = self.table.get(self.names.get(key, key))
        return self.table.get(key) if value is None else value

    def maybe(self, key: str) -> int | None:
        """The whole number at `key`, None where it is absent; of a list of equal numbers, that number."""
        value = self.get(key)
        if isinstance(value, list) and value:
            if any(entry != value[0] for entry in value):
                raise self.not_computed(f"its layers differ in {self.where}{key}")
            value = value[0]
        if value is None:
            return self.defaults.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise self.bad(key, f"is {clean(repr(value), 40)}, no sensible number")
        return value

    def number(self, *keys: str) -> int:
        """The whole number above zero at the first of `keys` that is there. Raises Problem (bad_file) naming the field where none is."""
        for key in keys:
            if (value := self.maybe(key)) is not None:
                if not value:
                    raise self.bad(key, "is 0")
                return value
        raise self.bad(keys[0], "is missing")

    def share(self, key: str) -> float | None:
        """A number above 0 and up to 1, None where it is absent."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise self.bad(key, f"is {clean(repr(value), 40)}, no share")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """The yes or no at `key`."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.bad(key, f"is {clean(repr(value), 40)}, not true or false")
        return value

    def text(self, key: str) -> str | None:
        """The text at `key`, None where there is none."""
        value = self.get(key)
        return clean(value) or None if isinstance(value, str) else None

    def items(self, key: str) -> tuple[Any, ...] | None:
        """The list at `key`, None where it is absent."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > _LONGEST_LIST:
            raise self.bad(key, "is no list of sensible length")
        return tuple(value)

    def indices(self, key: str, limit: int) -> tuple[int, ...] | None:
        """The list of indices below `limit` at `key`, None where it is absent."""
        found = self.items(key)
        if found is None:
            return None
        if any(isinstance(entry, bool) or not isinstance(entry, int) or not 0 <= entry < limit for entry in found):
            raise self.bad(key, "names a layer that is not there")
        return tuple(sorted(set(found)))

    def inner(self, key: str, defaults: Mapping[str, int] | None = None) -> "Keys | None":
        """The object at `key`, None where it is absent."""
        value = self.table.get(key)
        if value is None:
            return None
        if not isinstance(value, dict) or self.where.count(".") >= _NESTED:
            raise self.bad(key, "is no object")
        return Keys(table=value, path=self.path, where=f"{self.where}{key}.", defaults=defaults or {})
