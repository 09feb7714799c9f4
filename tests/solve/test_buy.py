"""What is for sale, against `check`'s own verdicts."""

from itertools import pairwise

import pytest

from runlocal.catalog.gpus import cards, entry
from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled
from runlocal.core.machine import Machine, Origin
from runlocal.core.verdict import Answer
from runlocal.core.workload import Workload
from runlocal.solve.buy import Offer, Question, compare, offers, refusal
from runlocal.solve.cell import answer_of
from runlocal.solve.opening import open_for
from runlocal.solve.shelf import OF_A_KIND, of_a_kind

CASES = [
    pytest.param("llama-3.1-8b", "Q4_K_M", Workload(8192), id="8B"),
    pytest.param("llama-3.3-70b", "Q4_K_M", Workload(8192, sequences=2, cache_type_k="q8_0", cache_type_v="q8_0"), id="70B, two sequences"),
    pytest.param("llama-3.2-90b-vision", "Q4_K_M", Workload(8192), id="90B with an image, in Ollama's own engine"),
    pytest.param("qwen3-235b-a22b", "Q4_K_M", Workload(32768), id="experts"),
    pytest.param("falcon-h1-34b", "Q8_0", Workload(16384), id="hybrid"),
]


def question(model: str, quant: str, workload: Workload) -> Question:
    runtime = open_for(bundled(model), None, None)
    return Question(runtime, runtime.recipe(quant, None), workload)


def verdict(asked: Question, machine: Machine, tokens: int | None = None) -> Answer | None:
    workload = asked.workload if tokens is None else asked.workload._replace(context_tokens=tokens)
    return answer_of(asked.runtime, asked.recipe, workload, machine, asked.reserve_bytes).answer


@pytest.mark.parametrize(("model", "quant", "workload"), CASES)
def test_what_is_offered_fits_and_in_no_smaller_number(model: str, quant: str, workload: Workload) -> None:
    asked = question(model, quant, workload)
    found = offers(asked)
    assert found
    for offer in found:
        ((board, count),) = offer.boards
        assert verdict(asked, offer.machine) is Answer.FITS
        assert board.sold
        assert count == 1 or (board.form != "laptop" and not board.unified)
        assert count < 8 or board.form != "desktop"
        fewer = [less for less in OF_A_KIND if less < count]
        assert all(verdict(asked, of_a_kind(board, less)) is not Answer.FITS for less in fewer)


@pytest.mark.parametrize(("model", "quant", "workload"), CASES)
def test_what_is_not_offered_does_not_fit(model: str, quant: str, workload: Workload) -> None:
    """The quick bound leaves nothing out: every card of two vendors, in every number."""
    asked = question(model, quant, workload)
    offered = {offer.boards[0][0].id for offer in offers(asked, vendors=("intel", "apple"))}
    assert {entry(gpu_id).vendor for gpu_id in offered} <= {"intel", "apple"}
    for board in cards():
        if board.vendor in ("intel", "apple") and board.sold and board.id not in offered:
            counts = [count for count in OF_A_KIND if count == 1 or (board.several and (count < 8 or board.form != "desktop"))]
            assert all(verdict(asked, of_a_kind(board, count)) is not Answer.FITS for count in counts), board.id


@pytest.mark.parametrize(("model", "quant", "workload"), CASES)
def test_the_longest_usual_context_fits_and_the_next_does_not(model: str, quant: str, workload: Workload) -> None:
    asked = question(model, quant, workload)
    longest = asked.runtime.longest_context()
    usual = sorted({longest, *(1024 << power for power in range(2, 24) if 1024 << power < longest)})
    for offer in offers(asked)[::7]:
        tokens = offer.fits_context_tokens
        assert tokens is not None
        assert verdict(asked, offer.machine, tokens) is Answer.FITS
        later = [more for more in usual if more > tokens]
        assert not later or verdict(asked, offer.machine, later[0]) is not Answer.FITS


def test_smallest_memory_first_then_the_cheapest_and_unknown_prices_last() -> None:
    found = offers(question("llama-3.3-70b", "Q4_K_M", Workload(8192)))

    def key(offer: Offer) -> tuple[float, float]:
        return offer.memory_gb, float("inf") if offer.price_usd is None else offer.price_usd

    assert all(key(before) <= key(after) for before, after in pairwise(found))
    assert {offer.price_usd is None for offer in found} == {True, False}


def test_so_many_of_a_kind_when_asked() -> None:
    asked = question("llama-3.1-8b", "Q4_K_M", Workload(8192))
    eight = offers(asked, counts=(8,), vendors=("nvidia",))
    assert {count for offer in eight for _, count in offer.boards} == {8}
    assert {board.id for offer in eight for board, _ in offer.boards} >= {"rtx-4090", "h100-80gb-sxm"}
    assert all(board.several for offer in eight for board, _ in offer.boards)


def test_prices_and_memory_add_up_over_boards() -> None:
    asked = question("llama-3.3-70b", "Q4_K_M", Workload(8192))
    ((pair,), (mixed,)) = (
        compare(asked, [(parse_machine(spec), boards)])
        for spec, boards in (
            ("2xrtx-3090", ((entry("rtx-3090"), 2),)),
            ("rtx-3090+rtx-5090", ((entry("rtx-3090"), 1), (entry("rtx-5090"), 1))),
        )
    )
    used, new = entry("rtx-3090").price, entry("rtx-5090").price
    assert used is not None
    assert new is not None
    assert (used.kind, new.kind) == ("used", "now")
    assert (pair.price_usd, pair.memory_gb) == (2 * used.usd, 48)
    assert (mixed.price_usd, mixed.memory_gb) == (used.usd + new.usd, 24 + 32)


def test_a_board_of_several_devices_is_a_machine_of_as_many() -> None:
    """An A16 carries four GPUs of 16 GB."""
    machine = of_a_kind(entry("a16"), 2)
    assert (len(machine.gpus), machine.label, machine.origin) == (8, "2 × A16", Origin.NAMED)


def test_a_named_no_says_by_how_much() -> None:
    asked = question("llama-3.3-70b", "Q4_K_M", Workload(8192))
    no, yes = compare(asked, [(parse_machine(spec), ()) for spec in ("rtx-4090", "m4-max-64")])
    assert (no.answer, no.speed, no.price_usd) == (Answer.DOES_NOT_FIT, None, None)
    assert no.reason == f"short of {-no.headroom_bytes[0] / (1 << 30):.1f} GiB"
    assert (yes.answer, yes.reason) == (Answer.FITS, "")
    assert yes.speed is not None


def test_what_the_runtime_does_not_load_is_run_by_nothing() -> None:
    runtime = open_for(bundled("llama-3.2-90b-vision"), "llama.cpp", None)
    asked = Question(runtime, runtime.recipe("Q4_K_M", None), Workload(8192))
    why = refusal(asked)
    assert why is not None
    assert "does not load mllama" in why
    (row,) = compare(asked, [(parse_machine("h100-nvl"), ())])
    assert (row.answer, row.reason, row.speed) == (Answer.CANNOT_RUN, why, None)
    assert "131,072 tokens" in str(refusal(question("llama-3.1-8b", "Q4_K_M", Workload(1 << 20))))
    assert refusal(question("llama-3.1-8b", "Q4_K_M", Workload(8192))) is None
