"""`NamedTuple`, cheaper to define than typing's, with the same meaning to type checkers and readers.

typing.NamedTuple writes and evaluates source for every class (0.8 million instructions each on Python 3.11). One answer loads some sixty
nouns, so that would cost more than the answer itself. A frozen slotted dataclass costs six times as much again.
"""

import sys
from operator import itemgetter
from typing import TYPE_CHECKING

# From 3.14 on a class body no longer holds its annotations when the class is made; typing knows how to ask for them.
if TYPE_CHECKING or sys.version_info >= (3, 14):
    from typing import NamedTuple as NamedTuple
else:

    class _Record(tuple):
        """What every noun can do; the fields are those that its class annotates."""

        __slots__ = ()
        _fields = ()
        _field_defaults = {}  # noqa: RUF012 - never changed

        def __new__(cls, *values, **named):
            fields = cls._fields
            missing = fields[len(values) :]
            if missing or named:
                try:
                    values += tuple(map(named.__getitem__, missing)) if len(named) == len(missing) else cls._filled(missing, named)
                except KeyError as error:
                    raise TypeError(f"{cls.__name__}() lacks {error.args[0]!r}") from None
            if len(values) != len(fields):
                raise TypeError(f"{cls.__name__}() takes {len(fields)} values, not {len(values)}")
            return tuple.__new__(cls, values)

        @classmethod
        def _filled(cls, missing, named):
            known = {**cls._field_defaults, **named}
            values = tuple(map(known.__getitem__, missing))
            # What is named and was not asked for shows in the count alone, which is cheaper than looking for it.
            every = len(missing) == len(cls._fields)
            if len(known) != len(missing) if every else sum(map(named.__contains__, missing)) != len(named):
                raise TypeError(f"{cls.__name__}() has no field {sorted(set(named) - set(missing))[0]!r} to fill")
            return values

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, **changed):
            made = tuple.__new__(type(self), map(changed.pop, self._fields, self))
            if changed:
                raise ValueError(f"{type(self).__name__} has no field {sorted(changed)[0]!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self))  # noqa: B905 - as long as each other, always

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in self._asdict().items())})"

        def __getnewargs__(self):
            return tuple(self)

    class _Definition(type):
        """Makes a tuple with named fields of a class body of annotations."""

        def __new__(cls, name, bases, body):
            if not bases:
                return type.__new__(cls, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            body["_field_defaults"] = {field: body.pop(field) for field in fields if field in body}
            body["_fields"] = body["__match_args__"] = fields
            body["__slots__"] = ()
            for place, field in enumerate(fields):
                body[field] = property(itemgetter(place))
            return type(name, (_Record,), body)

    class NamedTuple(metaclass=_Definition):
        """The base that a noun's class statement names."""
