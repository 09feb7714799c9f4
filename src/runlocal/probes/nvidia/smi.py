"""nvidia-smi's table, for where NVML's library cannot be loaded into this process. https://docs.nvidia.com/deploy/nvidia-smi/"""

import re

from runlocal.core.machine import Gpu
from runlocal.core.noun import NamedTuple
from runlocal.core.units import MIB
from runlocal.probes.command import answer
from runlocal.probes.detected import DetectedGpu, Host, Process
from runlocal.probes.nvidia.memory import read_table
from runlocal.probes.nvidia.nvml import Refused
from runlocal.probes.text import clean

# WSL keeps it outside the path of some shells.
_PROGRAMS = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")
# An old nvidia-smi answers nothing at all where it does not know one of the columns.
_COLUMNS = (
    "index,uuid,name,memory.total,memory.reserved,memory.used,memory.free,driver_version,compute_cap,mig.mode.current",
    "index,uuid,name,memory.total,memory.used,memory.free,driver_version",
)
_MOST_CARDS = 256


class Table(NamedTuple):
    """What nvidia-smi printed. driver_version: None where not known."""

    gpus: tuple[DetectedGpu, ...]
    driver_version: str | None


def ask(host: Host, wddm: bool, processes: bool) -> Table | None:
    """The cards as nvidia-smi lists them; None where there is none or it fails. `wddm`: Windows budgets the memory."""
    for program in _PROGRAMS:
        for columns in _COLUMNS:
            text = answer(program, f"--query-gpu={columns}", "--format=csv,noheader,nounits")
            if text:
                names = columns.split(",")
                rows = [dict(zip(names, map(clean, row), strict=True)) for row in _rows(text, len(names))][:_MOST_CARDS]
                held = _holders(program) if processes and rows else {}
                version = next((row["driver_version"] for row in rows if re.fullmatch(r"[\d.]{1,16}", row["driver_version"])), None)
                return Table(gpus=tuple(_card(row, host, wddm, version, held if processes else None) for row in rows), driver_version=version)
    return None


def raw() -> str:
    """Its table as printed."""
    answers = (answer(program, f"--query-gpu={_COLUMNS[0]}", "--format=csv,noheader,nounits") for program in _PROGRAMS)
    return next((text for text in answers if text), "no answer")


def _card(row: dict[str, str], host: Host, wddm: bool, version: str | None, held: dict[str, list[Process]] | None) -> DetectedGpu:
    index = int(row["index"]) if re.fullmatch(r"\d{1,4}", row["index"]) else 0
    uuid = row["uuid"] if row["uuid"].startswith("GPU-") else None
    found = DetectedGpu(driver_index=index, name=row["name"] or "NVIDIA GPU", gpu=None, found_by="nvidia-smi", uuid=uuid, card_uuid=uuid)
    subject = f"GPU {index} ({found.name})"
    if row.get("mig.mode.current") == "Enabled":
        return found._replace(problem=f"{subject}: MIG is on, and nvidia-smi's table does not tell the slices' memory; NVML does.")
    total, used, free = (_mib(row[f"memory.{what}"]) for what in ("total", "used", "free"))
    if total is None or used is None or free is None:
        if row["memory.total"] not in ("[N/A]", "[Not Supported]", "Not Supported", "N/A"):
            return found._replace(problem=f"{subject}: nvidia-smi says {row['memory.total']!r} of its memory.")
        if not host.total_bytes or host.available_bytes is None:
            return found._replace(problem=f"{subject}: it shares the host's memory, which cannot be read.")
        gpu = Gpu(index=index, id=None, name=found.name, memory_bytes=host.total_bytes, in_use_bytes=host.total_bytes - host.available_bytes, unified=True)
        note = f"{subject}: nvidia-smi gives no figures of its own; it shares the host's memory, whose figures stand here."
        found = found._replace(found_by="nvidia-smi, with the host's memory", free_bytes=host.available_bytes, notes=(note,))
    else:
        try:
            memory = read_table(total, _mib(row.get("memory.reserved", "")), used, free, version, wddm)
        except Refused:
            return found._replace(problem=f"{subject}: nvidia-smi's memory figures cannot be; update the driver.")
        gpu = Gpu(
            index=index, id=None, name=found.name, memory_bytes=memory.total_bytes, reserved_bytes=memory.reserved_bytes, in_use_bytes=memory.in_use_bytes
        )
        found = found._replace(free_bytes=memory.free_bytes, notes=(f"{subject}: {memory.note}",) if memory.note else ())
    capability = re.fullmatch(r"(\d{1,2})\.(\d)", row.get("compute_cap", ""))
    gpu = gpu._replace(uuid=uuid, compute_capability=(int(capability[1]), int(capability[2])) if capability else None)
    return found._replace(gpu=gpu, processes=None if held is None else tuple(held.get(uuid or "", ())))


def _holders(program: str) -> dict[str, list[Process]]:
    """Processes by card's UUID, largest first."""
    found: dict[str, list[Process]] = {}
    text = answer(program, "--query-compute-apps=gpu_uuid,pid,used_memory,process_name", "--format=csv,noheader,nounits") or ""
    for row in _rows(text, 4):
        if re.fullmatch(r"\d{1,9}", row[1].strip()):
            name = clean(row[3].replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]) or None
            found.setdefault(row[0].strip(), []).append(Process(pid=int(row[1]), name=name, bytes=_mib(row[2].strip())))
    return {uuid: sorted(held, key=lambda process: (-(process.bytes or 0), process.pid)) for uuid, held in found.items()}


def _rows(text: str, columns: int) -> list[list[str]]:
    """The lines that have so many columns; a path in the last one may hold commas."""
    rows = (line.split(",", columns - 1) for line in text.splitlines())
    return [row for row in rows if len(row) == columns]


def _mib(text: str) -> int | None:
    return int(text) * MIB if re.fullmatch(r"\d{1,9}", text) else None
