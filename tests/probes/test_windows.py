"""AMD and Intel cards under Windows, through a registry of ours."""

import sys
from types import ModuleType
from typing import Any, ClassVar

import pytest

from runlocal.core.machine import Backend
from runlocal.core.units import GIB, MIB
from runlocal.probes import windows
from runlocal.probes.detected import Found, Host, Surroundings

WINDOWS = Surroundings(environ={}, platform="win32", libraries=())
# An R9700 whose 32-bit figure is 4293918720: https://github.com/AlexsJones/llmfit/issues/830
R9700 = {
    "DriverDesc": "AMD Radeon AI PRO R9700",
    "MatchingDeviceId": r"PCI\VEN_1002&DEV_7551",
    "HardwareInformation.qwMemorySize": 32624 * MIB,
    "HardwareInformation.MemorySize": 4293918720,
}
RTX = {"DriverDesc": "NVIDIA GeForce RTX 4090", "MatchingDeviceId": r"pci\ven_10de&dev_2684", "HardwareInformation.qwMemorySize": 24564 * MIB}
UHD = {
    "DriverDesc": "Intel(R) UHD Graphics 770",
    "MatchingDeviceId": r"pci\ven_8086&dev_4680",
    "HardwareInformation.qwMemorySize": (128 * MIB).to_bytes(8, "little"),
}


class Key:
    """An open key of the registry below."""

    adapters: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, parent: Any, name: str) -> None:
        if isinstance(parent, Key):
            if name == "0009":
                raise PermissionError
            self.values = self.adapters[name]
        else:
            assert name.endswith("{4d36e968-e325-11ce-bfc1-08002be10318}")

    def __enter__(self) -> "Key":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def look_up(table: Any, key: Any) -> Any:
    """As the registry does, whose failures are OSErrors."""
    try:
        return table[key]
    except LookupError:
        raise FileNotFoundError from None


def ask(monkeypatch: pytest.MonkeyPatch, adapters: dict[str, dict[str, Any]]) -> Found:
    """What is found where the registry holds these display adapters."""
    winreg = ModuleType("winreg")
    monkeypatch.setattr(Key, "adapters", adapters)
    functions = {
        "HKEY_LOCAL_MACHINE": 0,
        "OpenKey": Key,
        "EnumKey": lambda _, number: look_up([*adapters], number),
        "QueryValueEx": lambda key, value: (look_up(key.values, value), 11),
    }
    for name, function in functions.items():
        setattr(winreg, name, function)
    monkeypatch.setitem(sys.modules, "winreg", winreg)
    return windows.read(WINDOWS, Host(), processes=True)


def test_cards_of_amd_and_intel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 64-bit figure counts; a tenth stays with Windows; NVIDIA's card is NVML's."""
    radeon, uhd = ask(monkeypatch, {"0000": RTX, "0001": R9700, "0002": UHD, "0009": R9700, "Properties": {}}).gpus
    assert radeon.gpu is not None
    assert (radeon.name, radeon.gpu.memory_bytes, radeon.gpu.usable_bytes) == ("AMD Radeon AI PRO R9700", 32624 * MIB, 32624 * MIB - 32624 * MIB // 10)
    assert (radeon.gpu.backend, radeon.gpu.in_use_bytes, radeon.found_by, radeon.visible_index) == (Backend.VULKAN, None, "registry", 0)
    assert "what programs hold is not known" in radeon.notes[0]
    assert uhd.gpu is None and "0.1 GiB of its own" in (uhd.problem or "")


@pytest.mark.parametrize("size", [None, 0, -1, 1 << 60, "32 GB", b"\x00\x01", True])
def test_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch, size: object) -> None:
    (found,) = ask(monkeypatch, {"0000": {**R9700, "HardwareInformation.qwMemorySize": size}}).gpus
    assert found.gpu is None and found.problem


def test_the_least_reserve_is_one_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = ask(monkeypatch, {"0000": {**R9700, "HardwareInformation.qwMemorySize": 4 * GIB}}).gpus
    assert found.gpu is not None and found.gpu.reserved_bytes == GIB


def test_raw_readings_name_every_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch, {"0000": RTX, "0001": R9700})
    said = [f"{one.way} {one.what} {one.value}" for one in windows.readings(WINDOWS)]
    assert "registry adapter 1 HardwareInformation.MemorySize 4293918720" in said
    assert "registry adapter 0 DriverDesc NVIDIA GeForce RTX 4090" in said


def test_elsewhere_there_is_no_registry() -> None:
    assert windows.read(WINDOWS._replace(platform="linux"), Host(), processes=True) == Found()
    assert windows.read(WINDOWS, Host(), processes=True) == Found()
