"""A fleet's answer is the sum of its nodes' answers, and a node's is what `check` says of its cards."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from runlocal.catalog.machines import parse_machine
from runlocal.commands.check import open_model
from runlocal.commands.options import Options, read
from runlocal.core.errors import Problem
from runlocal.core.fleet import Card, Node
from runlocal.core.machine import Backend
from runlocal.core.verdict import Answer
from runlocal.solve.cell import judge_cell
from runlocal.solve.devices import device
from runlocal.solve.fleet import FleetJudge, Held
from runlocal.solve.opening import open_for

MIB, GIB = 1 << 20, 1 << 30
A100 = Card("NVIDIA A100-SXM4-80GB", 81920 * MIB)
RTX3090 = Card("NVIDIA GeForce RTX 3090", 24576 * MIB)
T4 = Card("Tesla T4", 15360 * MIB)
MI300X = Card("AMD Instinct MI300X OAM", 192 * GIB, nominal=True, backend=Backend.ROCM)
SLICE = Card("NVIDIA A100-SXM4-80GB", None, profile="1g.10gb")
KINDS = (A100, RTX3090, T4, MI300X, SLICE)


def judge(model: str = "llama-3.3-70b", *, idle: bool = False, **options: object) -> FleetJudge:
    asked = read(Options(**{"quant": "Q4_K_M", **options}))  # type: ignore[arg-type]
    return FleetJudge(open_for(open_model(model).model, asked.runtime, asked.version), asked, idle=idle)


def on(*cards: Card, model: str = "llama-3.3-70b", idle: bool = False, **options: object) -> Held:
    return judge(model, idle=idle, **options).held(Node("n", cards))


@pytest.mark.parametrize("spec", ["a100-80", "2x3090", "rtx-3090", "4xt4", "3xt4", "8x3090"])
@pytest.mark.parametrize(("model", "quant"), [("llama-3.3-70b", "Q4_K_M"), ("llama-3.3-70b", "Q8_0"), ("qwen3-32b", "Q6_K"), ("llama-3.2-11b-vision", "F16")])
def test_the_same_cards_give_the_answer_of_check(spec: str, model: str, quant: str) -> None:
    machine = parse_machine(spec)
    asking = judge(model, quant=quant)
    recipe = asking.runtime.recipe(quant, None)
    cell = judge_cell(asking.runtime, recipe, asking.workload, machine, None)
    assert asking._answer(tuple(gpu._replace(index=0) for gpu in machine.gpus), recipe) is cell.answer
    if len(machine.gpus) == 1:
        assert (cell.answer in (Answer.FITS, Answer.TIGHT)) is bool(
            on(Card(machine.gpus[0].name, machine.gpus[0].memory_bytes), model=model, quant=quant).sizes
        )


@pytest.mark.parametrize("in_use_mib", [0, 4, 20_000, 30_000, 35_500, 36_500, 81_000])
def test_what_others_hold_counts_as_in_check(in_use_mib: int) -> None:
    (gpu,) = parse_machine("a100-80").gpus
    asking = judge()
    recipe = asking.runtime.recipe("Q4_K_M", None)
    machine = parse_machine("a100-80")._replace(gpus=(gpu._replace(in_use_bytes=in_use_mib * MIB),))
    yes = judge_cell(asking.runtime, recipe, asking.workload, machine, None).answer in (Answer.FITS, Answer.TIGHT)
    busy = A100._replace(in_use_bytes=in_use_mib * MIB)
    assert bool(on(busy).sizes) is yes
    assert on(busy, idle=True).sizes == (1,)


def test_the_fewest_cards_each() -> None:
    assert on(*[A100] * 8).sizes == (1,) * 8
    assert on(*[RTX3090] * 8).sizes == (2,) * 4
    assert on(*[RTX3090] * 7).sizes == (2,) * 3
    assert on(RTX3090).sizes == ()
    assert on(RTX3090).answer is Answer.DOES_NOT_FIT
    assert on(RTX3090).reason == "Q4_K_M is short of 18.5 GiB"
    assert on(A100, *[RTX3090] * 4).sizes == (1, 2, 2)
    assert on(A100, *[RTX3090] * 4).label == "A100 SXM4 80GB + 4 × RTX 3090"


def test_cards_of_two_backends_share_no_process() -> None:
    small = Card("", 24 * GIB, backend=Backend.ROCM)
    assert on(RTX3090, small).sizes == ()
    assert on(*[small] * 2).sizes == (2,)


def test_a_slice_stands_alone() -> None:
    assert on(*[SLICE] * 7).sizes == ()
    assert on(*[SLICE] * 7, model="llama-3.1-8b").sizes == (1,) * 7
    assert on(*[SLICE] * 7, model="llama-3.1-8b").label == "7 × A100 SXM4 80GB 1g.10gb"


def test_left_open_the_quantization_is_the_finest_that_needs_the_fewest_cards() -> None:
    held = on(*[RTX3090] * 4, quant=None)
    assert (held.quant, held.sizes) == ("Q4_K_M", (2, 2))
    assert on(A100, quant=None, model="llama-3.1-8b").quant == "F16"
    assert on(T4, quant="F16,Q8_0", model="llama-3.1-8b").quant == "Q8_0"


def test_no_more_cards_in_one_process_than_llama_cpp_takes() -> None:
    held = on(*[T4] * 64, model="llama-3.1-405b")
    assert held.sizes == ()
    assert "on 15 cards" in held.reason


def test_strict() -> None:
    (gpu,) = parse_machine("a100-80").gpus
    asking = judge(quant="Q8_0")
    answer = asking._answer((gpu,), asking.runtime.recipe("Q8_0", None))
    assert bool(on(A100, quant="Q8_0", strict=True).sizes) is (answer is Answer.FITS)
    assert on(A100, quant="Q8_0", reserve="20GiB", strict=True).sizes == ()


def test_unknown_cards() -> None:
    assert on(Card("tesla")) == Held("tesla (memory not known)", None, reason="how much memory its GPUs have is not known")
    assert on() == Held("", None, reason="it has no GPU")
    asking = judge()
    assert asking.held(Node("n", (Card("Foo 9000", 100 * GIB),))).sizes == (1,)
    assert any("Foo 9000 is not in the catalogue" in note for note in asking.notes)


def test_all_memory_in_use() -> None:
    full = A100._replace(in_use_bytes=81920 * MIB)
    assert on(full, full).sizes == ()
    assert on(*[A100._replace(in_use_bytes=80000 * MIB)] * 8).sizes == ()


@pytest.mark.parametrize(
    ("card", "id"),
    [
        (Card("NVIDIA A100 SXM4 80GB", 81920 * MIB), "a100-80gb-sxm"),
        (Card("NVIDIA A100 SXM4 40GB", 40960 * MIB), "a100-40gb-sxm"),
        (Card("NVIDIA H100 80GB HBM3", 81559 * MIB), "h100-80gb-sxm"),
        (Card("Tesla T4", 15360 * MIB), "t4"),
        (Card("Tesla V100 SXM2 32GB"), "v100-32gb-sxm"),
        (Card("nvidia geforce rtx 2080 ti"), "rtx-2080-ti"),
        (Card("nvidia l4"), "l4"),
        (MI300X, "mi300x"),
        (Card("NVIDIA A100 SXM4 40GB", 4864 * MIB, profile="1g.5gb"), "a100-40gb-sxm:1g.5gb"),
        (Card("h100", profile="1g.10gb"), "h100-80gb-sxm:1g.10gb"),
        (Card("NVIDIA Nonesuch", 10 * GIB), None),
        (Card("", 10 * GIB), None),
    ],
)
def test_names_of_every_inventory(card: Card, id: str | None) -> None:
    found = device(card)
    assert found is not None
    assert found.gpu.id == id
    if card.memory_bytes and not card.nominal:
        assert found.gpu.memory_bytes == card.memory_bytes


def test_a_name_that_hides_a_choice_says_so() -> None:
    found = device(Card("a100"))
    assert found is not None
    assert any("can also mean" in note for note in found.notes)
    assert device(Card("rtx6000")) is None  # four products, and no memory that tells


@settings(max_examples=40, deadline=None)
@given(fleet=some.lists(some.lists(some.sampled_from(KINDS), max_size=6), max_size=6), shuffle=some.randoms())
def test_a_fleet_is_the_sum_of_its_nodes_in_any_order(fleet: list[list[Card]], shuffle: object) -> None:
    nodes = [Node(str(number), tuple(cards)) for number, cards in enumerate(fleet)]
    together = judge()
    answers = [together.held(node) for node in nodes]
    assert answers == [judge().held(node) for node in nodes]
    mixed = [node._replace(cards=tuple(reversed(node.cards))) for node in reversed(nodes)]
    again = judge()
    assert Counter(again.held(node) for node in mixed) == Counter(answers)
    for node, held in zip(nodes, answers, strict=True):
        assert sum(held.sizes) <= len(node.cards)


@settings(max_examples=30, deadline=None)
@given(cards=some.lists(some.sampled_from((A100, RTX3090, T4)), min_size=1, max_size=6), more=some.sampled_from((A100, RTX3090, T4)))
def test_one_card_more_is_no_process_less(cards: list[Card], more: Card) -> None:
    assert len(on(*cards, more).sizes) >= len(on(*cards).sizes)


def test_equal_nodes_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    once = FleetJudge._judged
    monkeypatch.setattr(FleetJudge, "_judged", lambda self, cards: judged.append(cards) or once(self, cards))
    asking = judge()
    for number in range(10_000):
        kind = number % 3
        cards = [[A100] * 8, [RTX3090, T4], [T4, RTX3090]][kind]
        asking.held(Node(f"n{number}", tuple(cards)))
    assert len(judged) == 2


def test_a_made_up_fleet_does_not_take_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runlocal.solve.fleet.MOST_LAYOUTS", 20)
    asking = judge()
    nodes = [Node("n", (Card(f"Foo {number}", (20 + number) * GIB),) * 4) for number in range(100)]
    with pytest.raises(Problem, match="more kinds of nodes"):
        list(map(asking.held, nodes))


@settings(max_examples=25, deadline=None)
@given(used=some.lists(some.integers(0, 24_000), min_size=1, max_size=12))
def test_what_is_inferred_is_what_is_computed(used: list[int]) -> None:
    asking = judge()
    recipe = asking.runtime.recipe("Q4_K_M", None)
    (gpu,) = parse_machine("rtx-3090").gpus
    for number in used:
        cards = (gpu._replace(in_use_bytes=number * MIB),) * 3
        assert asking._answer(cards, recipe) is judge()._answer(cards, recipe)
