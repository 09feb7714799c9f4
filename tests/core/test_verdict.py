"""The judge, on parts made up so that every case is one subtraction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.core import verdict
from runlocal.core.load import load_of
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.part import HOST, Basis, Kind, Part, gpu, margin, need
from runlocal.core.verdict import Answer, best, is_yes


def part(device: str, size: int, over: int = 0) -> Part:
    return Part(kind=Kind.WEIGHTS, label="some", device=device, bytes=size, basis=Basis.EXACT, because="", source="", margin_bytes=over)


def card(index: int, size: int, **more: int | bool) -> Gpu:
    return Gpu(index=index, id=None, name="card", memory_bytes=size, **more)  # type: ignore[arg-type]


def machine(*gpus: Gpu, host: int | None = None) -> Machine:
    return Machine(origin=Origin.NAMED, label="made up", gpus=gpus, host_bytes=host)


def judge(parts: list[Part], on: Machine, reserves: list[int]) -> Answer:
    return verdict.judge(load_of(parts, len(on.gpus)), on, reserves)


def headroom(parts: list[Part], on: Machine) -> tuple[int, ...]:
    return verdict.headroom(load_of(parts, len(on.gpus)), on)


@pytest.mark.parametrize(
    ("size", "answer"),
    [(80, Answer.FITS), (90, Answer.FITS), (91, Answer.TIGHT), (100, Answer.TIGHT), (101, Answer.DOES_NOT_FIT)],
)
def test_one_card_of_100_with_a_reserve_of_10(size: int, answer: Answer) -> None:
    assert judge([part("gpu0", size)], machine(card(0, 100)), [10]) is answer


def test_usable_is_total_less_reserve_less_what_others_hold() -> None:
    device = card(0, 100, reserved_bytes=3, in_use_bytes=20)
    assert device.usable_bytes == 77
    assert card(0, 10, reserved_bytes=3, in_use_bytes=20).usable_bytes == 0
    assert headroom([part("gpu0", 70)], machine(device)) == (7,)


def test_cards_are_judged_one_by_one_not_in_sum() -> None:
    parts = [part("gpu0", 110), part("gpu1", 10)]
    assert judge(parts, machine(card(0, 100), card(1, 100)), [0, 0]) is Answer.DOES_NOT_FIT
    assert headroom(parts, machine(card(0, 100), card(1, 100))) == (-10, 90)


def test_the_reserve_may_differ_by_card() -> None:
    parts, two = [part("gpu0", 90), part("gpu1", 90)], machine(card(0, 100), card(1, 100))
    assert judge(parts, two, [10, 10]) is Answer.FITS
    assert judge(parts, two, [10, 11]) is Answer.TIGHT


def test_what_is_estimated_counts_at_its_unsafe_end() -> None:
    parts = [part("gpu0", 95, over=6)]
    assert need(parts, "gpu0") == 95
    assert margin(parts, "gpu0") == 6
    assert judge(parts, machine(card(0, 100)), [0]) is Answer.DOES_NOT_FIT
    assert judge([part("gpu0", 95, over=5)], machine(card(0, 100)), [0]) is Answer.FITS
    assert judge([part("gpu0", 95, over=5)], machine(card(0, 100)), [1]) is Answer.TIGHT


def test_host_memory_counts_where_it_is_known() -> None:
    parts = [part("gpu0", 10), part(HOST, 30)]
    assert judge(parts, machine(card(0, 100)), [0]) is Answer.FITS
    assert judge(parts, machine(card(0, 100), host=30), [0]) is Answer.FITS
    assert judge(parts, machine(card(0, 100), host=29), [0]) is Answer.DOES_NOT_FIT


def test_without_a_gpu_the_host_is_the_device() -> None:
    parts = [part(HOST, 30)]
    assert judge(parts, machine(host=50), [20]) is Answer.FITS
    assert judge(parts, machine(host=49), [20]) is Answer.TIGHT
    assert judge(parts, machine(host=29), [20]) is Answer.DOES_NOT_FIT


def test_best_first_and_what_counts_as_yes() -> None:
    assert best([Answer.CANNOT_RUN, Answer.SPILLS, Answer.TIGHT]) is Answer.TIGHT
    assert best([Answer.DOES_NOT_FIT, Answer.CANNOT_RUN]) is Answer.DOES_NOT_FIT
    yes = {answer: [is_yes(answer, strict=strict, offload=offload) for strict, offload in ((False, False), (True, False), (False, True))] for answer in Answer}
    assert yes == {
        Answer.FITS: [True, True, True],
        Answer.TIGHT: [True, False, True],
        Answer.SPILLS: [False, False, True],
        Answer.DOES_NOT_FIT: [False, False, False],
        Answer.CANNOT_RUN: [False, False, False],
    }


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 5)), max_size=8),
    more=st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 5)),
    reserve=st.integers(0, 40),
)
def test_one_more_part_never_makes_an_answer_better(sizes: list[tuple[int, int, int]], more: tuple[int, int, int], reserve: int) -> None:
    three = machine(*(card(index, 100) for index in range(3)))
    parts = [part(gpu(index), size, over) for index, size, over in sizes]
    before = judge(parts, three, [reserve] * 3)
    after = judge([*parts, part(gpu(more[0]), more[1], more[2])], three, [reserve] * 3)
    assert best([before, after]) is before
