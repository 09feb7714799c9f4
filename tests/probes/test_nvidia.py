"""NVIDIA GPUs: real nvidia-ml-py over a fake driver."""

from pathlib import Path

import pytest

from runlocal.core.machine import Backend, Gpu
from runlocal.core.units import MIB
from runlocal.probes.detect import machine
from runlocal.probes.detected import Detection, Process

from .fakedriver import Driver
from .nvidia_scenarios import ECC_ON, GB10, GB10_ANSWERING, GH200, HEADER, MIG, MIG_CONTAINER, ORIN, RTX_3090, RTX_4090, THREE, TWO_CARDS, UUID_4090, VGPU, ZERO

SPARK_TOTAL, SPARK_AVAILABLE = 127600748 * 1024, 119000000 * 1024


def gpu_of(detection: Detection, place: int = 0) -> Gpu:
    """The usable device at that place."""
    gpu = detection.gpus[place].gpu
    assert gpu is not None, detection.gpus[place].problem
    return gpu


def test_one_card(driver: Driver) -> None:
    """24564 MiB reported, 484 reserved: a process can have 24080, which is what CUDA then calls the total."""
    detection = driver(HEADER + RTX_4090)
    (found,) = detection.gpus
    gpu = gpu_of(detection)
    assert gpu == Gpu(
        index=0,
        id=None,
        name="NVIDIA GeForce RTX 4090",
        memory_bytes=24564 * MIB,
        reserved_bytes=484 * MIB,
        in_use_bytes=0,
        backend=Backend.CUDA,
        compute_capability=(8, 9),
        uuid=UUID_4090,
    )
    assert gpu.usable_bytes == found.free_bytes == 24080 * MIB
    assert (found.ecc, found.mig_profile, found.processes, found.problem, found.visible_index) == (False, None, (), None, 0)
    assert (detection.driver_version, detection.cuda_version, detection.notes) == ("580.95.05", "13.0", ())
    assert driver.called.count("nvmlInitWithFlags") == driver.called.count("nvmlShutdown") == 1


def test_what_a_desktop_holds_is_not_usable_and_the_reserve_is_not_counted_twice(driver: Driver) -> None:
    """24576 - 452 reserved - 1508 in use = 22616; total - used would hand the reserve back."""
    detection = driver(TWO_CARDS)
    gpu = gpu_of(detection, 1)
    assert (gpu.reserved_bytes, gpu.in_use_bytes, gpu.usable_bytes) == (452 * MIB, 1508 * MIB, 22616 * MIB)
    assert [found.index for found in detection.visible] == [0, 1]
    assert machine(detection).label == "RTX 4090 + RTX 3090"


def test_processes_are_joined_sorted_and_named(driver: Driver, tmp_path: Path) -> None:
    """One stands in both lists and counts once; one has no figure; the name is the program's, never its arguments."""
    (tmp_path / "1000002").mkdir()
    (tmp_path / "1000002/cmdline").write_bytes(b"/opt/bin/llama-server\0--api-key\0secret\0")
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\nMemAvailable: 1 kB\n")
    assert driver(TWO_CARDS, proc=tmp_path).gpus[1].processes == (
        Process(pid=1000002, name="llama-server", bytes=1100 * MIB),
        Process(pid=1000001, name="name-of-1000001", bytes=312 * MIB),
        Process(pid=1000003, name="name-of-1000003", bytes=58 * MIB),
        Process(pid=1000004, name="name-of-1000004", bytes=None),
    )


def test_a_process_figure_beyond_the_card_is_no_figure(driver: Driver) -> None:
    """None at all comes behind a figure of nothing."""
    found = driver(HEADER + RTX_4090 + "process 1 c 99999\nprocess 1000005 c 0\n").gpus[0]
    assert [(process.pid, process.bytes) for process in found.processes or ()] == [(1000005, 0), (1, None)]


def test_processes_are_not_asked_for_unless_wanted(driver: Driver) -> None:
    assert [found.processes for found in driver(TWO_CARDS, processes=False).gpus] == [None, None]
    assert not [call for call in driver.called if "Process" in call]


def test_lists_of_a_driver_that_fills_them_wrongly_are_left_out(driver: Driver) -> None:
    """https://github.com/wookayin/gpustat/issues/161: 535.0 to 535.85."""
    found = driver(TWO_CARDS.replace("580.95.05", "535.54.03")).gpus[1]
    assert found.processes is None
    assert found.why_no_processes is not None and "535.86" in found.why_no_processes
    assert driver(TWO_CARDS.replace("580.95.05", "535.86.05")).gpus[1].processes


def test_ecc(driver: Driver) -> None:
    detection = driver(ECC_ON)
    assert detection.gpus[0].ecc is True
    assert gpu_of(detection).memory_bytes == 23028 * MIB


def test_mig_slices_are_the_devices_and_the_card_is_not(driver: Driver) -> None:
    detection = driver(MIG)
    assert [(found.mig_profile, found.driver_index, found.instances, found.ecc) for found in detection.gpus] == [
        ("1g.5gb", 0, (7, 0), True),
        ("3g.20gb", 0, (1, 10), True),
    ]
    assert [gpu_of(detection, place).usable_bytes for place in (0, 1)] == [(4864 - 13) * MIB, (19968 - 25) * MIB]
    assert gpu_of(detection, 1).compute_capability == (8, 0)
    assert "nvmlDeviceGetMemoryInfo" not in driver.called, "the card's own memory is asked for"
    # One process uses one slice: never both.
    assert [gpu.name for gpu in machine(detection).gpus] == ["NVIDIA A100-SXM4-40GB MIG 1g.5gb"]
    assert any("one MIG slice" in note for note in detection.notes)


def test_mig_in_a_container(driver: Driver) -> None:
    """The slice is found whether or not the container may ask for the card's MIG mode."""
    for scenario in (MIG_CONTAINER, MIG_CONTAINER.replace("mig 1", "mig 1\nfail nvmlDeviceGetMigMode 4")):
        detection = driver(scenario)
        (gpu,) = machine(detection).gpus
        assert (gpu.memory_bytes, gpu.uuid) == (33280 * MIB, "MIG-cccc0000-0000-0000-0000-000000000003")


def test_mig_without_a_slice_offers_nothing(driver: Driver) -> None:
    detection = driver(MIG.split("slice", maxsplit=1)[0])
    assert machine(detection).gpus == ()
    assert "no slice" in (detection.gpus[0].problem or "")
    assert "no slice" in detection.why_no_gpu


def test_a_slice_without_memory_figures_has_its_nominal_size(driver: Driver) -> None:
    detection = driver(MIG_CONTAINER.replace("instances 9 0", "fail nvmlDeviceGetMemoryInfo_v2 3\nfail nvmlDeviceGetMemoryInfo 3"))
    gpu = gpu_of(detection)
    assert (gpu.memory_bytes, gpu.in_use_bytes, detection.gpus[0].free_bytes) == (33280 * MIB, None, None)
    assert any("how much of it is free" in note for note in detection.gpus[0].notes)


@pytest.mark.parametrize("scenario", [GB10, GB10_ANSWERING, ORIN, ZERO], ids=["gb10", "gb10_answering", "orin", "zero"])
def test_unified_memory_is_the_hosts(driver: Driver, scenario: str) -> None:
    """CUDA's total is MemTotal; what can be had is MemAvailable, not MemFree."""
    detection = driver(scenario)
    gpu = gpu_of(detection)
    assert gpu.unified
    assert (gpu.memory_bytes, gpu.reserved_bytes, gpu.usable_bytes) == (SPARK_TOTAL, 0, SPARK_AVAILABLE)
    assert detection.gpus[0].found_by == "NVML, with the host's memory"
    assert any("shares the host's memory" in note for note in detection.gpus[0].notes)


def test_orin_has_no_uuid_and_its_board_has_a_name(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "device-tree").mkdir()
    (tmp_path / "device-tree/model").write_bytes(b"NVIDIA Jetson AGX Orin Developer Kit\0")
    (tmp_path / "meminfo").write_text("MemTotal: 64000000 kB\nMemAvailable: 50000000 kB\n")
    found = driver(ORIN, proc=tmp_path).gpus[0]
    assert (found.uuid, found.board) == (None, "NVIDIA Jetson AGX Orin Developer Kit")
    assert found.gpu is not None
    assert found.gpu.compute_capability == (8, 7)


def test_unified_memory_without_host_figures_is_a_problem(driver: Driver, tmp_path: Path) -> None:
    found = driver(GB10, proc=tmp_path).gpus[0]
    assert found.gpu is None
    assert "host's memory" in (found.problem or "")


def test_grace_has_memory_of_its_own(driver: Driver) -> None:
    """97871 MiB of HBM is less than nine tenths of what the host has, so ATS alone does not make it the host's memory."""
    gpu = gpu_of(driver(GH200))
    assert (gpu.unified, gpu.usable_bytes) == (False, (97871 - 650) * MIB)


def test_a_big_card_in_a_small_machine_is_not_unified(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\n")
    assert gpu_of(driver(HEADER + RTX_4090, proc=tmp_path)).unified is False


def test_virtual_gpu(driver: Driver) -> None:
    """It has memory of its own even where the driver does not tell: never the host's."""
    detection = driver(VGPU)
    assert detection.gpus[0].vgpu
    assert gpu_of(detection).usable_bytes == (24576 - 1500) * MIB
    mute = driver(VGPU.replace("vgpu\n", "fail nvmlDeviceGetVirtualizationMode 3\nfail nvmlDeviceGetMemoryInfo_v2 3\n")).gpus[0]
    assert mute.vgpu
    assert mute.gpu is None
    assert "does not answer" in (mute.problem or "")


def test_a_share_of_a_card_without_memory_is_a_problem(driver: Driver) -> None:
    """A virtual GPU or a slice that reports nothing has nothing; its host's memory is not its own."""
    for scenario in (VGPU.replace("total 24576\nreserved 1500\n", ""), MIG_CONTAINER.replace("total 33280\nused 20\n", "")):
        detection = driver(scenario)
        assert detection.visible == ()
        assert "no memory at all" in detection.why_no_gpu


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetName", "nvmlDeviceGetCudaComputeCapability"])
def test_a_lost_card_does_not_hide_the_others(driver: Driver, function: str) -> None:
    detection = driver(THREE.replace(RTX_3090, RTX_3090 + f"fail {function} 15\n"))
    assert [found.gpu is not None for found in detection.gpus] == [True, False, True]
    assert "GPU 1" in (detection.gpus[1].problem or "")
    assert "lost" in (detection.gpus[1].problem or "")
    assert machine(detection).label == "2 x RTX 4090"
    assert [gpu.index for gpu in machine(detection).gpus] == [0, 1]


def test_memory_v2_that_does_not_work_falls_back(driver: Driver) -> None:
    """The old form lumps the reserve with what is used: 24576 - 1960 = 22616 free, of which 24576 / 40 is assumed to be the reserve."""
    for code in (13, 25, 999):
        detection = driver(HEADER + RTX_3090 + f"fail nvmlDeviceGetMemoryInfo_v2 {code}\n")
        gpu = gpu_of(detection)
        assert gpu.usable_bytes == detection.gpus[0].free_bytes == 22616 * MIB
        assert gpu.reserved_bytes == 24576 * MIB // 40
        assert any("assumed" in note for note in detection.gpus[0].notes)


def test_wsl_without_a_reading_of_the_reserve(driver: Driver, tmp_path: Path) -> None:
    """Windows budgets the memory: 10 % of the total, at least 1 GiB, is assumed to be out of reach; 999 is what WSL answered."""
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/osrelease").write_text("5.15.167.4-microsoft-standard-WSL2\n")
    (tmp_path / "meminfo").write_text("MemTotal: 32000000 kB\nMemAvailable: 30000000 kB\n")
    gpu = gpu_of(driver(HEADER + RTX_4090 + "fail nvmlDeviceGetMemoryInfo_v2 999\n", proc=tmp_path))
    assert gpu.reserved_bytes == 24564 * MIB // 10
    assert gpu.usable_bytes == 24564 * MIB - 24564 * MIB // 10


def test_driver_before_r510(old_driver: Driver) -> None:
    """Its total leaves the reserve out (T4: 15109 of 15360 MiB), so nothing is to be subtracted; processes come in their second form."""
    card = "driver 470.82.01\ncuda 11040\ngpu Tesla T4\nuuid GPU-74\ntotal 15360\nreserved 251\nused 100\ncc 7 5\necc 1\nprocess 1000009 c 99\n"
    detection = old_driver(card)
    gpu = gpu_of(detection)
    assert (gpu.memory_bytes, gpu.reserved_bytes, gpu.in_use_bytes, gpu.usable_bytes) == (15109 * MIB, 0, 100 * MIB, 15009 * MIB)
    assert detection.gpus[0].processes == (Process(pid=1000009, name="name-of-1000009", bytes=99 * MIB),)
    assert detection.cuda_version == "11.4"


@pytest.mark.parametrize("lines", ["free 24565", "reserved 24565", "used 99999999", "total 999999999999"])
def test_figures_that_cannot_be_are_not_believed(driver: Driver, lines: str) -> None:
    (found,) = driver(HEADER + RTX_4090 + lines + "\n").gpus
    assert found.gpu is None
    assert "cannot be" in (found.problem or "")


def test_usable_is_never_more_than_free(driver: Driver) -> None:
    """Where the figures do not add up the driver's free is the bound."""
    assert gpu_of(driver(HEADER + RTX_4090 + "free 20000\n")).usable_bytes == 20000 * MIB


def test_strings_of_the_driver_are_cleaned(driver: Driver) -> None:
    """No control characters, no line breaks, no bytes that are not UTF-8, not endless."""
    name = "NVIDIA\x1b[31m Evil\t\tCard\x07 \udcff" + "x" * 90
    detection = driver(HEADER + RTX_4090.replace("NVIDIA GeForce RTX 4090", name))
    shown = gpu_of(detection).name
    assert shown.startswith("NVIDIA[31m Evil Card \N{REPLACEMENT CHARACTER}xxx")
    assert shown.isprintable()
    assert len(shown) <= 96
