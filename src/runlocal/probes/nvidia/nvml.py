"""The one door to NVIDIA's management library: nvidia-ml-py, which everybody imports as `pynvml`.

Its failures come out as one exception with NVML's own code: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND = 3, 4, 6, 12, 13
GPU_IS_LOST, RESET_REQUIRED, LIBRARY_MISMATCH, ARGUMENT_VERSION_MISMATCH, UNKNOWN = 15, 16, 18, 25, 999


class Refused(Exception):
    """NVML answered with an error `code`. `library_version`: the version of the driver's files, where that is the matter."""

    def __init__(self, code: int, library_version: str | None = None) -> None:
        super().__init__(f"NVML error {code}")
        self.code, self.library_version = code, library_version


class Unusable(Exception):
    """nvidia-ml-py is missing or hidden; the message is a sentence for people."""


class Nvml:
    """An open session, or one about to be opened."""

    def __init__(self, binding: ModuleType) -> None:
        self.binding = binding

    def call(self, name: str, *arguments: Any) -> Any:
        """What the binding's function `name` returns. Raises Refused, and nothing else."""
        function = getattr(self.binding, name, None)
        if function is None:
            raise Refused(FUNCTION_NOT_FOUND)
        try:
            return function(*arguments)
        except UnicodeDecodeError as error:
            # Names of processes and modified cards need not be UTF-8, and the binding decodes them strictly.
            return error.object.decode("utf-8", "replace")
        except self.binding.NVMLError as error:
            raise Refused(int(error.value)) from None
        except self.binding.NVMLLibraryMismatchError:
            # Raised for FUNCTION_NOT_FOUND by calls without a version in their name, and no NVMLError.
            raise Refused(FUNCTION_NOT_FOUND) from None


@contextmanager
def session(libraries: tuple[str, ...] = ()) -> Iterator[Nvml]:
    """NVML between its start and its shutdown. Raises Unusable or Refused when it does not start.

    libraries: files to try where the loader finds no libnvidia-ml.so.1
    """
    nvml = Nvml(_binding())
    try:
        _start(nvml, libraries)
    except Refused as refused:
        raise Refused(refused.code, _library_version(nvml) if refused.code == LIBRARY_MISMATCH else None) from None
    try:
        yield nvml
    finally:
        with suppress(Refused):  # everything that was asked has been answered
            nvml.call("nvmlShutdown")


def _start(nvml: Nvml, libraries: tuple[str, ...]) -> None:
    try:
        nvml.call("nvmlInit")
    except Refused as refused:
        if refused.code != LIBRARY_NOT_FOUND or not _load(libraries):
            raise
        nvml.call("nvmlInit")


def _load(libraries: tuple[str, ...]) -> bool:
    """Loads the first of `libraries` that there is; the binding then finds it by its name among what is loaded."""
    import ctypes

    for library in libraries:
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False


def _library_version(nvml: Nvml) -> str | None:
    try:
        return str(nvml.call("nvmlSystemGetNVMLVersion"))
    except Refused:
        return None


def _binding() -> ModuleType:
    """nvidia-ml-py's module. Raises Unusable where it is missing, or where another package of the same name hides it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package called pynvml warns at import that nvidia-ml-py replaces it
            import pynvml  # type: ignore[import-untyped]
    except ImportError:
        raise Unusable("NVIDIA GPUs cannot be read: the Python package nvidia-ml-py is missing; pip install nvidia-ml-py.") from None
    except Exception:  # noqa: BLE001 - a namesake for Python 2 can fail in any way
        raise Unusable(_HIDDEN) from None
    binding: ModuleType = pynvml
    # What nvidia-ml-py >= 12 has and the old packages of that name have not.
    if not all(hasattr(binding, name) for name in ("_nvmlGetFunctionPointer", "NVML_BRAND_NVIDIA_RTX", "NVMLLibraryMismatchError", "nvmlMemory_v2")):
        raise Unusable(_HIDDEN)
    return binding


_HIDDEN = "NVIDIA GPUs cannot be read: an old pynvml package hides nvidia-ml-py; pip uninstall pynvml nvidia-ml-py3, then pip install -U nvidia-ml-py."
