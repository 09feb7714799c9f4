"""Tables for finding a card by name, made from data/gpus when the bundle is compiled."""

from collections import Counter
from typing import Any

from runlocal.catalog.gpu_names import keys

Table = dict[str, Any]
VENDORS = ("nvidia", "amd", "intel", "apple")


def gpu_tables(gpus: dict[str, Table]) -> dict[str, Any]:
    """The bundle's objects for cards: `gpu_rules`, `gpu_names`, `gpu_pci`, and `gpus/<id>`, a row with its vendor and sources.

    gpu_names: `ids` in the order of the files; `exact`: name in lower case → id or choice; `normal`: canonical key → id or choice.
    A choice is {"usual": id or null, "others": ids}: the products that a bare name can mean.
    """
    rows = {row["id"]: (vendor, row) for vendor in VENDORS for row in gpus[vendor]["gpu"]}
    shared = _shared(row for _, row in rows.values())
    exact: dict[str, Any] = {}
    normal: dict[str, Any] = {}
    for vendor in VENDORS:
        for choice in gpus[vendor].get("choice", ()):
            target = {"usual": choice.get("usual"), "others": choice["others"]}
            for name in choice["names"]:
                exact[name.casefold()] = target
                for key in keys(name):
                    normal[key] = target
    for gpu_id, (_, row) in rows.items():
        own = [name for name in row["driver_names"] if name not in shared]
        aliases = row.get("aliases", ())
        for name in (*own, *aliases, gpu_id):
            exact[name.casefold()] = gpu_id
        for name in (gpu_id, row["name"], *aliases, *own):
            for key in keys(name, round(row["memory_gb"])):
                normal.setdefault(key, gpu_id)
    normal.pop("", None)
    made: dict[str, Any] = {"gpu_rules": gpus["rules"], "gpu_names": {"ids": list(rows), "exact": exact, "normal": normal}}
    made["gpu_pci"] = gpus["pci"]["names"]
    for gpu_id, (vendor, row) in rows.items():
        sources = gpus[vendor]["sources"]
        cited = (*row["sources"], *(price["source"] for price in row.get("prices", ())))
        made[f"gpus/{gpu_id}"] = {"vendor": vendor, "row": row, "sources": {key: sources[key] for key in cited}}
    return made


def _shared(rows: Any) -> frozenset[str]:
    """The driver names that more than one product reports."""
    count = Counter(name for row in rows for name in row["driver_names"])
    return frozenset(name for name in count if count[name] > 1)
