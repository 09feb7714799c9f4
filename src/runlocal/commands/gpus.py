"""`runlocal gpus`: what is in this machine, or the catalogue."""

from runlocal.catalog.file_names import model_named
from runlocal.catalog.gpu_entries import GpuEntry, GpuPrice
from runlocal.catalog.gpus import cards, find_gpu
from runlocal.commands.here import detection as detect
from runlocal.core.errors import Problem
from runlocal.core.listing import Column, Form, Listing
from runlocal.core.noun import NamedTuple
from runlocal.core.units import gib
from runlocal.probes.detect import readings
from runlocal.probes.detected import DetectedGpu, Detection

_SOLD = {"now": "new", "used": "used", "cloud": "for an hour in a cloud"}


class Found(NamedTuple):
    """The listing, and what else to say."""

    listing: Listing
    hints: tuple[str, ...] = ()


def run(query: str, *, everything: bool) -> Found:
    """This machine's devices without a query; else the catalogue's cards that match."""
    return _catalogue(query) if query or everything else _here()


def doctor() -> Found:
    """What every way of asking answers, raw."""
    rows = tuple({"way": one.way, "what": one.what, "value": one.value} for one in readings())
    columns = (Column("way", "asked"), Column("what", "what"), Column("value", "answer"))
    notes = ("Made for a report of a fault: it holds no names of users, files or programs, and of serial numbers the beginning alone.",)
    return Found(Listing(kind="readings", title=f"{len(rows)} raw readings", columns=columns, rows=rows, notes=notes))


def _here() -> Found:
    detection = detect(processes=True)
    rows = [_detected(found) for found in detection.gpus]
    host = detection.host
    notes = [
        f"Memory of this computer: {gib(host.total_bytes)}, {gib(host.available_bytes)} available."
        if host.total_bytes and host.available_bytes is not None
        else ""
    ]
    for found in detection.gpus:
        said = (*found.notes, *(one for one in (found.problem, found.left_out, found.why_no_processes) if one))
        notes += [note if found.name in note else f"{found.name}: {note}" for note in said]
    notes += [*_held(detection), *detection.notes, *detection.absent, *host.notes]
    listing = Listing(
        kind="gpus",
        title=f"{len(rows)} device{'' if len(rows) == 1 else 's'}" + (f", driver {detection.driver_version}" if detection.driver_version else ""),
        columns=(
            Column("index", "#", Form.NUMBER),
            Column("name", "name"),
            Column("memory_bytes", "total", Form.GIB),
            Column("reserved_bytes", "reserved", Form.GIB),
            Column("in_use_bytes", "in use", Form.GIB),
            Column("usable_bytes", "usable now", Form.GIB),
            Column("idle_usable_bytes", "when idle", Form.GIB),
            Column("found_by", "found by"),
        ),
        rows=tuple(rows),
        notes=tuple(note for note in notes if note),
    )
    return Found(listing, () if rows else ("No GPU was found.",))


def _detected(found: DetectedGpu) -> dict[str, str | int | None]:
    gpu = found.gpu
    return {
        "index": found.driver_index,
        "name": found.name if found.visible_index is not None else f"{found.name} ({_why_not(found)})",
        "memory_bytes": gpu.memory_bytes if gpu else None,
        "reserved_bytes": gpu.reserved_bytes if gpu else None,
        "in_use_bytes": gpu.in_use_bytes if gpu else None,
        "usable_bytes": gpu.usable_bytes if gpu else None,
        "idle_usable_bytes": gpu._replace(in_use_bytes=0).usable_bytes if gpu else None,
        "found_by": found.found_by,
    }


def _why_not(found: DetectedGpu) -> str:
    if found.left_out:
        return "left out"
    return "hidden from programs" if found.gpu else "not usable"


def _held(detection: Detection) -> list[str]:
    """Who holds memory, and of which model, a sentence each."""
    sentences = []
    for found in detection.gpus:
        for process in found.processes or ():
            model = next((named for text in process.models if (named := model_named(text))), None)
            words = ", ".join(word for word in (process.name, model) if word)
            name = f" ({words})" if words else ""
            size = gib(process.bytes) if process.bytes is not None else "memory that the driver does not count"
            sentences.append(f"{found.name}: process {process.pid}{name} holds {size}.")
    return sentences


def _catalogue(query: str) -> Found:
    found = list(cards(query))
    notes: tuple[str, ...] = ()
    nothing = "No card matches. `runlocal gpus --all` lists them all."
    try:
        exact = find_gpu(query) if query else None
    except Problem as problem:
        exact = None
        nothing = f"{nothing} Called nearly so: {', '.join(problem.candidates)}." if problem.candidates else nothing
    if exact is not None:
        notes = (*exact.notes, *(f"{exact.name}: {_priced(price)}" for price in exact.prices if price.kind != "launch"))
        found = [exact, *(entry for entry in found if entry.id != exact.id)]
    return Found(
        Listing(
            kind="gpus",
            title=f"{len(found)} card{'' if len(found) == 1 else 's'}" + (f" for {query!r}" if query else ""),
            columns=(
                Column("id", "id"),
                Column("name", "name"),
                Column("memory_bytes", "total", Form.GIB),
                Column("usable_bytes", "usable", Form.GIB),
                Column("bandwidth_bytes", "bandwidth", Form.RATE),
                Column("launched", "launched", extra=True),
                Column("launch_price_usd", "at launch", Form.DOLLARS, extra=True),
            ),
            rows=tuple(_card(entry) for entry in found),
            notes=notes if found else (nothing,),
        )
    )


def _priced(price: GpuPrice) -> str:
    amounts = [f"${amount:,g}" for amount in (price.usd, price.to_usd) if amount is not None]
    return f"{' to '.join(amounts)} {_SOLD[price.kind]}, {price.date} ({price.source.url})."


def _card(entry: GpuEntry) -> dict[str, str | int | None]:
    return {
        "id": entry.id,
        "name": entry.name,
        "memory_bytes": entry.memory_bytes,
        "usable_bytes": entry.usable_bytes,
        "bandwidth_bytes": entry.bandwidth_bytes,
        "launched": entry.launched,
        "launch_price_usd": entry.launch_price_usd,
    }
