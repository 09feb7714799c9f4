"""Raw readings for a report of a fault, fit to be made public: no names of users, computers, files or programs, and of a serial number its beginning."""

import os
import platform
import re
from collections.abc import Iterator
from importlib import import_module

from runlocal.probes import host
from runlocal.probes.detected import Reading, Surroundings
from runlocal.probes.text import clean, read_text

_MOST_READINGS, _MOST_DEVICES, _LONGEST = 4096, 1024, 300
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HSA_OVERRIDE_GFX_VERSION",
    "GGML_VK_VISIBLE_DEVICES",
    "ONEAPI_DEVICE_SELECTOR",
)
# Eight digits tell cards apart in a report and identify none elsewhere.
_SERIAL = re.compile(r"((?:MIG-)?GPU-[0-9a-fA-F]{1,8}|MIG-[0-9a-fA-F]{1,8}|\b[0-9a-fA-F]{8}(?=-[0-9a-fA-F]{4}-))[-/0-9a-fA-F]+")


def readings(surroundings: Surroundings, modules: tuple[str, ...]) -> tuple[Reading, ...]:
    """The computer's own, then those of each vendor's module. Never raises: a module that fails says so."""
    found = [*_computer(surroundings)]
    for module in modules:
        try:
            for reading in import_module(module).readings(surroundings):
                found.append(reading)
                if len(found) >= _MOST_READINGS:
                    break
        except Exception as error:  # noqa: BLE001 - one vendor's fault must not hide what the others read
            found.append(Reading(module.rsplit(".", 1)[-1], "fault", type(error).__name__))
    return tuple(Reading(clean(one.way), clean(one.what), shortened(clean(one.value, _LONGEST))) for one in found[:_MOST_READINGS])


def shortened(text: str) -> str:
    """`text` with every serial number and UUID cut after its first digits: `GPU-12345678…`."""
    return _SERIAL.sub(r"\1…", text)


def _computer(surroundings: Surroundings) -> Iterator[Reading]:
    yield Reading("system", "platform", f"{surroundings.platform} {platform.release()} {platform.machine()}, Python {platform.python_version()}")
    yield Reading("system", "WSL", "yes" if os.path.exists(surroundings.dev / "dxg") else "no")
    marks = [name for name in (".dockerenv", "run/.containerenv") if os.path.exists(surroundings.dev.parent / name)]
    yield Reading("system", "container", ", ".join(marks) or "no mark of one")
    for name in _VARIABLES:
        if name in surroundings.environ:
            yield Reading("environment", name, surroundings.environ[name] or "(empty)")
    memory = host.read(surroundings)
    for name in ("total_bytes", "available_bytes", "physical_bytes", "limit_bytes"):
        value = getattr(memory, name)
        yield Reading("memory", name, str(value) if value is not None else "none found" if name == "limit_bytes" else "not known")
    nodes = sorted(path.name for path in (surroundings.dev / "dri").glob("*[0-9]"))[:64]
    yield Reading("devices", "/dev/dri", " ".join(nodes) or "none")
    for device in sorted((surroundings.sys / "bus/pci/devices").glob("*"))[:_MOST_DEVICES]:
        vendor, product, kind = ((read_text(device / name, 64) or "").strip() for name in ("vendor", "device", "class"))
        if kind.startswith(("0x03", "0x12")):
            yield Reading(f"PCI {device.name}", "display device", f"{vendor} {product}, driver {'loaded' if os.path.exists(device / 'driver') else 'none'}")
    yield Reading("devices", "/dev/kfd", "there" if os.path.exists(surroundings.dev / "kfd") else "not there")
    for module in ("nvidia", "amdgpu", "xe", "i915"):
        if os.path.exists(surroundings.sys / "module" / module):
            yield Reading("kernel module", module, (read_text(surroundings.sys / "module" / module / "version", 64) or "loaded").strip())
