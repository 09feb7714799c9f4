"""What each of NVML's error codes means and what to do about it.

Codes: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html (nvmlReturn_t). Causes and cures are from the threads
named beside them.
"""

IMPOSSIBLE = -1

_MEANINGS = {
    IMPOSSIBLE: "the driver reports memory figures that cannot be; update the driver",
    1: "NVML was asked before it was started, which is a fault in runlocal; please report it",
    2: "the driver did not understand the question; update the driver and nvidia-ml-py",
    3: "the driver does not answer this on this device",
    4: "permission denied; in a container ask for the device (or its MIG slice), elsewhere check the rights of /dev/nvidia*",
    5: "NVML says that it was started twice; run it again",
    6: "the driver does not find it",
    7: "the driver's answer did not fit the space for it; update nvidia-ml-py",
    8: "its power cables are missing or loose; connect them and reboot",
    9: "the driver is installed but not running; check `lsmod | grep nvidia`, Secure Boot and whether nouveau is in use, then reboot",
    10: "no answer in time; look for Xid lines in `dmesg` and reboot",
    11: "the driver has a problem with its interrupts; look for Xid lines in `dmesg` and reboot",
    12: "the driver's library libnvidia-ml.so.1 is not found",
    13: "the driver is too old to answer; update the driver",
    14: "its infoROM is corrupted; back up your work, and have the card checked",
    # Xid 79: https://docs.nvidia.com/deploy/xid-errors/
    15: "it is lost (fallen off the bus); check its power and riser, then reboot",
    16: "it needs a reset; `nvidia-smi --gpu-reset`, or reboot",
    17: "the operating system blocked the question; check the container's device rules",
    # https://github.com/NVIDIA/nvidia-container-toolkit/issues/394
    18: "the driver's files and the running driver differ in version; reboot",
    19: "it is in exclusive use by another program; try again when that has ended",
    20: "the driver ran out of memory; close some programs and try again",
    21: "the driver has no figure yet; try again",
    22: "its ECC setting is not supported together with vGPU; turn ECC off on the host",
    23: "the driver lacks resources to answer; close some programs and try again",
    24: "the driver does not support this clock setting; update the driver",
    25: "the driver and nvidia-ml-py do not agree on the form of the answer; update both",
    26: "the driver no longer answers this; update nvidia-ml-py",
    27: "it is not ready yet; try again in a minute",
    28: "the driver no longer finds it; look for Xid lines in `dmesg` and reboot",
    29: "it is in a state in which the driver does not answer; `nvidia-smi --gpu-reset`, or reboot",
    30: "it does not support this kind of reset; reboot",
    # https://github.com/NVIDIA/nvidia-container-toolkit/issues/251
    999: "the driver reports an unknown error; restart the container, or after suspend reload the module nvidia_uvm",
}

_AT_START = {
    4: "permission denied; add your user to the groups video and render, or check the rights of /dev/nvidia*",
}


def sentence(subject: str, code: int, doing: str = "") -> str:
    """`GPU 1: it is lost (fallen off the bus); check its power and riser, then reboot.` `doing`: the question that failed."""
    return f"{subject}: {doing + ': ' if doing else ''}{_MEANINGS.get(code, f'NVML error {code}, which this version does not know; update nvidia-ml-py')}."


def at_start(code: int, library_version: str | None = None, running_version: str | None = None) -> str:
    """Why NVML did not start. Versions: of the driver's files and of the running driver, said where both are known."""
    if library_version and running_version:
        return f"NVIDIA driver: its files are version {library_version} and the running driver is {running_version}; reboot."
    return f"NVIDIA driver: {_AT_START[code]}." if code in _AT_START else sentence("NVIDIA driver", code)
