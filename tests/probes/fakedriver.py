"""A machine whose NVIDIA driver is a fake: detection in a child process that loads it through the real nvidia-ml-py."""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

import runlocal
from runlocal.probes.detected import Detection, Surroundings

HERE = Path(__file__).parent
# MemTotal of a DGX Spark: https://github.com/XuehaiPan/nvitop/pull/208
MEMINFO = "MemTotal:       127600748 kB\nMemFree:        7759462 kB\nMemAvailable:   119000000 kB\n"


class Driver:
    """A child process that has one build of the fake driver as its libnvidia-ml.so.1."""

    def __init__(self, library: Path | None, scratch: Path) -> None:
        folder = str(Path(runlocal.__file__).parent.parent)
        environment = {**os.environ, "PYTHONPATH": folder, "LD_LIBRARY_PATH": str(library) if library else ""}
        self._child = subprocess.Popen([sys.executable, HERE / "child.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.scenario, self.calls, self.proc, self.sys = (scratch / name for name in ("scenario", "calls", "proc", "sys"))
        (self.proc).mkdir()
        (self.proc / "meminfo").write_text(MEMINFO)

    def __call__(
        self,
        scenario: str,
        environ: Mapping[str, str] | None = None,
        *,
        processes: bool = True,
        proc: Path | None = None,
        sys_root: Path | None = None,
        platform: str = "linux",
        libraries: tuple[str, ...] = (),
    ) -> Detection:
        """What is detected on the machine that `scenario` describes (fakenvml.c says how)."""
        self.scenario.write_bytes(scenario.encode("utf-8", "surrogateescape"))
        self.calls.write_text("")
        around = Surroundings(environ=dict(environ or {}), platform=platform, proc=proc or self.proc, sys=sys_root or self.sys, libraries=libraries)
        stdin, stdout = cast(IO[bytes], self._child.stdin), cast(IO[bytes], self._child.stdout)
        pickle.dump(({"FAKENVML": str(self.scenario), "FAKENVML_CALLS": str(self.calls)}, around, processes), stdin)
        stdin.flush()
        answer = pickle.load(stdout)
        assert isinstance(answer, Detection), answer
        called = self.calls.read_text().split()
        assert called.count("nvmlShutdown") <= called.count("nvmlInitWithFlags"), called
        self.called = called
        return answer

    def close(self) -> None:
        """Ends the child."""
        cast(IO[bytes], self._child.stdin).close()
        self._child.wait(timeout=10)
        cast(IO[bytes], self._child.stdout).close()
