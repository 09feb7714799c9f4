"""`fit` as a report: which models are asked about, what is shown of each, and in which order."""

from typing import Any

import pytest

from runlocal.catalog.models import index
from runlocal.commands import fit
from runlocal.commands.fit import Found, Wanted
from runlocal.commands.options import Options
from runlocal.core.errors import Exit, Problem
from solve.asking import ask


def found_on(gpu: str = "4090", *, most: int | None = None, for_people: bool = True, wanted: Wanted = Wanted(), **options: Any) -> Found:  # noqa: B008
    return fit.run(wanted, Options(gpu=(gpu,), **options), print, most=most, for_people=for_people)


def ids(found: Found) -> list[str]:
    return [str(row["id"]) for row in found.shown.rows]


def test_a_row_holds_what_check_says() -> None:
    row = next(row for row in found_on(wanted=Wanted("qwen3-8b")).all.rows if row["id"] == "qwen3-8b")
    cell = ask("qwen3-8b", quant=row["quant"], gpu="4090", context_tokens=8192)
    for key in ("quant", "runtime", "runtime_version", "context_tokens", "answer", "bits_per_weight", "tensor_bytes", "need_bytes", "host_need_bytes"):
        assert row[key] == cell[key], key
    assert row["fits_context_tokens"] == cell["fits_context_tokens"]
    entry = index()["qwen3-8b"]
    assert (row["name"], row["family"], row["license"]) == (entry["name"], entry["family"], entry["license"])
    assert row["tokens_per_second_least"] < row["tokens_per_second_most"]  # type: ignore[operator]


def test_the_largest_first_and_below_four_bits_at_the_end() -> None:
    rows = found_on("3060-12gb", for_people=False).all.rows
    coarse = [row["bits_per_weight"] < 4 for row in rows]  # type: ignore[operator]
    assert coarse == sorted(coarse)
    for wanted in (False, True):
        sizes = [row["parameters"] for row, below in zip(rows, coarse, strict=True) if below is wanted]
        assert sizes == sorted(sizes, reverse=True)  # type: ignore[type-var]
        assert len(sizes) > 20


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (Wanted(families="gemma-3, Qwen3"), lambda entry: entry["family"] in ("Gemma 3", "Qwen3")),
        (Wanted(variants="base"), lambda entry: entry["variant"] == "base"),
        (Wanted(vision=True), lambda entry: "vision" in entry["modalities"]),
        (Wanted("gemma"), lambda entry: "gemma" in entry["name"].lower()),
    ],
    ids=["family", "variant", "vision", "query"],
)
def test_filters(wanted: Wanted, holds: Any) -> None:
    every, some = set(ids(found_on())), set(ids(found_on(wanted=wanted)))
    assert some == {model for model in every if holds(index()[model])}
    assert 0 < len(some) < len(every)


def test_a_licence_that_nobody_read_or_that_forbids_it_is_not_commercial() -> None:
    rows = found_on(wanted=Wanted(commercial=True), most=1000).all.rows
    said = {str(row["commercial"]) for row in rows}
    assert "allowed" in said
    assert all(text.startswith("allowed") for text in said)
    every = {str(row["commercial"]) for row in found_on(most=1000).all.rows}
    assert {"not allowed", "not read"} <= every


def test_a_minimum_context_leaves_out_what_is_trained_for_less() -> None:
    rows = found_on(ctx="64k", most=1000).all.rows
    assert rows
    assert all(row["context_tokens"] == 65536 <= row["context_longest_tokens"] for row in rows)  # type: ignore[operator]
    assert "yi-34b" not in {row["id"] for row in rows}


def test_a_minimum_speed_is_reached_at_the_slower_end() -> None:
    rows = found_on(wanted=Wanted(min_speed=100), most=1000).all.rows
    assert rows
    assert all(row["tokens_per_second_least"] >= 100 for row in rows)  # type: ignore[operator]


def test_only_so_many_are_shown_and_the_rest_counted() -> None:
    few, every = found_on(most=25), found_on(most=None)
    assert len(few.shown.rows) == 25
    assert ids(every)[:25] == ids(few)
    assert few.shown.notes[0] == f"{len(every.shown.rows) - 25} more: --all lists them."
    assert len(found_on(most=25, for_people=False).all.rows) == len(every.shown.rows)


def test_the_whole_says_what_was_asked_of_which_machine() -> None:
    facts = {fact.key: fact.value for section in found_on(most=3).whole.sections for fact in section.facts}
    assert facts["machine"] == "RTX 4090"
    assert (facts["gpu_count"], facts["context_tokens"], facts["sequences"], facts["models_asked"]) == (1, 8192, 1, len(index()))
    assert facts["models_fit"] == len(ids(found_on()))


def test_what_is_tight_is_marked() -> None:
    rows = found_on(most=None).shown
    tight = [row for row in rows.rows if row["answer"] == "tight"]
    assert tight
    assert all(str(row["quant_marked"]) == f"{row['quant']} !" for row in tight)
    assert any(note.startswith("! tight") for note in rows.notes)
    strict = found_on(most=None, strict=True)
    assert all(row["answer"] == "fits" for row in strict.shown.rows)
    assert not any(note.startswith("! tight") for note in strict.shown.notes)


def test_nothing_that_fits_is_a_no() -> None:
    found = fit.run(Wanted("deepseek-r1-671b"), Options(vram="8"), print)
    assert (found.exit, found.shown.rows) == (Exit.NO, ())
    assert fit.run(Wanted("qwen3-8b"), Options(vram="8"), print).exit is Exit.YES


@pytest.mark.parametrize(
    ("wanted", "options", "code", "said"),
    [
        (Wanted(families="qwem3"), {}, "bad_value", "--family 'qwem3' is none"),
        (Wanted(variants="chatty"), {}, "bad_value", "--variant"),
        (Wanted(min_speed=0), {}, "bad_value", "--min-speed"),
        (Wanted(vision=True), {"vision": False}, "bad_value", "--no-vision"),
        (Wanted(), {"ctx": "8k,16k"}, "bad_value", "--ctx"),
        (Wanted(), {"kv": "f16,q8_0"}, "bad_value", "--kv"),
        (Wanted(), {"quant": "Q9"}, "unknown_quant", "Q9"),
        (Wanted(), {"runtime": "vllm"}, "not_computed", "vllm"),
    ],
)
def test_what_cannot_be_asked(wanted: Wanted, options: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(Problem) as raised:
        found_on(wanted=wanted, **options)
    assert raised.value.code == code
    assert said in raised.value.message


def test_one_machine_at_a_time() -> None:
    with pytest.raises(Problem, match="one machine"):
        fit.run(Wanted(), Options(gpu=("4090", "3090")), print)
