"""`buy` from options to rows: what is left by price, vendor, number and speed, and what the rows say."""

import re

import pytest

from runlocal.catalog.gpus import entry
from runlocal.commands import buy
from runlocal.commands.buy import Found, Wanted
from runlocal.commands.options import Options
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.listing import Value

MODEL = "llama-3.3-70b"
Row = dict[str, Value]


def asked(model: str = MODEL, options: Options | None = None, **wanted: object) -> Found:
    return buy.run(model, options or Options(), Wanted(**wanted))  # type: ignore[arg-type]


def rows(found: Found) -> list[Row]:
    """Of the machine formats, all."""
    (listing,) = found.whole.listings
    return [dict(row) for row in listing.rows]


def number(row: Row, key: str) -> float:
    value = row[key]
    assert isinstance(value, int | float)
    return value


def test_a_row_has_price_bandwidth_headroom_context_and_a_speed_marked_estimated() -> None:
    (row,) = (row for row in rows(asked()) if row["spec"] == "2xrtx-3090")
    card = entry("rtx-3090")
    assert card.price is not None
    assert card.price.to_usd is not None
    assert (row["machine"], row["cards"], row["vendor"], row["form"]) == ("2 × RTX 3090", 2, "nvidia", "desktop")
    assert row["memory_bytes"] == 2 * card.memory_bytes
    assert row["usable_bytes"] == 2 * card.usable_bytes
    assert row["bandwidth_bytes"] == card.bandwidth_bytes
    assert row["tdp_w"] == 2 * (card.tdp_w or 0)
    assert (row["price_usd"], row["price_to_usd"]) == (2 * card.price.usd, 2 * card.price.to_usd)
    assert (row["price_kind"], row["price_date"], row["price_source"]) == (card.price.kind, card.price.date, card.price.source.url)
    assert isinstance(row["prices"], tuple)
    assert row["prices"][0] == f"$1,499, launch, 2020-09-24 ({card.prices[0].source.url})"
    assert number(row, "headroom_min_bytes") >= 1 << 30
    assert row["fits_context_tokens"] == 8192
    assert 0 < number(row, "tokens_per_second_least") < number(row, "tokens_per_second_most")
    assert row["tokens_per_second_basis"] == "estimated"
    assert "GB read for a token" in str(row["tokens_per_second_because"])
    assert (row["answer"], row["reason"]) == ("fits", "")


def test_what_is_not_known_is_null() -> None:
    row = next(row for row in rows(asked()) if row["spec"] == "mi300x")
    assert {row[key] for key in row if key.startswith("tokens_per_second")} == {None}
    assert (row["price_usd"], row["price_kind"]) == (None, None)  # only clouds have it, by the hour
    assert "an hour, cloud" in str(row["prices"])


def test_the_question_is_in_the_answer() -> None:
    found = asked("llama-3.2-90b-vision", Options(quant="Q5_K_M", ctx="16k", images=0))
    facts = {fact.key: fact.value for section in found.whole.sections for fact in section.facts}
    assert facts | {"data": ""} == {
        "data": "",
        "model": "llama-3.2-90b-vision",
        "runtime": "ollama",
        "runtime_version": "0.24.0",
        "quant": "Q5_K_M",
        "context_tokens": 16384,
        "sequences": 1,
        "images": 0,
        "cache_type_k": "f16",
        "cache_type_v": "f16",
    }
    assert found.whole.notes == ()
    assert any("Q4_K_M is the usual one" in note for note in asked().whole.notes)


def test_a_checkpoint_of_four_bits_is_taken_as_it_is() -> None:
    found = asked("gpt-oss-120b")
    assert found.page.title.startswith("gpt-oss-120b at MXFP4_MOE, 8k context: ")
    assert "No quantization was named: MXFP4_MOE is the usual one." in found.whole.notes
    assert "dgx-spark" in [row["spec"] for row in rows(found)]


def test_a_computer_is_no_card_of_which_there_can_be_two() -> None:
    """The DGX Station has 252 GB: enough for four bits of 405 billion, not for eight."""
    for quant, found in (("Q4_K_M", [1]), ("Q8_0", [])):
        every = rows(asked("llama-3.1-405b", Options(quant=quant)))
        assert [row["cards"] for row in every if row["spec"].endswith("dgx-station")] == found  # type: ignore[union-attr]


def test_the_line_above_names_the_smallest_and_the_cheapest() -> None:
    found = asked()
    every = rows(found)
    cheapest = min((row for row in every if row["price_usd"] is not None), key=lambda row: number(row, "price_usd"))
    assert found.page.title == (
        f"Llama 3.3 70B at Q4_K_M, 8k context: {len(every)} machines run it with headroom. "
        f"Smallest: {every[0]['machine']}. Cheapest: {cheapest['machine']}, {cheapest['price']}."
    )


def test_the_price_of_all_cards_is_at_most_that_and_unknown_ones_are_counted() -> None:
    every, found = rows(asked()), asked(max_price=2000.0)
    assert [row["spec"] for row in rows(found)] == [row["spec"] for row in every if row["price_usd"] is not None and number(row, "price_usd") <= 2000]
    assert f"Left out: {sum(row['price_usd'] is None for row in every)} whose price is not known." in found.whole.notes


def test_the_least_speed_counts() -> None:
    every, found = rows(asked()), asked(min_speed=20.0)
    known = [row for row in every if row["tokens_per_second_least"] is not None]
    assert [row["spec"] for row in rows(found)] == [row["spec"] for row in known if number(row, "tokens_per_second_least") >= 20]
    assert f"Left out: {len(every) - len(known)} whose speed is not known." in found.whole.notes


def test_vendors_and_numbers() -> None:
    assert {row["vendor"] for row in rows(asked(vendor="Apple, intel"))} == {"apple", "intel"}
    assert {row["cards"] for row in rows(asked(cards=3))} == {3}
    assert {row["cards"] for row in rows(asked())} == {1, 2, 4, 8}


def test_laptops_say_so_and_never_stand_in_pairs() -> None:
    laptops = [row for row in rows(asked("llama-3.1-8b")) if row["form"] == "laptop"]
    assert laptops
    assert all("laptop" in str(row["machine"]).lower() and row["cards"] == 1 for row in laptops)


def test_the_table_is_cut_and_says_so_the_data_is_not() -> None:
    found = asked(limit=3)
    assert len(found.page.listings[0].rows) == 3
    assert found.page.notes[0] == f"{len(rows(found)) - 3} more: --limit 0 shows them all."
    assert len(asked(limit=0).page.listings[0].rows) == len(rows(found)) > 40


def test_nothing_found_is_a_no() -> None:
    found = asked(max_price=10.0)
    assert (found.exit, rows(found)) == (Exit.NO, [])
    assert re.fullmatch(
        r"Llama 3.3 70B at Q4_K_M, 8k context: \d+ run it, none as asked \(cheapest: .+, \$[\d,]+ .+; fastest: .+ t/s \(estimated\)\)\.", found.page.title
    )
    assert asked().exit is Exit.YES
    refused = asked("llama-3.2-90b-vision", Options(runtime="llama.cpp"))
    assert refused.exit is Exit.NO
    assert any("does not load mllama" in note for note in refused.page.notes)


def test_named_machines_side_by_side_with_the_reason_of_a_no() -> None:
    found = asked(compare="4090, 5090,m4-max-64,2x3090,a100-80:3g.40gb")
    every = {str(row["spec"]): row for row in rows(found)}
    assert list(every) == ["rtx-4090", "rtx-5090", "m4-max-64", "2xrtx-3090", "a100-80gb-sxm:3g.40gb"]
    assert [row["answer"] for row in every.values()] == ["does_not_fit", "does_not_fit", "fits", "fits", "does_not_fit"]
    assert found.page.title.endswith("2 of 5 run it.")
    assert [note for note in found.page.notes if "short of" in note] == [
        f"{row['machine']}: {row['reason']}." for row in every.values() if row["answer"] != "fits"
    ]
    # The longest context of a named machine is the exact one.
    assert number(every["m4-max-64"], "fits_context_tokens") % 256 == 0
    assert number(every["m4-max-64"], "fits_context_tokens") > 32768
    assert every["a100-80gb-sxm:3g.40gb"]["price_usd"] is None
    assert found.exit is Exit.YES
    assert asked(compare="4090").exit is Exit.NO


@pytest.mark.parametrize(
    ("options", "wanted", "message"),
    [
        (Options(quant="Q4_K_M,Q8_0"), {}, "--quant: `buy` is asked about one value"),
        (Options(ctx="4k,8k"), {}, "--ctx: `buy` is asked about one value"),
        (Options(kv="f16,q8_0"), {}, "--kv: `buy` is asked about one value"),
        (Options(), {"vendor": "voodoo"}, "--vendor 'voodoo' is not one of them"),
        (Options(), {"cards": 0}, "--cards 0 is not between 1 and 64"),
        (Options(), {"max_price": -1.0}, "--max-price -1 is not a number from 0 on"),
        (Options(), {"min_speed": float("nan")}, "--min-speed nan is not a number from 0 on"),
        (Options(), {"compare": "4090", "cards": 2}, "--compare names the machines itself"),
        (Options(), {"compare": ","}, "--compare has nothing between its commas"),
        (Options(), {"compare": ",".join(["4090"] * 33)}, "--compare takes 32 machines at most"),
    ],
)
def test_wrong_usage(options: Options, wanted: dict[str, object], message: str) -> None:
    with pytest.raises(Problem) as caught:
        asked(options=options, **wanted)
    assert (caught.value.code, caught.value.message) == (Code.BAD_VALUE, message)


def test_unknown_names() -> None:
    for code, arguments in ((Code.UNKNOWN_GPU, {"compare": "rtx 9999"}), (Code.UNKNOWN_MODEL, {"model": "no-such-model"})):
        with pytest.raises(Problem) as caught:
            asked(**arguments)
        assert caught.value.code is code
