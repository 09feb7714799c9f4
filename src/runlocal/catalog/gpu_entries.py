"""Rows of `data/gpus` as entries, with what is assumed of a card where nobody measured it."""

from collections.abc import Sequence
from typing import Any

from runlocal.core.machine import Backend, Gpu
from runlocal.core.noun import NamedTuple
from runlocal.core.units import GIB, MIB

Table = dict[str, Any]

_BOUGHT = ("now", "used", "launch")
_SAID = {"now": "new"}
_YEAR, _MONTH = len("2026"), len("2026-06")


class MigProfile(NamedTuple):
    """A slice that a card can be cut into.

    name: the driver's, `1g.10gb`
    memory_bytes: of the slice; assumed from its name where nobody read it
    memory_assumed: whether it is
    context_bytes: of one process in it, assumed
    max_instances: how many such slices the card holds
    """

    name: str
    memory_bytes: int
    memory_assumed: bool
    context_bytes: int
    max_instances: int


class GpuSource(NamedTuple):
    """Where a row's facts come from: a public address, what stands there, and the date it was checked."""

    url: str
    what: str
    checked: str


class GpuPrice(NamedTuple):
    """What a board, or the cheapest machine with it, cost where and when.

    usd: the least; to_usd: the most, where the source gives a range
    kind: "launch" (the maker's list price), "now" (new in shops), "used", or "cloud" (one GPU for an hour)
    date: of the price, ISO, to the month where the source says no day
    """

    usd: float
    to_usd: float | None
    kind: str
    date: str
    source: GpuSource

    @property
    def most_usd(self) -> float:
        return self.usd if self.to_usd is None else self.to_usd


def price_text(prices: Sequence[tuple[GpuPrice, int]]) -> str:
    """So many boards of each price, with its kind and when that was: `$1,499 launch 2020`, `$1,200-1,600 used 2026-06`, `$1.99/h cloud 2026-05`."""
    least = sum(price.usd * boards for price, boards in prices)
    most = sum(price.most_usd * boards for price, boards in prices)
    kinds = tuple(dict.fromkeys(_SAID.get(price.kind, price.kind) for price, _ in prices))
    when = min(price.date for price, _ in prices)[: _YEAR if kinds == ("launch",) else _MONTH]
    amount = "-".join(f"{usd:g}" if kinds == ("cloud",) else f"{usd:,.0f}" for usd in dict.fromkeys((least, most)))
    return f"${amount}/h cloud {when}" if kinds == ("cloud",) else f"${amount} {'+'.join(kinds)} {when}"


class GpuEntry(NamedTuple):
    """One product. Sizes are of one device; a board may carry several (`devices`).

    name: short, as people say it; driver_names: as the driver prints it, the usual one first
    memory_bytes: the driver's total; memory_basis: "driver", or "nominal" where only the size on the box is known
    reserved_bytes: what a process cannot have of it; reserved_basis: "measured" (or set by the maker), or "assumed" by the rule for its kind
    context_bytes: of one process; context_basis likewise; None where no rule is known (Metal)
    form: desktop, laptop, workstation, datacenter or soc
    launched: ISO date; prices: oldest first
    sold: whether it can be bought; a part made for one supercomputer cannot
    note: what one should know of the figures
    notes: what the reader should know of how the name was read (only on an entry that `find_gpu` returned)
    """

    id: str
    vendor: str
    name: str
    driver_names: tuple[str, ...]
    aliases: tuple[str, ...]
    form: str
    devices: int
    memory_gb: float
    memory_bytes: int
    memory_basis: str
    reserved_bytes: int
    reserved_basis: str
    context_bytes: int | None
    context_basis: str | None
    backend: Backend
    compute_capability: tuple[int, int] | None
    gfx: str | None
    memory_type: str | None
    bandwidth_bytes: int | None
    fp16_tflops: float | None
    ecc: str | None
    tdp_w: int | None
    launched: str | None
    prices: tuple[GpuPrice, ...]
    unified: bool
    sold: bool
    mig: tuple[MigProfile, ...]
    note: str
    sources: tuple[GpuSource, ...]
    notes: tuple[str, ...] = ()

    @property
    def usable_bytes(self) -> int:
        """What a process can allocate on one device that nobody else uses."""
        return self.memory_bytes - self.reserved_bytes

    @property
    def several(self) -> bool:
        """Whether a computer can have more than one: it is a card, no computer itself."""
        return self.form not in ("laptop", "soc") and not self.unified

    @property
    def price(self) -> GpuPrice | None:
        """What a buyer pays, as far as it is known: the last price new in shops, else used, else the maker's at launch. Never by the hour."""
        return next((price for kind in _BOUGHT for price in reversed(self.prices) if price.kind == kind), None)

    @property
    def launch_price_usd(self) -> int | None:
        """Of the whole board or the cheapest machine."""
        return next((round(price.usd) for price in self.prices if price.kind == "launch"), None)

    def gpu(self, index: int) -> Gpu:
        """One device of it, as a machine's device number `index`."""
        return Gpu(
            index=index,
            id=self.id,
            name=self.driver_names[0],
            memory_bytes=self.memory_bytes,
            reserved_bytes=self.reserved_bytes,
            context_bytes=self.context_bytes,
            context_measured=self.context_basis == "measured",
            backend=self.backend,
            compute_capability=self.compute_capability,
            unified=self.unified,
            bandwidth_bytes=self.bandwidth_bytes,
            memory_type=self.memory_type,
        )


def entry_from_row(vendor: str, row: Table, sources: Table, rules: Table) -> GpuEntry:
    """The entry of a `[[gpu]]` row of `vendor`'s file, whose source keys stand in `sources`, under the assumptions of `rules.toml`."""
    memory = row["memory_mib"] * MIB
    reserved, reserved_basis = _reserved(vendor, row, rules)
    context, context_basis = _context(vendor, row, rules)
    major_minor = row.get("compute_capability")
    bandwidth = row.get("bandwidth_gb_s")
    return GpuEntry(
        id=row["id"],
        vendor=vendor,
        name=row["name"],
        driver_names=tuple(row["driver_names"]),
        aliases=tuple(row.get("aliases", ())),
        form=row["form"],
        devices=row.get("devices", 1),
        memory_gb=row["memory_gb"],
        memory_bytes=memory,
        memory_basis=row["memory_basis"],
        reserved_bytes=reserved,
        reserved_basis=reserved_basis,
        context_bytes=context,
        context_basis=context_basis,
        backend=Backend(row["backend"]),
        compute_capability=_capability(major_minor) if major_minor else None,
        gfx=row.get("gfx"),
        memory_type=row.get("memory_type"),
        bandwidth_bytes=round(bandwidth * 1e9) if bandwidth else None,
        fp16_tflops=row.get("fp16_tflops"),
        ecc=row.get("ecc"),
        tdp_w=row.get("tdp_w"),
        launched=row.get("launched"),
        prices=tuple(_price(price, sources) for price in row.get("prices", ())),
        unified=row.get("unified", False),
        sold=row.get("sold", True),
        mig=tuple(_profile(profile, context, rules) for profile in row.get("mig", ())),
        note=row.get("note", ""),
        sources=tuple(GpuSource(**sources[key]) for key in row["sources"]),
    )


def _price(row: Table, sources: Table) -> GpuPrice:
    return GpuPrice(row["usd"], row.get("to_usd"), row["kind"], row["date"], GpuSource(**sources[row["source"]]))


def _capability(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _reserved(vendor: str, row: Table, rules: Table) -> tuple[int, str]:
    """Bytes of the total that no process gets, and how sure that is: measured on the card, else the rule for its kind."""
    if "reserved_mib" in row:
        return row["reserved_mib"] * MIB, "measured"
    memory = row["memory_mib"] * MIB
    if vendor == "apple":
        limit = next(limit for limit in rules["apple"] if limit["memory_gb"] == row["memory_gb"])
        return memory - limit["limit_mib"] * MIB, limit["limit_basis"]
    rule = rules["reserve"]
    reserved = min(int(memory * rule["fraction"]), rule["cap_mib"] * MIB)
    if row.get("unified", False) and row["memory_basis"] == "nominal":
        reserved += int(memory * rules["unified"]["uncounted_fraction"])
    return reserved, "assumed"


def _context(vendor: str, row: Table, rules: Table) -> tuple[int | None, str | None]:
    if "context_mib" in row:
        return row["context_mib"] * MIB, "measured"
    if vendor == "apple":
        return None, None
    return assumed_context(row["memory_mib"] * MIB, row["form"], rules), "assumed"


def assumed_context(memory_bytes: int, form: str, rules: Table) -> int:
    """The first rule counts whose form and size the device has; the last one has no condition."""
    fitting = (rule for rule in rules["context"] if rule.get("form", form) == form and memory_bytes <= rule.get("up_to_mib", memory_bytes) * MIB)
    return int(next(fitting)["context_mib"]) * MIB


def _profile(profile: Table, card_context: int | None, rules: Table) -> MigProfile:
    name, assumed = profile["name"], "memory_mib" not in profile
    named = int(name.partition(".")[2].removesuffix("gb")) * GIB
    memory = int(named * rules["mig"]["share_of_name"]) if assumed else profile["memory_mib"] * MIB
    # A slice has fewer multiprocessors than a card of its size, so its context is no larger than such a card's.
    context = assumed_context(memory, "slice", rules)
    return MigProfile(name, memory, assumed, context if card_context is None else min(context, card_context), profile["max_instances"])
