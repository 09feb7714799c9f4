"""Speeds, prices and licences as `check`, `show`, `fit` and `buy` report them: one figure, said in one way."""

import json
from typing import Any

import pytest

from runlocal.commands import buy, fit, show
from runlocal.commands.batch import Batch
from runlocal.commands.check import run
from runlocal.commands.options import Options, bandwidth, spelled
from runlocal.core.errors import Problem
from runlocal.core.report import Cell
from runlocal.core.speed import Speed
from runlocal.core.verdict import Answer


def cell(model: str = "llama-3.1-8b", **options: Any) -> Cell:
    (one,) = run([model], Options(**{"quant": "Q4_K_M", "ctx": "8k", **options})).checks
    return one.machines[0].headline


def speed(found: Cell) -> Speed:
    assert found.speed is not None
    return found.speed


def test_check_fit_buy_and_show_give_the_same_figure() -> None:
    checked = speed(cell(gpu=("rtx-4090",)))
    (bought,) = (
        row
        for row in buy.run("llama-3.1-8b", Options(quant="Q4_K_M", ctx="8k"), buy.Wanted(compare="rtx-4090")).whole.listings[0].rows
        if row["spec"] == "rtx-4090"
    )
    (fitted,) = (
        row
        for row in fit.run(fit.Wanted("llama-3.1-8b"), Options(gpu=("rtx-4090",), quant="Q4_K_M", ctx="8k"), print, most=None, for_people=False).all.rows
        if row["id"] == "llama-3.1-8b"
    )
    (shown,) = (row for row in show.run("llama-3.1-8b", Options(gpu=("rtx-4090",))).listings[0].rows if row["quant"] == "Q4_K_M")
    for row in (bought, fitted, shown):
        assert (row["tokens_per_second_least"], row["tokens_per_second_most"]) == checked.rounded
        assert row["speed"] == checked.text == "90-138"


@pytest.mark.parametrize(
    ("least", "most", "text"), [(90.4, 138.2, "90-138"), (4.66, 11.2, "4.7-11"), (0.0421, 0.66, "0.04-0.7"), (10.0, 10.0, "10-10"), (9.94, 9.97, "9.9-10")]
)
def test_a_speed_in_words(least: float, most: float, text: str) -> None:
    assert Speed(least, most, "").text == text


def test_only_what_runs_has_a_speed_and_only_a_yes_says_why_it_has_none() -> None:
    no = cell("llama-3.3-70b", gpu=("rtx-4090",))
    assert (no.answer, no.speed, no.speed_unknown) == (Answer.DOES_NOT_FIT, None, "")
    spilled = cell("llama-3.3-70b", gpu=("rtx-4090",), ram="64GB")
    assert (spilled.answer, spilled.speed) == (Answer.SPILLS, None)
    assert "--ram-bandwidth" in spilled.speed_unknown
    told = cell("llama-3.3-70b", gpu=("rtx-4090",), ram="64GB", ram_bandwidth="96")
    assert 0.5 < speed(told).least < speed(told).most < 5
    assert told.speed_unknown == ""
    budget = cell(vram="24GB")
    assert (budget.answer, budget.speed, budget.speed_unknown) == (Answer.FITS, None, "the bandwidth of GPU 0's memory is not known")


def test_a_processor_alone_and_fit_on_it() -> None:
    asked = {"gpu": ("cpu",), "ram": "64GB", "ram_bandwidth": "96 GB/s", "quant": "Q4_K_M", "ctx": "8k"}
    checked = speed(cell(**asked))
    found = fit.run(fit.Wanted("llama-3.1-8b"), Options(**asked), print, most=None, for_people=False)  # type: ignore[arg-type]
    (row,) = (row for row in found.all.rows if row["id"] == "llama-3.1-8b")
    assert (row["tokens_per_second_least"], row["tokens_per_second_most"]) == checked.rounded
    none = fit.run(fit.Wanted("llama-3.1-8b", min_speed=1000), Options(**asked), print, most=None)  # type: ignore[arg-type]
    assert not none.all.rows


@pytest.mark.parametrize(("text", "bytes_per_second"), [("96", 96 * 10**9), ("89.6GB/s", 89_600_000_000), (" 51.2 gb/S ", 51_200_000_000), (None, None)])
def test_a_bandwidth_as_it_is_typed(text: str | None, bytes_per_second: int | None) -> None:
    assert bandwidth("--ram-bandwidth", text) == bytes_per_second


@pytest.mark.parametrize("text", ["", "0", "-3", "fast", "nan", "inf", "1e9", "96GiB", "9" * 400, "\x1b[31m"])
def test_what_is_no_bandwidth(text: str) -> None:
    with pytest.raises(Problem) as caught:
        bandwidth("--ram-bandwidth", text)
    assert caught.value.code == "bad_value"
    assert "2 × 8 × 6 = 96" in (caught.value.hint or "")


def test_advice_keeps_the_bandwidth() -> None:
    assert spelled("m", Options(ram="64GB", ram_bandwidth="96")) == "runlocal check m --ram 64GB --ram-bandwidth 96"


def test_a_line_of_a_batch_says_it_in_bytes_or_takes_the_option_s() -> None:
    line = {"model": "qwen3-30b-a3b", "quant": "Q8_0", "gpu": "rtx-4090", "ram_bytes": 64 << 30, "context_tokens": 8192, "cpu_moe": True}

    def asked(more: dict[str, Any], **options: Any) -> Any:
        return json.loads(next(iter(Batch(Options(**options)).answers([json.dumps(line | more)]))))

    assert (asked({})["speed"], "--ram-bandwidth" in asked({})["speed_unknown"]) == (None, True)
    said, given = asked({"ram_bandwidth_bytes": 96_000_000_000}), asked({}, ram_bandwidth="96")
    assert said["speed"] == given["speed"] != asked({"ram_bandwidth_bytes": 48_000_000_000}, ram_bandwidth="96")["speed"]
    assert list(said["speed"]) == ["tokens_per_second_least", "tokens_per_second_most", "basis", "because"]
    assert said["speed_unknown"] is None
    assert asked({"ram_bandwidth_bytes": 0})["error"]["code"] == "bad_value"


def test_a_price_s_range_is_told_and_a_budget_takes_its_lower_end() -> None:
    asked = Options(quant="Q4_K_M", ctx="8k")
    every = buy.run("llama-3.3-70b", asked, buy.Wanted(vendor="nvidia", max_price=1500)).whole
    rows = every.listings[0].rows
    assert next((row["spec"], row["price_usd"], row["price_to_usd"], row["price"]) for row in rows) == (
        "2xrtx-3090", 1200, 1600, "$1,200-1,600 used 2026-06",
    )  # fmt: skip
    assert all((row["price_usd"] or 0) <= 1500 for row in rows)  # type: ignore[operator]
    dearer = sum((row["price_to_usd"] or 0) > 1500 for row in rows)  # type: ignore[operator]
    assert f"{dearer} may cost more than $1,500: of a range --max-price takes the lower end." in every.notes
    compared = buy.run("llama-3.3-70b", asked, buy.Wanted(compare="rtx-3090+rtx-4090")).whole.listings[0].rows[0]
    assert (compared["price_usd"], compared["price_to_usd"]) == (600 + 2200, 800 + 2800)


def test_fit_marks_what_the_licence_says_of_commercial_use() -> None:
    rows = fit.run(fit.Wanted(), Options(gpu=("4090",)), print, most=None).all.rows
    marks = {(row["commercial"], row["commercial_use"], row["use"]) for row in rows}
    assert {("allowed", "yes", "yes"), ("not allowed", "no", "no"), ("not read", None, None)} <= marks
    assert ("allowed below 700 million monthly active users", "conditions", "terms") in marks
    assert {use for text, use, _ in marks if text.startswith("allowed, except") or text.startswith("allowed below")} == {"conditions"}  # type: ignore[union-attr]


def test_no_speed_that_is_asked_for_says_what_is_missing() -> None:
    found = fit.run(fit.Wanted("llama-3.1-8b", min_speed=1), Options(gpu=("cpu",), ram="64GB"), print, most=None)
    assert not found.shown.rows
    assert "No speed is estimated without a GPU as long as --ram-bandwidth does not say what the memory delivers." in found.shown.notes


def test_machine_formats_keep_what_is_below_one() -> None:
    assert (Speed(90.44, 138.26, "").rounded, Speed(0.04213, 0.66, "").rounded) == ((90.4, 138.3), (0.042, 0.66))
