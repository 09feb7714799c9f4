"""The catalogue of GPUs: entries, and names that resolve to exactly one of them or say which there are."""

import tomllib
from collections import defaultdict
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.catalog.gpu_entries import GpuEntry, price_text
from runlocal.catalog.gpu_names import canonical, keys
from runlocal.catalog.gpus import cards, common_sizes, find_gpu, look_up, match_driver
from runlocal.catalog.machines import parse_machine
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.machine import Backend
from runlocal.core.units import MIB

FOLDER = Path(__file__).parents[2] / "data" / "gpus"
CHOICES = [choice for path in sorted(FOLDER.glob("*.toml")) for choice in tomllib.loads(path.read_text(encoding="utf-8")).get("choice", [])]
ENTRIES = cards()


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_an_id_is_exact_in_any_spelling(entry: GpuEntry) -> None:
    assert find_gpu(entry.id) == entry
    assert find_gpu(f"  {entry.id.upper()} ") == entry
    spaced = find_gpu(entry.id.replace("-", " "))
    assert spaced.id == entry.id


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.aliases], ids=[entry.id for entry in ENTRIES if entry.aliases])
def test_an_alias_names_its_entry(entry: GpuEntry) -> None:
    assert all(find_gpu(alias) == entry for alias in entry.aliases)


def test_a_driver_name_resolves_to_an_entry_that_has_it_or_names_the_choice() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in ENTRIES:
        for name in entry.driver_names:
            owners[name].add(entry.id)
    for name, ids in owners.items():
        try:
            found = find_gpu(name)
        except Problem as problem:
            assert len(ids) > 1
            assert ids <= set(problem.candidates)
        else:
            assert found.id in ids or all(owner in found.notes[0] for owner in ids)


def test_no_two_entries_share_a_name() -> None:
    names = [entry.name.casefold() for entry in ENTRIES]
    assert len(names) == len(set(names))


def test_no_two_entries_share_an_alias() -> None:
    names = [alias.casefold() for entry in ENTRIES for alias in entry.aliases]
    assert len(names) == len(set(names))


def test_no_key_of_an_id_or_alias_stands_for_two_entries() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in ENTRIES:
        for name in (entry.id, *entry.aliases):
            for key in keys(name, round(entry.memory_gb)):
                owners[key].add(entry.id)
    chosen = {key for choice in CHOICES for name in choice["names"] for key in keys(name)}
    assert {key: ids for key, ids in owners.items() if len(ids) > 1 and key not in chosen} == {}


@pytest.mark.parametrize("choice", CHOICES, ids=[choice["names"][0] for choice in CHOICES])
def test_a_name_with_several_meanings_says_so(choice: dict[str, list[str] | str]) -> None:
    for name in choice["names"]:
        if "usual" in choice:
            found = find_gpu(name)
            assert found.id == choice["usual"]
            if name != found.id:
                assert found.notes == () or all(other in found.notes[0] for other in choice["others"])
        else:
            with pytest.raises(Problem) as caught:
                find_gpu(name)
            assert caught.value.code is Code.UNKNOWN_GPU
            assert list(caught.value.candidates) == choice["others"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4090", "rtx-4090"),
        ("RTX4090", "rtx-4090"),
        ("rtx_4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("GeForce RTX 4090 24GB", "rtx-4090"),
        ("4090 24g", "rtx-4090"),
        ("4090 48gb", "rtx-4090-48gb"),
        ("4090D", "rtx-4090-d"),
        ("4090 mobile", "rtx-4090-laptop"),
        ("4090 Laptop GPU", "rtx-4090-laptop"),
        ("3090 ti", "rtx-3090-ti"),
        ("3090ti", "rtx-3090-ti"),
        ("1080 ti", "gtx-1080-ti"),
        ("4070 ti super", "rtx-4070-ti-super"),
        ("4070 TiS", "rtx-4070-ti-super"),
        ("4060ti 16gb", "rtx-4060-ti-16gb"),
        ("4060 Ti 16 GB", "rtx-4060-ti-16gb"),
        ("3060 8gb", "rtx-3060-8gb"),
        ("A10G", "a10g"),
        ("a10", "a10"),
        ("NVIDIA A10G", "a10g"),
        ("a100-40", "a100-40gb-sxm"),
        ("A100-SXM4-80GB", "a100-80gb-sxm"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb-pcie"),
        ("h100-80", "h100-80gb-sxm"),
        ("H100 80GB", "h100-80gb-sxm"),
        ("h100 sxm5 80gb", "h100-80gb-sxm"),
        ("h100 pcie", "h100-80gb-pcie"),
        ("h100nvl", "h100-nvl"),
        ("h200", "h200-sxm"),
        ("L40S 48GB", "l40s"),
        ("Tesla P40", "p40"),
        ("v100 32gb", "v100-32gb-pcie"),
        ("6000 ada", "rtx-6000-ada"),
        ("rtx a6000", "rtx-a6000"),
        ("rtx pro 6000 96gb", "rtx-pro-6000"),
        ("pro 6000 maxq", "rtx-pro-6000-max-q"),
        ("gb10", "dgx-spark"),
        ("rtx-4090", "rtx-4090"),
        ("a100-80", "a100-80gb-sxm"),
        ("a100-64", "a100-64gb-sxm"),
        ("h100-nvl", "h100-nvl"),
        ("395-128", "strix-halo-128"),
        ("395-64", "strix-halo-64"),
        ("385-32", "ryzen-ai-max-385-32"),
        ("2060 laptop", "rtx-2060-laptop"),
        ("NVIDIA H100", "h100-80gb-sxm"),
        ("h100 94gb", "h100-nvl"),
        ("Data Center GPU Max 1550", "max-1550"),
        ("max 1550 128gb", "max-1550"),
        ("gaudi3", "gaudi-3"),
        ("rtx spark 128gb", "n1x-128"),
        ("spark 128gb", "dgx-spark"),
        ("gorgon halo", "ryzen-ai-max-495-192"),
        ("mi200", "mi210"),
        ("7900xtx", "rx-7900-xtx"),
        ("AMD Radeon RX 7900 XTX", "rx-7900-xtx"),
        ("r9700", "r9700"),
        ("Instinct MI300X", "mi300x"),
        ("Ryzen AI Max 395", "strix-halo-128"),
        ("strix halo 64gb", "strix-halo-64"),
        ("b580", "arc-b580"),
        ("Intel(R) Arc(TM) B580 Graphics", "arc-b580"),
        ("m4-max-64", "m4-max-64"),
        ("M4 Max 64GB", "m4-max-64"),
        ("MacBook Pro M4 Max 64GB", "m4-max-64"),
        ("macbook m4 pro 24gb", "m4-pro-24"),
        ("Mac mini M4 Pro 48", "m4-pro-48"),
        ("m2 ultra mac-studio 192gb", "m2-ultra-192"),
        ("macbook air m2 16gb", "m2-16"),
        ("Apple M3 Ultra 512 GB", "m3-ultra-512"),
    ],
)
def test_names_as_people_type_them(text: str, expected: str) -> None:
    assert find_gpu(text).id == expected


@pytest.mark.parametrize(
    "text", ["4090 16gb", "rtx 409", "4090 ti", "8 4060", "24 3090", "m4 max 32", "m4 ultra 128", "b200 90gb", "gtx 4090 super", "gpu", "%", "nvidia"]
)
def test_what_was_never_sold_is_not_guessed(text: str) -> None:
    with pytest.raises(Problem) as caught:
        find_gpu(text)
    assert caught.value.code is Code.UNKNOWN_GPU
    assert caught.value.exit is Exit.CANNOT_ANSWER


@pytest.mark.parametrize(
    ("text", "gpu_id", "memory_gb", "bandwidth_gb_s"),
    [
        ("m1 ultra 64gb", "m1-ultra-64", 64, 800),
        ("m2 ultra 64gb", "m2-ultra-64", 64, 800),
        ("m2 max 64gb", "m2-max-64", 64, 400),
        ("m3 max 64gb", "m3-max-64", 64, 400),
        ("m4 max 64gb", "m4-max-64", 64, 546),
        ("m4 pro 64gb", "m4-pro-64", 64, 273),
        ("mi200", "mi210", 64, 1638),
        ("mi210", "mi210", 64, 1638),
        ("h100 64gb", "h100-64gb-sxm", 64, None),
        ("h100 80gb", "h100-80gb-sxm", 80, 3350),
        ("h100 pcie", "h100-80gb-pcie", 80, 2000),
        ("h100 sxm5 94gb", "h100-94gb-sxm", 94, None),
        ("h100 nvl", "h100-nvl", 94, 3938),
        ("h100 cnx", "h100-cnx", 80, 2039),
        ("jetson agx orin 64gb", "jetson-agx-orin-64gb", 64, 204.8),
        ("jetson t4000", "jetson-thor-t4000", 64, 273),
        ("rtx pro 5000 72gb", "rtx-pro-5000-72gb", 72, 1344),
        ("rtx 6000d", "rtx-6000d", 84, 1568),
        ("a100 pcie 80gb", "a100-80gb-pcie", 80, 1935),
        ("a100 sxm4 80gb", "a100-80gb-sxm", 80, 2039),
        ("a100x", "a100x", 80, 2039),
        ("a800 pcie 80gb", "a800-80gb-pcie", 80, 1935),
        ("a800 sxm4 80gb", "a800-80gb-sxm", 80, 2039),
        ("h800 pcie", "h800-80gb-pcie", 80, 2000),
        ("h800 sxm5", "h800-80gb-sxm", 80, 3350),
        ("b200", "b200", 192, 7700),
        ("rtx 3090", "rtx-3090", 24, 936),
        ("rtx 5090", "rtx-5090", 32, 1792),
        ("rtx a6000", "rtx-a6000", 48, 768),
    ],
)
def test_cards_that_people_think_of_for_large_models(text: str, gpu_id: str, memory_gb: int, bandwidth_gb_s: float | None) -> None:
    card = find_gpu(text)
    assert (card.id, card.memory_gb) == (gpu_id, memory_gb)
    assert card.bandwidth_bytes == (None if bandwidth_gb_s is None else round(bandwidth_gb_s * 1e9))


def test_parts_of_one_supercomputer_are_known_and_not_for_sale() -> None:
    assert {entry.id for entry in ENTRIES if not entry.sold} == {"a100-64gb-sxm", "h100-64gb-sxm", "h100-94gb-sxm", "h100-96gb-sxm", "b100"}


def test_every_apple_memory_size_is_there() -> None:
    sold: dict[str, list[int]] = defaultdict(list)
    for card in ENTRIES:
        if card.vendor == "apple":
            sold[card.driver_names[0].removeprefix("Apple ")].append(int(card.memory_gb))
    assert sold == {
        **{"M1": [8, 16], "M1 Pro": [16, 32], "M1 Max": [32, 64], "M1 Ultra": [64, 128]},
        **{"M2": [8, 16, 24], "M2 Pro": [16, 32], "M2 Max": [32, 64, 96], "M2 Ultra": [64, 128, 192]},
        **{"M3": [8, 16, 24], "M3 Pro": [18, 36], "M3 Max": [36, 48, 64, 96, 128], "M3 Ultra": [96, 256, 512]},
        **{"M4": [16, 24, 32], "M4 Pro": [24, 48, 64], "M4 Max": [36, 48, 64, 128]},
        **{"M5": [16, 24, 32], "M5 Pro": [24, 48, 64], "M5 Max": [36, 48, 64, 128], "M5 Ultra": [96, 256, 512]},
        "M6": [16, 24, 32],
    }


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(Problem) as caught:
        find_gpu("rtx 4080 superr")
    assert caught.value.candidates[0] == "rtx-4080-super"


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("4900", "rtx-4090"),
        ("rtx 4900", "rtx-4090"),
        ("5900", "rtx-5090"),
        ("3009", "rtx-3090"),
        ("9700", "rx-9070"),
        ("4091", "rtx-4090"),
        ("2x4900", "rtx-4090"),
    ],
)
def test_digits_the_other_way_round_are_the_likeliest_slip(typed: str, first: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_machine(typed)
    assert caught.value.candidates[0] == first
    assert len(caught.value.candidates) <= 8


def test_a_number_that_several_products_share_lists_them_first() -> None:
    with pytest.raises(Problem) as caught:
        find_gpu("7900")
    assert {"rx-7900-xt", "rx-7900-xtx", "rx-7900-gre"} <= set(caught.value.candidates[:5])


def test_a_bare_mac_lists_its_sizes() -> None:
    with pytest.raises(Problem) as caught:
        find_gpu("m4 max")
    assert caught.value.candidates == ("m4-max-36", "m4-max-48", "m4-max-64", "m4-max-128")
    assert "M4 Max 128 GB" in caught.value.message


def test_a_shared_name_is_noted() -> None:
    assert find_gpu("h200").notes == ("'h200' was read as H200 SXM; it can also mean h200-nvl.",)
    assert find_gpu("h100-80gb-sxm").notes == ()


def test_a_measured_card() -> None:
    card = find_gpu("rtx-3090")
    assert card.driver_names == ("NVIDIA GeForce RTX 3090",)
    assert card.memory_bytes == 24576 * MIB == 25769803776
    assert card.reserved_bytes == 452 * MIB
    assert card.usable_bytes == 24124 * MIB
    assert card.context_bytes == 256 * MIB
    assert (card.reserved_basis, card.context_basis, card.memory_basis) == ("measured", "measured", "driver")
    assert card.compute_capability == (8, 6)
    assert card.bandwidth_bytes == 936_000_000_000
    gpu = card.gpu(1)
    assert (gpu.index, gpu.id, gpu.usable_bytes, gpu.backend) == (1, "rtx-3090", 24124 * MIB, Backend.CUDA)
    assert gpu.in_use_bytes is None
    assert gpu.context_measured
    assert not find_gpu("rtx-4090").gpu(0).context_measured


@pytest.mark.parametrize(
    ("name", "reserved", "context"),
    [
        ("rtx-4060", int(8188 * MIB * 0.025), 300 * MIB),
        ("rtx-3080-10gb", 256 * MIB, 300 * MIB),
        ("rtx-3080-ti", int(12288 * MIB * 0.025), 450 * MIB),
        ("l40s", 1024 * MIB, 600 * MIB),
        ("t4", 384 * MIB, 600 * MIB),
        ("rtx-4090", 484 * MIB, 450 * MIB),
        ("b200", 726 * MIB, 612 * MIB),
        ("rtx-pro-6000", 640 * MIB, 555 * MIB),
    ],
)
def test_reserve_and_context_by_measurement_or_rule(name: str, reserved: int, context: int) -> None:
    card = find_gpu(name)
    assert (card.reserved_bytes, card.context_bytes) == (reserved, context)


@pytest.mark.parametrize(
    ("name", "usable_mib"), [("m4-max-64", 53084), ("m3-16", 12124), ("m4-max-128", 110100), ("m3-ultra-512", 475136), ("strix-halo-128", 98304)]
)
def test_shared_memory_is_usable_up_to_the_limit_of_its_system(name: str, usable_mib: int) -> None:
    card = find_gpu(name)
    assert card.unified
    assert card.usable_bytes == usable_mib * MIB


def test_a_mac_has_no_context_that_anybody_knows() -> None:
    assert find_gpu("m4-max-64").context_bytes is None


def test_shared_memory_that_nobody_read_leaves_the_system_its_part() -> None:
    # 65536 MiB: 2.5 % capped at 1024 MiB, and 5 % that Linux does not count
    assert find_gpu("jetson-agx-orin-64gb").reserved_bytes == 1024 * MIB + int(65536 * MIB * 0.05)


def test_every_card_keeps_most_of_its_memory() -> None:
    for entry in ENTRIES:
        assert 0.65 * entry.memory_bytes < entry.usable_bytes < entry.memory_bytes


@pytest.mark.parametrize(
    ("name", "total_mib", "expected"),
    [
        ("NVIDIA GeForce RTX 3060", 12288, "rtx-3060-12gb"),
        ("NVIDIA GeForce RTX 3060", 8192, "rtx-3060-8gb"),
        ("NVIDIA GeForce RTX 4060 Ti", 16380, "rtx-4060-ti-16gb"),
        ("NVIDIA GeForce RTX 4090", 24564, "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", 23028, "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", 49140, "rtx-4090-48gb"),
        ("NVIDIA L40S", 49140, "l40s"),
        ("Apple M4 Max", 131072, "m4-max-128"),
        ("NVIDIA GeForce RTX 3060", 24576, None),
        ("AMD Instinct MI50/MI60", 32752, None),
        ("NVIDIA GeForce RTX 2070", 8192, "rtx-2070"),
        ("NVIDIA GeForce RTX 2060", 6144, "rtx-2060"),
        ("NVIDIA H100", 65247, "h100-64gb-sxm"),
        ("NVIDIA H100", 95830, "h100-94gb-sxm"),
        ("NVIDIA GeForce RTX 9999", 24576, None),
    ],
)
def test_the_total_tells_products_of_one_name_apart(name: str, total_mib: int, expected: str | None) -> None:
    found = match_driver(name, total_mib * MIB)
    assert (found.id if found else None) == expected


def test_common_sizes_rise_and_are_usable_sizes() -> None:
    grid = common_sizes()
    usable = [size.gpu.usable_bytes for size in grid]
    assert usable == sorted(usable)
    assert [size.size_gb for size in grid] == [8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 141, 192]
    assert grid[3].gpu.usable_bytes == 24080 * MIB


def test_search() -> None:
    assert cards() == ENTRIES
    assert len(ENTRIES) >= 343
    assert {entry.id for entry in cards("4090")} == {"rtx-4090", "rtx-4090-d", "rtx-4090-48gb", "rtx-4090-laptop"}
    assert {entry.vendor for entry in cards("radeon")} == {"amd"}
    assert {entry.id for entry in cards("Apple m4 MAX")} == {"m4-max-36", "m4-max-48", "m4-max-64", "m4-max-128"}
    assert cards("no such card") == ()


def test_sources_are_public_addresses_with_the_day_they_were_read() -> None:
    for entry in ENTRIES:
        cited = [*entry.sources, *(price.source for price in entry.prices)]
        assert entry.sources
        assert all(source.url.startswith("https://") and date.fromisoformat(source.checked) for source in cited)


def test_a_card_has_prices_of_several_kinds() -> None:
    prices = find_gpu("rtx-3090").prices
    assert [(price.usd, price.to_usd, price.kind, price.date) for price in prices] == [
        (1499, None, "launch", "2020-09-24"),
        (600, 800, "used", "2026-06-29"),
    ]
    assert find_gpu("rtx-3090").launch_price_usd == 1499
    assert find_gpu("h200-sxm").prices[0].kind == "cloud"
    assert find_gpu("h200-sxm").launch_price_usd is None
    assert find_gpu("rtx-2080-ti-22gb").prices == ()


@given(st.text(max_size=60))
def test_any_text_is_a_card_or_nothing_or_a_problem(text: str) -> None:
    try:
        found = look_up(text)
    except Problem as problem:
        assert problem.code is Code.UNKNOWN_GPU
        assert problem.candidates
    else:
        assert found is None or found.id in {entry.id for entry in ENTRIES}


@given(st.sampled_from(ENTRIES), st.sampled_from(["-", "_", " ", ".", "  "]), st.booleans())
def test_separators_and_case_do_not_matter(entry: GpuEntry, separator: str, upper: bool) -> None:
    text = entry.id.replace("-", separator)
    assert find_gpu(text.upper() if upper else text).id == entry.id


@given(st.text(max_size=200))
def test_the_canonical_form_is_stable(text: str) -> None:
    once = canonical(text)
    assert all(part.isascii() for part in once)
    assert once == once.casefold()


def test_the_price_is_the_last_in_shops_else_used_else_at_launch_never_by_the_hour() -> None:
    kinds = {gpu_id: price.kind for gpu_id in ("rtx-4090", "rtx-3090", "rtx-2080") if (price := find_gpu(gpu_id).price)}
    assert kinds == {"rtx-4090": "now", "rtx-3090": "used", "rtx-2080": "launch"}
    assert find_gpu("b200").price is None
    assert [price.kind for price in find_gpu("b200").prices] == ["cloud"]


def test_prices_in_words() -> None:
    launch, used = find_gpu("rtx-3090").prices
    (new,) = (price for price in find_gpu("rtx-5090").prices if price.kind == "now")
    assert price_text([(launch, 1)]) == "$1,499 launch 2020"
    assert price_text([(used, 4)]) == "$2,400-3,200 used 2026-06"
    assert price_text([(used, 1), (new, 1)]) == "$2,900-3,600 used+new 2026-05"
    assert price_text([(find_gpu("h100-80gb-sxm").prices[0], 1)]) == "$1.99-5/h cloud 2026-05"
