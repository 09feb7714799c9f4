"""Every row of `data/gpus` through a strict door: keys, types, ranges, sources, names."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

FOLDER = Path(__file__).parents[2] / "data" / "gpus"
FILES = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.toml")}
VENDORS = ("nvidia", "amd", "intel", "apple")
ROWS = [(vendor, row) for vendor in VENDORS for row in FILES[vendor]["gpu"]]
IDS = [row["id"] for _, row in ROWS]

Id = Annotated[StrictStr, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Words = Annotated[StrictStr, Field(min_length=1, max_length=400)]
Count = Annotated[StrictInt, Field(gt=0)]
Number = StrictInt | StrictFloat


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Source(Strict):
    url: Annotated[StrictStr, Field(pattern=r"^https://[^ ]+$")]
    what: Words
    checked: StrictStr


class Mig(Strict):
    name: Annotated[StrictStr, Field(pattern=r"^[1-7]g\.\d+gb$")]
    memory_mib: Count | None = None
    max_instances: Annotated[StrictInt, Field(ge=1, le=7)]


class Price(Strict):
    usd: Annotated[Number, Field(gt=0)]
    to_usd: Annotated[Number, Field(gt=0)] | None = None
    kind: Literal["launch", "now", "used", "cloud"]
    date: Annotated[StrictStr, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]
    source: StrictStr


class Row(Strict):
    id: Id
    name: Words
    driver_names: Annotated[list[Words], Field(min_length=1)]
    aliases: list[Words] = []
    form: Literal["desktop", "laptop", "workstation", "datacenter", "soc"]
    devices: Annotated[StrictInt, Field(ge=2, le=4)] = 2
    memory_gb: Count
    memory_mib: Count
    memory_basis: Literal["driver", "nominal"]
    reserved_mib: Count | None = None
    reserved_source: StrictStr | None = None
    context_mib: Count | None = None
    context_source: StrictStr | None = None
    backend: Literal["cuda", "rocm", "sycl", "hpu", "metal"]
    compute_capability: Annotated[StrictStr, Field(pattern=r"^\d+\.\d$")] | None = None
    gfx: Annotated[StrictStr, Field(pattern=r"^gfx[0-9a-f]{3,4}$")] | None = None
    memory_type: Literal["GDDR5", "GDDR5X", "GDDR6", "GDDR6X", "GDDR7", "HBM2", "HBM2e", "HBM3", "HBM3e", "HBM4", "LPDDR4X", "LPDDR5", "LPDDR5X"]
    bandwidth_gb_s: Annotated[Number, Field(gt=50, lt=25_000)] | None = None
    fp16_tflops: Annotated[Number, Field(gt=0)] | None = None
    ecc: Literal["yes", "no", "optional"] | None = None
    tdp_w: Count | None = None
    launched: StrictStr | None = None
    prices: Annotated[list[Price], Field(min_length=1)] | None = None
    unified: StrictBool = False
    sold: Literal[False] | None = None
    note: Words | None = None
    sources: Annotated[list[StrictStr], Field(min_length=1)]
    mig: Annotated[list[Mig], Field(min_length=1)] | None = None


class Choice(Strict):
    names: Annotated[list[Words], Field(min_length=1)]
    usual: Id | None = None
    others: Annotated[list[Id], Field(min_length=1)]


class Vendor(Strict):
    sources: dict[Id, Source]
    choice: list[Choice] = []
    gpu: list[Row]


class Reserve(Strict):
    fraction: StrictFloat
    cap_mib: Count
    sources: list[StrictStr]


class Context(Strict):
    form: Literal["datacenter"] | None = None
    up_to_mib: Count | None = None
    context_mib: Count
    sources: list[StrictStr]


class Mac(Strict):
    memory_gb: Count
    limit_mib: Count
    limit_basis: Literal["measured", "assumed"]
    before_mib: Count | None = None
    sources: list[StrictStr]


class MigRule(Strict):
    share_of_name: StrictFloat
    sources: list[StrictStr]


class Unified(Strict):
    uncounted_fraction: StrictFloat
    sources: list[StrictStr]


class Common(Strict):
    size_gb: Count
    gpu: Id


class Rules(Strict):
    sources: dict[Id, Source]
    reserve: Reserve
    context: list[Context]
    mig: MigRule
    unified: Unified
    apple: list[Mac]
    common: list[Common]


def test_the_folder_holds_the_vendors_and_the_rules() -> None:
    assert set(FILES) == {*VENDORS, "rules", "pci"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendor_file_is_strict(vendor: str) -> None:
    Vendor.model_validate(FILES[vendor])


def test_the_rules_are_strict() -> None:
    Rules.model_validate(FILES["rules"])


def test_a_pci_id_names_a_card_of_its_vendor() -> None:
    assert set(FILES["pci"]) == {"sources", "names"}
    for source in FILES["pci"]["sources"].values():
        Source.model_validate(source)
    for vendor, pattern in (("amd", r"[0-9A-F]{4}-[0-9A-F]{2}"), ("intel", r"[0-9A-F]{4}")):
        drivers = {name for row in FILES[vendor]["gpu"] for name in row["driver_names"]}
        for key, name in FILES["pci"]["names"][vendor].items():
            assert re.fullmatch(pattern, key), key
            assert name in drivers, name


@pytest.mark.parametrize("change", [{"memory_gib": 24}, {"memory_mib": "24576"}, {"backend": "vulkan"}, {"sources": []}, {"id": "RTX 3090"}])
def test_the_strict_door_is_shut(change: dict[str, object]) -> None:
    row = next(row for _, row in ROWS if row["id"] == "rtx-3090")
    Row.model_validate(row)
    with pytest.raises(ValidationError):
        Row.model_validate(row | change)


def test_ids_are_unique_over_all_files() -> None:
    assert len(IDS) == len(set(IDS))


def test_there_are_the_cards_people_type() -> None:
    assert len(IDS) >= 343
    named = "rtx-3090 rtx-4090 rtx-5090 rtx-4060-ti-16gb a100-80gb-sxm h100-80gb-sxm h100-nvl h200-sxm b200 b300 gh200-96gb l40s t4 p40 dgx-spark"
    assert set(f"{named} rx-7900-xtx mi300x mi355x strix-halo-128 arc-b580 m4-max-64 m3-ultra-512".split()) <= set(IDS)


@pytest.mark.parametrize(("vendor", "row"), ROWS, ids=IDS)
def test_sources_and_measurements_resolve(vendor: str, row: dict[str, object]) -> None:
    known = FILES[vendor]["sources"]
    keys = [*row["sources"], *(row[key] for key in ("reserved_source", "context_source") if key in row)]  # type: ignore[misc]
    keys += [price["source"] for price in row.get("prices", [])]  # type: ignore[attr-defined]
    assert all(key in known for key in keys)
    assert ("reserved_mib" in row) == ("reserved_source" in row)
    assert ("context_mib" in row) == ("context_source" in row)


@pytest.mark.parametrize(("vendor", "row"), ROWS, ids=IDS)
def test_figures_hang_together(vendor: str, row: dict[str, object]) -> None:
    box, driver = int(row["memory_gb"]) * 1024, int(row["memory_mib"])  # type: ignore[call-overload]
    if row["memory_basis"] == "nominal" or vendor == "apple":
        assert driver == box
    else:
        # ECC takes a sixteenth, Blackwell and Hopper modules enable less than is fitted
        assert 0.92 * box < driver <= box
    assert row["backend"] in {"nvidia": ("cuda",), "amd": ("rocm",), "intel": ("sycl", "hpu"), "apple": ("metal",)}[vendor]
    assert ("compute_capability" in row) == (vendor == "nvidia")
    assert ("gfx" in row) == (vendor == "amd")
    if "launched" in row:
        assert date(2010, 1, 1) < date.fromisoformat(str(row["launched"])) <= date(2026, 12, 31)


@pytest.mark.parametrize(("vendor", "row"), [pair for pair in ROWS if "prices" in pair[1]], ids=[row["id"] for _, row in ROWS if "prices" in row])
def test_prices_are_dated_and_the_oldest_is_first(vendor: str, row: dict[str, list[dict[str, str]]]) -> None:
    del vendor
    prices = row["prices"]
    dates = [date.fromisoformat(price["date"] if len(price["date"]) > len("2026-05") else f"{price['date']}-01") for price in prices]
    assert dates == sorted(dates)
    assert dates[-1] <= date(2026, 12, 31)
    assert sum(price["kind"] == "launch" for price in prices) <= 1
    assert all(price.get("to_usd", float("inf")) > price["usd"] for price in prices)  # type: ignore[operator]
    assert all((price["kind"] == "cloud") == (price["usd"] < 50) for price in prices)  # type: ignore[operator]


def test_every_source_is_dated_and_used() -> None:
    for vendor in VENDORS:
        used = {key for row in FILES[vendor]["gpu"] for key in [*row["sources"], row.get("reserved_source"), row.get("context_source")]}
        used |= {price["source"] for row in FILES[vendor]["gpu"] for price in row.get("prices", [])}
        assert set(FILES[vendor]["sources"]) == used - {None}
    rules = FILES["rules"]
    parts = [rules["reserve"], *rules["context"], rules["mig"], rules["unified"], *rules["apple"]]
    assert set(rules["sources"]) == {key for part in parts for key in part["sources"]}
    for table in FILES.values():
        for source in table["sources"].values():
            assert date(2026, 1, 1) < date.fromisoformat(source["checked"]) <= date(2026, 12, 31)


def test_choices_name_rows() -> None:
    for vendor in VENDORS:
        for choice in FILES[vendor].get("choice", []):
            named = [*choice["others"], *([choice["usual"]] if "usual" in choice else [])]
            assert set(named) <= set(IDS)
            assert len(set(named) | {"one more"}) > 2 or choice.get("usual") is None


def test_every_mac_has_a_working_set_limit() -> None:
    limits = {limit["memory_gb"]: limit for limit in FILES["rules"]["apple"]}
    assert {row["memory_gb"] for row in FILES["apple"]["gpu"]} == set(limits)
    for size, limit in limits.items():
        assert 0.66 < limit["limit_mib"] / (size * 1024) < 0.91
        assert limit.get("before_mib", 0) <= limit["limit_mib"]


def test_the_reserve_rule_is_above_every_measured_reserve() -> None:
    rule = FILES["rules"]["reserve"]
    measured = [row for row in FILES["nvidia"]["gpu"] if "reserved_mib" in row]
    assert len(measured) >= 5
    for row in measured:
        assert row["reserved_mib"] <= min(row["memory_mib"] * rule["fraction"], rule["cap_mib"])


def test_the_context_rule_is_above_most_measured_contexts_and_ends_without_condition() -> None:
    rules = FILES["rules"]["context"]
    assert set(rules[-1]) == {"context_mib", "sources"}
    assert {rule["context_mib"] for rule in rules} == {300, 450, 600}


def test_the_slice_rule_is_below_every_slice_that_was_read() -> None:
    share = FILES["rules"]["mig"]["share_of_name"]
    read = [profile for row in FILES["nvidia"]["gpu"] for profile in row.get("mig", []) if "memory_mib" in profile]
    assert len(read) > 20
    for profile in read:
        assert profile["memory_mib"] >= share * int(profile["name"].partition(".")[2].removesuffix("gb")) * 1024


def test_common_sizes_are_the_buyers_grid() -> None:
    common = FILES["rules"]["common"]
    assert [row["size_gb"] for row in common] == [8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 141, 192]
    sizes = {row["id"]: row["memory_gb"] for _, row in ROWS}
    assert all(sizes[row["gpu"]] == row["size_gb"] for row in common)
