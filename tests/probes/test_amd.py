"""AMD cards and processors with graphics, as the files of amdgpu tell them."""

from pathlib import Path

import pytest

from runlocal.core.machine import Backend
from runlocal.core.units import GIB, KIB, MIB
from runlocal.probes import amd, host
from runlocal.probes.detected import DetectedGpu, Found, Process, Surroundings

from .trees import card, holder, kfd, linux

# rocm-smi of an RX 7900 XTX: https://github.com/signerless/llm-checker/issues/75
XTX_BYTES = 25753026560
XTX = {"mem_info_vram_total": f"{XTX_BYTES}\n", "mem_info_vram_used": f"{2 * GIB}\n", "mem_info_gtt_total": f"{60 * GIB}\n", "mem_info_gtt_used": "0\n"}
MEMTOTAL, MEMAVAILABLE = 127600748 * KIB, 119000000 * KIB


def ask(around: Surroundings, *, processes: bool = False) -> Found:
    """The AMD cards of that machine."""
    return amd.read(around, host.read(around), processes)


def apu(root: Path, vram: int, gtt: int, used: tuple[int, int] = (0, 0), *, node: bool = True) -> DetectedGpu:
    """A Strix Halo with these pools."""
    files = {"mem_info_vram_total": str(vram), "mem_info_vram_used": str(used[0]), "mem_info_gtt_total": str(gtt), "mem_info_gtt_used": str(used[1])}
    card(root, 0, "amdgpu", "1002", "1586", {**files, "gpu_metrics": bytes([0, 1, 3, 0]) + b"x" * 200}, "c1")
    if node:
        kfd(root, 1, 110501, 128)
    (found,) = ask(linux(root)).gpus
    return found


def test_a_card(tmp_path: Path) -> None:
    """2 GiB are in use, of which 1/40 of the card (613.9 MiB) is taken for the driver's own: usable is what is free, to the byte."""
    card(tmp_path, 0, "amdgpu", "1002", "744c", {**XTX, "unique_id": "d2dc3b6a5c4b1234\n"}, "c8")
    kfd(tmp_path, 1, 110000, 128)
    (found,) = ask(linux(tmp_path, {"usr/share/libdrm/amdgpu.ids": "1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n"})).gpus
    assert found.gpu is not None
    assert (found.name, found.found_by, found.uuid, found.notes) == ("AMD Radeon RX 7900 XTX", "sysfs (amdgpu)", "GPU-d2dc3b6a5c4b1234", ())
    assert (found.gpu.memory_bytes, found.gpu.usable_bytes, found.gpu.backend) == (XTX_BYTES, XTX_BYTES - 2 * GIB, Backend.ROCM)
    assert found.gpu.reserved_bytes == XTX_BYTES // 40
    assert not found.gpu.unified and not found.integrated
    assert found.visible_index == 0


def test_two_equal_cards_are_two(tmp_path: Path) -> None:
    for number in (0, 10):
        card(tmp_path, number, "amdgpu", "1002", "744c", XTX, "c8")
    found = ask(linux(tmp_path)).gpus
    assert [one.driver_index for one in found] == [0, 1]
    assert found[0].pci == ("amd", "744C", "C8"), "without a table of names the ids stand"


def test_without_the_compute_driver_it_is_vulkan_s(tmp_path: Path) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", XTX, "c8")
    (found,) = ask(linux(tmp_path)).gpus
    assert found.gpu is not None and found.gpu.backend is Backend.VULKAN
    assert any("Vulkan and not to ROCm" in note for note in found.notes)


def test_rocm_takes_the_larger_pool_of_a_processor_s_graphics(tmp_path: Path) -> None:
    """512 MiB carved out, 108000 MiB lent: https://github.com/GpuZelenograd/memtest_vulkan/issues/66"""
    found = apu(tmp_path, 512 * MIB, 108000 * MIB, (100 * MIB, 1000 * MIB))
    assert found.gpu is not None
    assert (found.gpu.memory_bytes, found.gpu.usable_bytes) == (108000 * MIB, 107000 * MIB)
    assert (found.gpu.unified, found.integrated, found.gpu.backend) == (True, True, Backend.ROCM)
    assert any("0.5 GiB carved out by the firmware, 105.5 GiB lent by Linux" in note for note in found.notes)


def test_what_linux_lends_is_never_more_than_there_is(tmp_path: Path) -> None:
    """115 GiB lent (https://github.com/apellegr/Strix-Halo-Models), of which the host has 119000000 kB available."""
    found = apu(tmp_path, 512 * MIB, 123480309760, (0, 18653184))
    assert found.gpu is not None
    assert found.gpu.usable_bytes == min(MEMAVAILABLE, 123480309760 - 18653184)
    more = apu(tmp_path / "more", 512 * MIB, 200 * GIB)
    assert more.gpu is not None
    assert (more.gpu.memory_bytes, more.gpu.usable_bytes) == (MEMTOTAL, MEMAVAILABLE)


def test_a_large_carve_out_counts_alone_for_rocm_and_with_the_rest_for_vulkan(tmp_path: Path) -> None:
    """96 GiB carved out of 128, 15.5 GiB lent of what is left."""
    rocm = apu(tmp_path / "rocm", 96 * GIB, 16 * GIB, (GIB, GIB))
    vulkan = apu(tmp_path / "vulkan", 96 * GIB, 16 * GIB, (GIB, GIB), node=False)
    assert rocm.gpu is not None and vulkan.gpu is not None
    assert (rocm.gpu.memory_bytes, rocm.gpu.usable_bytes) == (96 * GIB, 95 * GIB)
    assert (vulkan.gpu.memory_bytes, vulkan.gpu.usable_bytes, vulkan.integrated) == (112 * GIB, 110 * GIB, True)


@pytest.mark.parametrize(
    ("bank", "total"),
    [
        (None, 13963 * MIB),
        (13963 * MIB, 13963 * MIB),
        (8 * GIB, 8 * GIB),
        (4 * GIB, 4 * GIB),
        (0, 13963 * MIB),
    ],
    ids=["not told", "what is lent", "less than is lent", "an older kernel", "nothing"],
)
def test_the_compute_driver_says_which_pool_it_has(tmp_path: Path, bank: int | None, total: int) -> None:
    """4096 MiB carved out and 13963 lent; older kernels offer ROCm the carve-out alone."""
    card(tmp_path, 0, "amdgpu", "1002", "15bf", {"mem_info_vram_total": str(4 * GIB), "mem_info_gtt_total": str(13963 * MIB)}, "c1")
    kfd(tmp_path, 1, 110003, 128)
    properties = {} if bank is None else {"sys/class/kfd/kfd/topology/nodes/1/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {bank}\nflags 0\n"}
    (found,) = ask(linux(tmp_path, properties)).gpus
    assert found.gpu is not None and found.gpu.memory_bytes == found.gpu.usable_bytes == total


def test_lending_half_as_installed_is_said(tmp_path: Path) -> None:
    assert any("ttm.pages_limit" in note for note in apu(tmp_path / "half", 512 * MIB, MEMTOTAL // 2).notes)
    assert not any("ttm.pages_limit" in note for note in apu(tmp_path / "raised", 512 * MIB, MEMTOTAL * 3 // 4).notes)


def test_a_card_s_lent_memory_does_not_count(tmp_path: Path) -> None:
    """An RX 570 with 4 GiB, and as much lent: https://github.com/Ricks-Lab/gpu-utils/issues/118"""
    files = {"mem_info_vram_total": "4294967296\n", "mem_info_vram_used": "0\n", "mem_info_gtt_total": "4294967296\n", "mem_info_gtt_used": "0\n"}
    card(tmp_path, 1, "amdgpu", "1002", "67df", {**files, "gpu_metrics": bytes([0, 0, 1, 3])}, "ef")
    (found,) = ask(linux(tmp_path)).gpus
    assert found.gpu is not None and (found.gpu.memory_bytes, found.gpu.unified) == (4 * GIB, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mem_info_vram_total": ""}, "does not say how much memory"),
        ({"mem_info_vram_total": "many\n"}, "does not say how much memory"),
        ({"mem_info_vram_total": str(1 << 60)}, "cannot be"),
        ({"mem_info_vram_used": str(1 << 49)}, "cannot be"),
    ],
)
def test_one_bad_card_does_not_hide_the_other(tmp_path: Path, change: dict[str, str], words: str) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", {**XTX, **change}, "c8")
    card(tmp_path, 1, "amdgpu", "1002", "744c", XTX, "c8")
    bad, good = ask(linux(tmp_path)).gpus
    assert bad.gpu is None and words in (bad.problem or "")
    assert (good.visible_index, bad.visible_index) == (0, None)


def test_use_that_is_not_told_is_said(tmp_path: Path) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", {"mem_info_vram_total": str(XTX_BYTES)}, "c8")
    (found,) = ask(linux(tmp_path)).gpus
    assert found.gpu is not None and found.gpu.in_use_bytes == 0
    assert any("none is assumed" in note for note in found.notes)


def test_who_holds_the_memory(tmp_path: Path) -> None:
    """One client counts once, whoever shares its file; compute processes stand with KFD too. No arguments."""
    card(tmp_path, 0, "amdgpu", "1002", "744c", XTX, "c8")
    kfd(tmp_path, 1, 110000, 128, gpu_id=4711)
    client = "drm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t{}\ndrm-memory-vram:\t{} KiB\ndrm-memory-gtt:\t9 KiB\n"
    holder(tmp_path, 20, "/usr/bin/gnome-shell", {5: client.format(1, 300000), 6: client.format(1, 300000), 7: client.format(2, 24)})
    holder(tmp_path, 21, "/opt/llama server/llama-server", {5: client.format(1, 300000), 8: client.format(3, 1024)})
    holder(tmp_path, 22, "other", {5: "drm-pdev:\t0000:99:00.0\ndrm-client-id:\t9\ndrm-memory-vram:\t5 KiB\n", 6: "\x00garbage"})
    around = linux(tmp_path, {"sys/class/kfd/kfd/proc/21/vram_4711": f"{GIB}\n"})
    (found,) = ask(around, processes=True).gpus
    assert found.processes == (Process(21, "llama-server", GIB), Process(20, "gnome-shell", 300024 * KIB))
    assert ask(around).gpus[0].processes is None


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        ({}, [0, 1, 2]),
        ({"HIP_VISIBLE_DEVICES": "2,0"}, [1, None, 0]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [None, 0, None]),
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}, [None, None, 0]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-0000000000000002"}, [None, None, 0]),
        ({"HIP_VISIBLE_DEVICES": "0,9,1"}, [0, None, None]),
        ({"HIP_VISIBLE_DEVICES": ""}, [None, None, None]),
    ],
)
def test_what_the_environment_hides(tmp_path: Path, environ: dict[str, str], seen: list[int | None]) -> None:
    for number in range(3):
        card(tmp_path, number, "amdgpu", "1002", "744c", {**XTX, "unique_id": f"{number:016x}\n"}, "c8")
        kfd(tmp_path, number + 1, 110000, 128 + number)
    found = ask(linux(tmp_path, environ=environ))
    assert [gpu.visible_index for gpu in found.gpus] == seen
    assert bool(found.notes) == (seen == [None, None, None])


def test_a_container_without_the_device_says_so(tmp_path: Path) -> None:
    card(tmp_path, 0, "amdgpu", "1002", "744c", XTX, "c8")
    (tmp_path / "dev/dri/renderD128").unlink()
    (found,) = ask(linux(tmp_path)).gpus
    assert any("--device /dev/kfd --device /dev/dri" in note for note in found.notes)


def test_a_card_without_a_driver_and_wsl(tmp_path: Path) -> None:
    files = {"sys/bus/pci/devices/0000:03:00.0/vendor": "0x1002\n", "sys/bus/pci/devices/0000:03:00.0/class": "0x120000\n"}
    assert "no driver has taken" in ask(linux(tmp_path / "a", files)).notes[0]
    assert "In WSL" in (ask(linux(tmp_path / "b", {"dev/dxg": ""})).absent or "")
    assert ask(linux(tmp_path / "c")) == Found()


def test_hostile_files(tmp_path: Path) -> None:
    """A name with control characters, endless files, numbers without end."""
    card(tmp_path, 0, "amdgpu", "1002", "744c", {**XTX, "product_name": "\x1b[31mRadeon\n\n" + "x" * 10000, "unique_id": "../../etc"}, "c8")
    (tmp_path / "sys/class/kfd/kfd/topology/nodes/9").mkdir(parents=True)
    (tmp_path / "sys/class/kfd/kfd/topology/nodes/9/properties").write_text("gfx_target_version " + "9" * 5000 + "\n")
    (found,) = ask(linux(tmp_path)).gpus
    assert found.name.isprintable() and len(found.name) < 110
    assert found.uuid is None and found.gpu is not None
