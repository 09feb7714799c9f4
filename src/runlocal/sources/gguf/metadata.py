"""Metadata fields by their keys, each checked for type and range."""

from collections.abc import Sequence

from runlocal.core.errors import Code, Problem
from runlocal.core.noun import NamedTuple
from runlocal.sources.files import bad_file, label
from runlocal.sources.gguf.header import Header

LARGEST_LAYERS = 1024
LARGEST = 1 << 31
BROKEN = "download or convert it again"


class Metadata(NamedTuple):
    """The fields of a header under the name of its architecture.

    header: where they stand
    architecture: prefix of their keys
    path: the file, for messages
    layers: how many entries a field has that holds one per layer
    """

    header: Header
    architecture: str
    path: str
    layers: int

    def number(self, key: str, default: int | None = None, among: Sequence[int] | None = None) -> int:
        """The number at `<architecture>.<key>`; of one per layer, the number that all layers share, or those of `among`.

        Raises Problem: bad_file where it is missing without a default or no sensible number, not_computed where layers differ.
        """
        full = f"{self.architecture}.{key}"
        value = self.header.fields.get(full)
        if isinstance(value, tuple):
            used = set(value[: self.layers] if among is None else (value[layer] for layer in among if layer < len(value)))
            if len(used) > 1:
                raise self.not_computed(f"its layers differ in {full}")
            value = used.pop() if used else None
        elif value is None and full in self.header.lengths:
            raise self.miscounted(full, self.header.lengths[full])
        if value is None:
            if default is None:
                raise bad_file(self.path, f"the field {full} is missing", hint="convert the model again with today's llama.cpp")
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
            raise bad_file(self.path, f"the field {full} is {value!r}", hint=BROKEN)
        return value

    def positive(self, key: str, default: int | None = None, among: Sequence[int] | None = None) -> int:
        """The number at that key, which makes no sense below one."""
        value = self.number(key, default, among)
        if not value:
            raise bad_file(self.path, f"the field {self.architecture}.{key} is 0", hint=BROKEN)
        return value

    def without_zeros(self, *keys: str) -> "Metadata":
        """The same fields, but those keys hold what the layers share that have any at all."""
        fields = dict(self.header.fields)
        for key in (f"{self.architecture}.{key}" for key in keys):
            value = fields.get(key)
            if isinstance(value, tuple):
                fields[key] = tuple(count for count in value[: self.layers] if count) or (0,)
        return self._replace(header=self.header._replace(fields=fields))

    def optional(self, key: str) -> int | None:
        """The number at that key, None where the file does not say."""
        return self.number(key) if f"{self.architecture}.{key}" in self.header.lengths or f"{self.architecture}.{key}" in self.header.fields else None

    def text(self, key: str) -> str | None:
        """The text at `general.<key>`, None where there is none."""
        value = self.header.fields.get(f"general.{key}")
        return value or None if isinstance(value, str) else None

    def flags(self, key: str) -> tuple[bool, ...] | int | None:
        """One flag per layer, or the number of layers after which a pattern starts anew."""
        value = self.header.fields.get(f"{self.architecture}.{key}")
        if isinstance(value, tuple):
            if len(value) < self.layers:
                raise self.miscounted(f"{self.architecture}.{key}", len(value))
            return tuple(bool(flag) for flag in value[: self.layers])
        return self.optional(key)

    def numbers(self, key: str) -> tuple[int, ...]:
        """One number per layer."""
        full = f"{self.architecture}.{key}"
        value = self.header.fields.get(full)
        if not isinstance(value, tuple) or len(value) < self.layers:
            raise self.miscounted(full, self.header.lengths.get(full, 0))
        found = tuple(entry for entry in value[: self.layers] if isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry <= LARGEST)
        if len(found) < self.layers:
            raise bad_file(self.path, f"the field {full} holds no sensible numbers", hint=BROKEN)
        return found

    def miscounted(self, full: str, count: int) -> Problem:
        """The problem that a field does not have one value per layer."""
        return bad_file(self.path, f"the field {full} has {count:,} values for {self.layers} layers", hint=BROKEN)

    def not_computed(self, why: str, hint: str = "`runlocal models` lists the models that are computed") -> Problem:
        """The problem that this version does not compute such a file."""
        return Problem(Code.NOT_COMPUTED, f"{label(self.path)}: {why}, which this version does not compute", hint=hint)
