"""The nouns' own `NamedTuple` takes what typing's takes, refuses what it refuses."""

import typing

from hypothesis import given
from hypothesis import strategies as st

from runlocal.core.noun import NamedTuple


class Own(NamedTuple):
    a: int
    b: int
    c: int = 3
    d: int = 4


class Typings(typing.NamedTuple):
    a: int
    b: int
    c: int = 3
    d: int = 4


def made(kind: typing.Any, values: list[int], named: dict[str, int]) -> tuple[int, ...] | str:
    try:
        return tuple(kind(*values, **named))
    except TypeError:
        return "refused"


@given(st.lists(st.integers(), max_size=6), st.dictionaries(st.sampled_from("abcdef"), st.integers()))
def test_arguments_mean_what_they_mean_to_typings(values: list[int], named: dict[str, int]) -> None:
    assert made(Own, values, named) == made(Typings, values, named)


def test_a_name_that_is_no_field_or_given_twice_is_refused() -> None:
    for values, named in (([], {"a": 1, "b": 2, "e": 5}), ([1, 2], {"a": 1}), ([1, 2, 3, 4], {"d": 4}), ([1], {}), ([1, 2, 3, 4, 5], {})):
        assert made(Own, values, named) == made(Typings, values, named) == "refused"


def test_defaults_fill_what_is_left_out() -> None:
    assert tuple(Own(1, 2)) == tuple(Own(b=2, a=1)) == (1, 2, 3, 4)
    assert tuple(Own(1, b=2, d=5)) == (1, 2, 3, 5)
