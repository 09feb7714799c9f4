"""AMD GPUs, through the files of the kernel driver amdgpu.

https://docs.kernel.org/gpu/amdgpu/driver-misc.html: mem_info_vram_*, mem_info_gtt_*. What ROCm sees is in /sys/class/kfd.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from runlocal.core.machine import Backend, Gpu
from runlocal.core.noun import NamedTuple
from runlocal.core.units import GIB, gib
from runlocal.probes.detected import DetectedGpu, Found, Host, Process, Reading, Surroundings
from runlocal.probes.sysfs import LARGEST_BYTES, Card, Holdings, cards, holdings, named, without_driver
from runlocal.probes.text import clean, read_int, read_text

_VENDOR = "1002"
_FILES = ("mem_info_vram_total", "mem_info_vram_used", "mem_info_vis_vram_total", "mem_info_gtt_total", "mem_info_gtt_used", "product_name")
# Processors with graphics, by the kernel's `case IP_VERSION(…)` with AMD_IS_APU in drivers/gpu/drm/amd/amdgpu/amdgpu_discovery.c.
_INTEGRATED = frozenset("gfx902 gfx909 gfx90c gfx1013 gfx1033 gfx1035 gfx1036 gfx1037 gfx1103 gfx1150 gfx1151 gfx1152 gfx1153".split())
# gpu_metrics_v2_… and v3_… are those of processors with graphics: drivers/gpu/drm/amd/include/kgd_pp_interface.h
_INTEGRATED_METRICS = (2, 3)


class Node(NamedTuple):
    """What the compute driver knows of a card.

    number: its place in ROCm's order
    gfx: `gfx1100`
    gpu_id: its name among a process's files
    bank_bytes: the memory that it offers to ROCm; None where not known
    """

    number: int
    gfx: str
    gpu_id: int
    bank_bytes: int | None


def read(surroundings: Surroundings, memory: Host, processes: bool) -> Found:
    """Every AMD GPU here. `processes`: also say who holds their memory. Never raises for what the driver does."""
    if surroundings.platform != "linux":
        return Found()
    listed = cards(surroundings.sys, _VENDOR)
    nodes = _nodes(surroundings.sys)
    held = holdings(surroundings.proc) if processes and listed else Holdings(by_card={})
    gpus = []
    for index, card in enumerate(listed):
        found = _card(card, index, nodes.get(card.render_minor or 0), memory, surroundings)
        if processes and found.gpu is not None:
            found = found._replace(processes=_holders(card, nodes.get(card.render_minor or 0), held, found, surroundings))
        gpus.append(found)
    notes: tuple[str, ...] = ()
    if without_driver(surroundings.sys, _VENDOR):
        notes = ("AMD card found that no driver has taken; load amdgpu (`modprobe amdgpu`), and see `dmesg | grep amdgpu`.",)
    absent = None
    if not listed and os.path.exists(surroundings.dev / "dxg"):
        absent = "In WSL only NVIDIA's driver tells a card's memory; name an AMD or Intel card with --gpu."
    numbered, visible_notes = _number_visible(tuple(gpus), nodes, listed, surroundings.environ)
    return Found(gpus=numbered, notes=(*notes, *visible_notes), absent=absent)


def readings(surroundings: Surroundings) -> Iterator[Reading]:
    """What the driver's files hold."""
    for card in cards(surroundings.sys, _VENDOR):
        way = f"sysfs card{card.number}"
        yield Reading(way, "device", f"{_VENDOR}:{card.pci_device} revision {card.pci_revision}, driver {card.driver}, renderD{card.render_minor}")
        for name in _FILES:
            yield Reading(way, name, (read_text(card.device / name, 128) or "not readable").strip())
        yield Reading(way, "gpu_metrics", _metrics(card).hex(" ") or "not readable")
    for minor, node in _nodes(surroundings.sys).items():
        yield Reading(f"kfd node {node.number}", "gfx, render minor", f"{node.gfx}, {minor}")
        yield Reading(f"kfd node {node.number}", "memory banks", str(node.bank_bytes))


def _card(card: Card, index: int, node: Node | None, memory: Host, surroundings: Surroundings) -> DetectedGpu:
    name = _name(card, surroundings.share)
    found = DetectedGpu(driver_index=index, name=name or f"AMD GPU {card.pci_device}:{card.pci_revision}", gpu=None, found_by="sysfs (amdgpu)")
    subject = f"GPU {index} ({found.name})"
    if name is None:
        found = found._replace(pci=("amd", card.pci_device, card.pci_revision))
    total, used = (read_int(card.device / f"mem_info_vram_{what}") for what in ("total", "used"))
    if total is None:
        return found._replace(
            problem=f"{subject}: its driver ({card.driver or 'unknown'}) does not say how much memory it has; amdgpu of Linux 5.4 or later does."
        )
    lent, lent_used = (read_int(card.device / f"mem_info_gtt_{what}") for what in ("total", "used"))
    if max(total, lent or 0) > LARGEST_BYTES or (used or 0) > total or (lent_used or 0) > (lent or LARGEST_BYTES):
        return found._replace(problem=f"{subject}: the driver reports memory figures that cannot be; update the kernel.")
    gpu = Gpu(index=index, id=None, name=found.name, memory_bytes=total, backend=Backend.ROCM if node else Backend.VULKAN, uuid=_uuid(card))
    notes = [] if node else ["The kernel offers it to Vulkan and not to ROCm: /sys/class/kfd does not list it."]
    notes += _access(card, surroundings.dev)
    if _is_integrated(card, node, total):
        gpu, more = _shared(gpu, (total, used or 0), (lent or 0, lent_used or 0), memory, node.bank_bytes if node else None)
        found = found._replace(integrated=True)
        if gpu.memory_bytes == 0:
            return found._replace(problem=f"{subject}: it shares the host's memory, whose size cannot be read.")
    else:
        gpu, more = _own(gpu, used)
    notes += more
    return found._replace(gpu=gpu, uuid=gpu.uuid, free_bytes=gpu.usable_bytes, notes=tuple(f"{subject}: {note}" for note in notes))


def _own(gpu: Gpu, used: int | None) -> tuple[Gpu, list[str]]:
    """A card with memory of its own. What is used holds the driver's own part, which is assumed: 2.5 % of the total, at most 1 GiB."""
    if used is None:
        return gpu._replace(reserved_bytes=min(gpu.memory_bytes // 40, GIB), in_use_bytes=0), ["The driver does not say how much is in use; none is assumed."]
    reserved = min(used, gpu.memory_bytes // 40, GIB)
    return gpu._replace(reserved_bytes=reserved, in_use_bytes=used - reserved), []


def _shared(gpu: Gpu, carved: tuple[int, int], lent: tuple[int, int], memory: Host, bank_bytes: int | None) -> tuple[Gpu, list[str]]:
    """A processor's graphics: a part carved out of the memory by the firmware (VRAM), and a part that Linux lends (GTT), both as (total, used).

    ROCm allocates from one alone: the larger (`apu_prefer_gtt` in drivers/gpu/drm/amd/amdgpu/amdgpu_ttm.c), under older kernels the
    firmware's. bank_bytes, the compute driver's own figure, tells which; None leaves it at the larger. Vulkan allocates from both.
    What is lent is the host's own memory: no more than the host has, and no more than is available now.
    """
    host = memory.physical_bytes or 0
    lends = carved[0] < (lent[0] if bank_bytes is None else min(lent[0], bank_bytes))
    lent_total = min(lent[0], host)
    lent_free = max(0, min(lent_total - lent[1], lent_total if memory.available_bytes is None else memory.available_bytes))
    carved_free = carved[0] - carved[1]
    if gpu.backend is Backend.VULKAN:
        total, free, which = carved[0] + lent_total, carved_free + lent_free, "Vulkan uses both"
    elif lends:
        total = lent_total if bank_bytes is None else min(lent_total, bank_bytes)
        free, which = min(lent_free, total), "ROCm uses what Linux lends alone"
    else:
        total, free, which = carved[0], carved_free, "ROCm uses what the firmware carved out alone"
    notes = [f"It shares the computer's memory: {gib(carved[0])} carved out by the firmware, {gib(lent[0])} lent by Linux. {which}."]
    if lends and lent_total * 100 <= host * 55:
        notes.append("Linux lends half of the memory as installed; the kernel option ttm.pages_limit (in pages of 4 KiB) raises that.")
    return gpu._replace(memory_bytes=total, in_use_bytes=total - free, unified=True), notes


def _is_integrated(card: Card, node: Node | None, vram_bytes: int) -> bool:
    if node is not None and node.gfx in _INTEGRATED:
        return True
    metrics = _metrics(card)
    return vram_bytes == 0 or (len(metrics) == 4 and metrics[2] in _INTEGRATED_METRICS)


def _metrics(card: Card) -> bytes:
    """The head of gpu_metrics: its size in two bytes, its format, its revision."""
    try:
        with (card.device / "gpu_metrics").open("rb") as file:
            return file.read(4)
    except OSError:
        return b""


def _name(card: Card, share: Path) -> str | None:
    """The driver's product name, else libdrm's for these ids (amdgpu.ids: `744C,	C8,	AMD Radeon RX 7900 XTX`)."""
    product = clean(read_text(card.device / "product_name", 256) or "")
    if product:
        return product if product.startswith("AMD") else f"AMD {product}"
    listed = re.search(rf"^{card.pci_device},\s*{card.pci_revision},\s*(\S.*)$", read_text(share / "libdrm/amdgpu.ids") or "", re.MULTILINE)
    name = clean(listed[1]) if listed and card.pci_device else ""
    return None if not name else name if name.startswith("AMD") else f"AMD {name}"


def _uuid(card: Card) -> str | None:
    """As ROCm names it: https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html"""
    text = clean(read_text(card.device / "unique_id", 64) or "").removeprefix("0x")
    return f"GPU-{text}" if re.fullmatch(r"[0-9a-f]{8,16}", text) else None


def _access(card: Card, dev: Path) -> list[str]:
    """What keeps programs from the card."""
    node = dev / f"dri/renderD{card.render_minor}"
    if not os.path.exists(node):
        return [f"The device {node.name} is not here, so programs cannot use it; to a container hand --device /dev/kfd --device /dev/dri."]
    if not os.access(node, os.R_OK | os.W_OK):
        return [f"You may not use {node.name}; add your user to the groups render and video."]
    return []


def _nodes(root: Path) -> dict[int, Node]:
    """The compute driver's GPUs by the number of their render node."""
    found = {}
    folders = [folder for folder in (root / "class/kfd/kfd/topology/nodes").glob("*") if folder.name.isascii() and folder.name.isdigit()]
    for folder in sorted(folders, key=lambda folder: int(folder.name))[:256]:
        fields = dict(re.findall(r"^(\w{1,40}) (\d{1,20})$", read_text(folder / "properties", 1 << 14) or "", re.MULTILINE))
        version, minor = int(fields.get("gfx_target_version", 0)), int(fields.get("drm_render_minor", 0))
        if version and minor > 0:  # 0: a processor
            gfx = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
            found[minor] = Node(number=int(folder.name), gfx=gfx, gpu_id=read_int(folder / "gpu_id") or 0, bank_bytes=_banks(folder))
    return found


def _banks(node: Path) -> int | None:
    """Bytes of the node's frame buffer banks (heap types 1 and 2 of drivers/gpu/drm/amd/amdkfd/kfd_crat.h, public and private)."""
    sizes = []
    for bank in sorted((node / "mem_banks").glob("[0-9]*"))[:16]:
        fields = dict(re.findall(r"^(\w{1,40}) (\d{1,18})$", read_text(bank / "properties", 4096) or "", re.MULTILINE))
        if fields.get("heap_type") in ("1", "2"):
            sizes.append(int(fields.get("size_in_bytes", 0)))
    return sum(sizes) or None


def _holders(card: Card, node: Node | None, held: Holdings, found: DetectedGpu, surroundings: Surroundings) -> tuple[Process, ...]:
    """Who holds its memory, as graphics and as compute clients; a process that is both stands in both with all that it holds."""
    sizes = held.of(card.address, "vram", "gtt") if found.integrated else held.of(card.address, "vram")
    for folder in (surroundings.sys / "class/kfd/kfd/proc").glob("*") if node else ():
        if folder.name.isascii() and folder.name.isdigit():
            size = read_int(folder / f"vram_{node.gpu_id}" if node else folder) or 0
            sizes[int(folder.name)] = max(sizes.get(int(folder.name), 0), size)
    return named(surroundings.proc, sizes)


def _number_visible(
    gpus: tuple[DetectedGpu, ...], nodes: Mapping[int, Node], listed: tuple[Card, ...], environ: Mapping[str, str]
) -> tuple[tuple[DetectedGpu, ...], tuple[str, ...]]:
    """`gpus` with `visible_index` as ROCm numbers them: in its own order, less what the environment hides.

    https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html: ROCR_VISIBLE_DEVICES first, then of what that leaves
    HIP_VISIBLE_DEVICES, which CUDA_VISIBLE_DEVICES also sets. A list counts up to its first entry that names no GPU.
    """
    number = [node.number if (node := nodes.get(card.render_minor or 0)) else 1 << 20 for card in listed]
    places = sorted((place for place, gpu in enumerate(gpus) if gpu.gpu is not None), key=lambda place: (number[place], place))
    notes = []
    for variable in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES" if "HIP_VISIBLE_DEVICES" in environ else "CUDA_VISIBLE_DEVICES"):
        setting = environ.get(variable)
        if setting is None or not places:
            continue
        chosen: list[int] = []
        for entry in setting.split(","):
            match = _entry(entry.strip(), places, gpus)
            if match is None or match in chosen:
                break
            chosen.append(match)
        if not chosen:
            notes.append(f"{variable} is {setting[:60]!r}: ROCm programs started here see no GPU.")
        places = chosen
    numbers = {place: index for index, place in enumerate(places)}
    return tuple(gpu._replace(visible_index=numbers.get(place)) for place, gpu in enumerate(gpus)), tuple(notes)


def _entry(entry: str, places: list[int], gpus: tuple[DetectedGpu, ...]) -> int | None:
    if re.fullmatch(r"\d{1,4}", entry):
        return places[int(entry)] if int(entry) < len(places) else None
    return next((place for place in places if entry and gpus[place].uuid == entry), None)
