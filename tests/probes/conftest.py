"""The fake NVIDIA driver, compiled once for all tests."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .fakedriver import HERE, Driver


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles the fake driver with the given flags; the folder it then lies in."""

    def compile_with(*flags: str) -> Path:
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None:
            pytest.fail("these tests compile a fake NVIDIA driver and need a C compiler: install gcc or clang (Debian: apt install gcc libc6-dev)")
        folder = tmp_path_factory.mktemp("driver")
        command = [compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", *flags]
        done = subprocess.run([*command, "-o", folder / "libnvidia-ml.so.1", HERE / "fakenvml.c"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return folder

    return compile_with


@pytest.fixture(scope="session")
def library(build: Callable[..., Path]) -> Path:
    """The folder of a driver as of today."""
    return build()


def _driver(library: Path | None, scratch: Path) -> Iterator[Driver]:
    driver = Driver(library, scratch)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def driver(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A driver as of today."""
    yield from _driver(library, tmp_path_factory.mktemp("today"))


@pytest.fixture(scope="session")
def old_driver(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A driver from before R510: no second form of memory, no third form of processes."""
    yield from _driver(build("-DOLD_DRIVER"), tmp_path_factory.mktemp("old"))


@pytest.fixture
def no_driver(tmp_path: Path) -> Iterator[Driver]:
    """A machine without NVIDIA's library."""
    yield from _driver(None, tmp_path)
