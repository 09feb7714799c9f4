"""NVIDIA's boards of one chip (Jetson) without NVML: releases before JetPack 7 bring none for them or one that answers little."""

import re

from runlocal.core.machine import Gpu
from runlocal.probes.detected import DetectedGpu, Host, Surroundings
from runlocal.probes.text import clean, read_text

# Compute capability and driver's name by the chip in the device tree: https://developer.nvidia.com/cuda-gpus
_CHIPS = {
    "tegra210": ((5, 3), "Tegra X1 (nvgpu)"),
    "tegra186": ((6, 2), "Tegra X2 (nvgpu)"),
    "tegra194": ((7, 2), "Xavier (nvgpu)"),
    "tegra234": ((8, 7), "Orin (nvgpu)"),
    "tegra264": ((11, 0), "NVIDIA Thor"),
}


def find(surroundings: Surroundings, host: Host) -> DetectedGpu | None:
    """The board's GPU, with the host's memory; None on another machine."""
    compatible = read_text(surroundings.proc / "device-tree/compatible", 1024) or ""
    chip = re.search(r"nvidia,(tegra\d{3})(?=\0|$)", compatible)
    if chip is None or chip[1] not in _CHIPS:
        return None
    capability, name = _CHIPS[chip[1]]
    board = clean((read_text(surroundings.proc / "device-tree/model", 256) or "").replace("\0", " ")) or None
    found = DetectedGpu(driver_index=0, name=name, gpu=None, board=board, found_by="device tree, with the host's memory")
    if not host.total_bytes or host.available_bytes is None:
        return found._replace(problem=f"{name}: it shares the host's memory, which cannot be read.")
    gpu = Gpu(
        index=0,
        id=None,
        name=name,
        memory_bytes=host.total_bytes,
        in_use_bytes=host.total_bytes - host.available_bytes,
        compute_capability=capability,
        unified=True,
    )
    note = f"{board or name}: NVML is not here; the GPU shares the host's memory, whose figures stand here."
    return found._replace(gpu=gpu, free_bytes=host.available_bytes, notes=(note,))
