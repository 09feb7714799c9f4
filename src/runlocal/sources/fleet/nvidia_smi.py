"""What `nvidia-smi --query-gpu=index,name,memory.total[,memory.used] --format=csv[,noheader[,nounits]]` prints on many hosts.

Hosts stand in a column of their own, before a colon (pdsh, clush, `for host in …; do ssh … | sed`), in the headings of Ansible or of
`head`, or nowhere: then a header, or a device number that is not higher than the last, begins the next machine.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from runlocal.core.fleet import Card, Fleet, Node
from runlocal.core.noun import NamedTuple
from runlocal.core.units import MIB
from runlocal.sources.fleet.reader import Reader
from runlocal.sources.fleet.texts import MOST_CARDS, cut_profile, name_of, whole

_HEADING = re.compile(r"==> (?P<head>[^|<>]{1,200}) <==|(?P<ansible>\S{1,200}) \| (?:CHANGED|SUCCESS|FAILED|UNREACHABLE)\b.*", re.ASCII)
_PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,252}):\s+(.*)", re.ASCII)
_FIGURE = re.compile(r"(\d{1,9})(?: ?MiB)?", re.ASCII)
_NONE = ("no devices were found", "nvidia-smi has failed", "failed to initialize nvml", "unable to determine the device handle")
_SHELLS = ("bash", "sh", "zsh", "ksh", "env")
_HOST_COLUMNS = ("host", "hostname", "node", "nodename")
_MOST_NODES = 200_000
_HINT = "nvidia-smi --query-gpu=index,name,memory.total --format=csv; kubectl get nodes -o json; scontrol show nodes --json; runlocal gpus --json"
_OTHER_TOOLS = (
    ("apiversion:", "this is YAML", "kubectl get nodes -o json"),
    ("nodename=", "this is scontrol's text", "scontrol show nodes --json"),
    ("name ", "this is a table for people", "kubectl get nodes -o json"),
    ("+--", "this is nvidia-smi's table for people", "nvidia-smi --query-gpu=index,name,memory.total --format=csv"),
)


class _Columns(NamedTuple):
    """Which field stands where; None: not there."""

    number: int | None = None
    name: int | None = None
    total: int | None = None
    used: int | None = None
    free: int | None = None
    reserved: int | None = None
    host: int | None = None
    mig: int | None = None
    width: int = 0


class _Hosts:
    """Machines as their lines come."""

    def __init__(self) -> None:
        self.cards: dict[str, dict[int, Card]] = {}
        self.problems: dict[str, str] = {}
        self.replaced = 0
        self.unnamed = 0
        self._current = ""
        self._last: int | None = None

    def begin(self) -> None:
        """A header: without host names the next machine begins."""
        self._current, self._last = "", None

    def host(self, name: str, index: int | None) -> str:
        """The machine that a line is about."""
        if name:
            self._current, self._last = "", None
            return name
        if not self._current or (index is not None and self._last is not None and index <= self._last):
            self.unnamed += 1
            self._current = f"machine {self.unnamed}"
        self._last = index
        return self._current

    def add(self, host: str, index: int | None, card: Card) -> None:
        held = self.cards.setdefault(host, {})
        number = len(held) if index is None else index
        self.replaced += number in held
        held[number] = card
        if len(held) > MOST_CARDS:
            raise ValueError(f"{name_of(host)} has more than {MOST_CARDS} GPUs")
        if len(self.cards) > _MOST_NODES:
            raise ValueError(f"more than {_MOST_NODES:,} hosts are not read")

    def lacks(self, host: str, problem: str) -> None:
        """A host that gave no figures."""
        self.cards.setdefault(host, {})
        self.problems[host] = problem

    def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(name_of(host), tuple(cards.values()), problem="" if cards else self.problems.get(host, "")) for host, cards in self.cards.items())


def read(reader: Reader) -> Fleet:
    """The machines of every line. Raises Problem (bad_file) that names the line."""
    hosts = _Hosts()
    columns: _Columns | None = None
    heading, assumed = "", False
    for line in reader.lines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if found := _HEADING.fullmatch(text):
            heading = found["head"] or found["ansible"]
            if "UNREACHABLE" in text:
                hosts.lacks(heading, "it could not be reached")
            continue
        prefix, fields = _split(text)
        try:
            if "mem" in text and (header := _header(fields)):
                columns = header
                if not (prefix or heading):
                    hosts.begin()
                continue
            layout = columns if columns is not None and len(fields) == columns.width else _guessed(fields)
            if layout is None and (problem := _trouble(text)):
                hosts.lacks(hosts.host(prefix or heading, None), problem)
                continue
            if layout is None:
                raise ValueError(_other_tool(text))
            assumed = assumed or (layout is not columns and layout.used is not None)
            index = whole(fields[layout.number]) if layout.number is not None else None
            named = prefix or (fields[layout.host] if layout.host is not None else "") or heading
            hosts.add(hosts.host(named, index), index, _card(fields, layout))
        except ValueError as error:
            hint = next((what for mark, _, what in _OTHER_TOOLS if text.lower().startswith(mark)), _HINT)
            raise reader.wrong(str(error), hint) from None
    return Fleet(hosts.nodes(), _notes(hosts, assumed))


def _notes(hosts: _Hosts, assumed: bool) -> tuple[str, ...]:
    notes = []
    if assumed:
        notes.append("Lines without a header were read as index, name, memory.total, memory.used.")
    if hosts.unnamed:
        notes.append("Lines without a host: a header, or a device number that is not higher than the last, begins the next machine.")
    if hosts.replaced:
        notes.append(f"{hosts.replaced:,} readings were replaced by later ones of the same host and device.")
    return tuple(notes)


def _split(text: str) -> tuple[str, list[str]]:
    """(host before a colon, fields)."""
    found = _PREFIX.fullmatch(text)
    prefix = found[1] if found and found[1].lower() not in _SHELLS and found[1].lower() != "error" else ""
    rest = found[2] if found and prefix else text
    return prefix, [field.strip().strip('"') for field in rest.split(",")]


def _header(fields: Sequence[str]) -> _Columns | None:
    """Where the fields of a header stand; None where this is no header."""
    names = [field.partition(" [")[0].lower().replace("gpu_name", "name") for field in fields]
    if "name" not in names or not any(name.startswith("memory.") or name in ("index", "uuid", "gpu_uuid", "pci.bus_id") for name in names):
        return None
    if "memory.total" not in names:
        raise ValueError("the columns lack memory.total")

    def place(*wanted: str) -> int | None:
        return next((number for number, name in enumerate(names) if name in wanted), None)

    sizes = (place("memory.total"), place("memory.used"), place("memory.free"), place("memory.reserved"))
    return _Columns(place("index"), place("name"), *sizes, place(*_HOST_COLUMNS), place("mig.mode.current"), len(names))


def _guessed(fields: Sequence[str]) -> _Columns | None:
    """The columns of a line without a header: [host,] index, name, memory.total [, memory.used]; None where it cannot be that."""
    figures = [_FIGURE.fullmatch(field) is not None or field.startswith("[") for field in fields]
    after = next((number for number in range(len(fields), 0, -1) if not figures[number - 1]), 0)
    name, sizes = after - 1, len(fields) - after
    if name < 0 or not 1 <= sizes <= 2 or name > 2:
        return None
    if name == 2 and not (figures[1] and not figures[0]):
        return None
    index = name - 1 if name and figures[name - 1] else None
    host = 0 if name == 2 or (name == 1 and index is None) else None
    return _Columns(index, name, after, after + 1 if sizes == 2 else None, None, None, host, width=len(fields))


def _card(fields: Sequence[str], columns: _Columns) -> Card:
    def size(place: int | None) -> int | None:
        if place is None:
            return None
        found = _FIGURE.fullmatch(fields[place])
        if found is None:
            if fields[place].startswith("["):  # [N/A], [Not Supported], [Insufficient Permissions], [GPU is lost]
                return None
            raise ValueError(f"{name_of(fields[place])!r} is no number of MiB")
        return int(found[1]) * MIB

    total, used, free, reserved = size(columns.total), size(columns.used), size(columns.free), size(columns.reserved)
    product, profile = _product(fields[columns.name]) if columns.name is not None else ("", None)
    if columns.mig is not None and fields[columns.mig] == "Enabled":
        return Card(f"{product} in MIG mode")  # into which slices it is cut does not stand here
    in_use = used
    if used is None and free is not None and total is not None:
        in_use = max(0, total - (reserved or 0) - free)
    return Card(product, total or None, profile=profile, reserved_bytes=reserved, in_use_bytes=in_use)


@lru_cache(maxsize=1024)
def _product(name: str) -> tuple[str, str | None]:
    product, profile = cut_profile(name_of(name))
    return product.strip(), profile


def _trouble(text: str) -> str:
    """Why a host has no line of figures."""
    lowered = text.lower()
    if "command not found" in lowered or ("nvidia-smi" in lowered and "no such file" in lowered):
        return "nvidia-smi was not found"
    if any(mark in lowered for mark in _NONE):
        return "no devices were found" if _NONE[0] in lowered else "nvidia-smi could not talk to the driver"
    return ""


def _other_tool(text: str) -> str:
    lowered = text.lower()
    return next((what for mark, what, _ in _OTHER_TOOLS if lowered.startswith(mark)), "this is no line of index, name, memory.total")
