"""Who holds the memory, from the driver's lists to the verdict: the model that already runs, what closing would help, and whom to ignore."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runlocal.commands import gpus, machines
from runlocal.commands.check import Found, run
from runlocal.commands.options import Options
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.machine import Holder
from runlocal.core.units import GIB, MIB
from runlocal.core.verdict import Answer
from runlocal.probes import detect
from runlocal.render.json import check_json
from runlocal.render.style import Style
from runlocal.render.table import checks_text

from .fakedriver import Driver
from .nvidia_scenarios import HEADER, RTX_3090, RTX_4090, UUID_3090
from .trees import card, holder, kfd, linux

MEMINFO = "MemTotal: 33554432 kB\nMemAvailable: 4194304 kB\n"
SERVER = ("/usr/bin/llama-server", "-m", "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "--api-key", "secret")
OTHER = ("/opt/llama-server", "-hf", "ggml-org/gpt-oss-20b-GGUF")
# An RTX 4090 of which a server, another one and the desktop hold 6,200 + 9,000 + 400 MiB.
BUSY = HEADER + RTX_4090.replace("used 0", "used 15600") + "process 4001 c 6200\nprocess 4002 c 9000\nprocess 4003 g 400\n"


def here(monkeypatch: pytest.MonkeyPatch, driver: Driver, tmp_path: Path, scenario: str, commands: Mapping[int, tuple[str, ...]]) -> list[bool]:
    """Makes the driver's machine this computer; whether each later detection asked for processes."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    for pid, words in commands.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes("\0".join((*words, "")).encode())
    asked: list[bool] = []

    def detected(*, processes: bool = False) -> Any:
        asked.append(processes)
        return driver(scenario, processes=processes, proc=tmp_path)

    monkeypatch.setattr(detect, "detect", detected)
    return asked


def check(model: str, **options: Any) -> Found:
    return run([model], Options(**{"quant": "Q4_K_M", "ctx": "8k", **options}))


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch, driver: Driver, tmp_path: Path) -> list[bool]:
    return here(monkeypatch, driver, tmp_path, BUSY, {4001: SERVER, 4002: OTHER, 4003: ("/usr/lib/xorg/Xorg", "-m", "x.gguf")})


def test_the_holders_of_this_computer(busy: list[bool]) -> None:
    (asked,) = machines.machines(Options())
    assert asked.machine.holders == (
        Holder(4002, "llama-server", (9000 * MIB,), "gpt-oss-20b", ("gpt-oss-20b-GGUF",)),
        Holder(4001, "llama-server", (6200 * MIB,), "llama-3.1-8b", ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",)),
        Holder(4003, "Xorg", (400 * MIB,)),
    )
    assert asked.machine.gpus[0].in_use_bytes == 15600 * MIB
    assert busy == [True]


def test_one_that_is_ignored_counts_as_free(busy: list[bool]) -> None:
    (asked,) = machines.machines(Options(ignore_pid=(4001, 4003, 4001)))
    # 15,600 - 6,200 - 400 MiB
    assert asked.machine.gpus[0].in_use_bytes == 9000 * MIB
    assert [holder.pid for holder in asked.machine.holders] == [4002]
    assert asked.hint == ""


def test_with_idle_nobody_is_asked(busy: list[bool]) -> None:
    (asked,) = machines.machines(Options(idle=True, ignore_pid=(99,)))
    assert (asked.machine.gpus[0].in_use_bytes, asked.machine.holders, asked.hint) == (0, (), "")
    assert busy == [False]


def test_a_number_that_holds_nothing_is_said_and_no_error(busy: list[bool]) -> None:
    (asked,) = machines.machines(Options(ignore_pid=(99,)))
    assert asked.machine.gpus[0].in_use_bytes == 15600 * MIB
    assert "--ignore-pid 99: no process of that number" in asked.hint
    with pytest.raises(Problem) as found:
        machines.machines(Options(ignore_pid=(0,)))
    assert found.value.code is Code.BAD_VALUE


def test_what_the_driver_does_not_count_cannot_be_ignored(monkeypatch: pytest.MonkeyPatch, driver: Driver, tmp_path: Path) -> None:
    here(monkeypatch, driver, tmp_path, HEADER + RTX_4090.replace("used 0", "used 700") + "process 4001 c -1\n", {})
    (asked,) = machines.machines(Options(ignore_pid=(4001,)))
    assert asked.machine.gpus[0].in_use_bytes == 700 * MIB
    assert "does not say how much" in asked.hint
    assert not any("close" in advice.change for advice in check("qwen3-32b").checks[0].advice)


def test_a_model_that_already_runs(busy: list[bool]) -> None:
    """8,480 MiB are free. Its own server holds 6,200: without it Q8_0, for which there is no room beside it, fits too."""
    (one,) = run(["llama-3.1-8b"], Options(ctx="8k", quant="Q4_K_M,Q8_0")).checks
    (found,) = one.machines
    (note,) = found.machine.notes
    assert note == "llama-server (pid 4001) already runs llama-3.1-8b here and holds 6.1 GiB; without it Q8_0 at 8k context fits (--ignore-pid 4001)."
    assert note in found.headline.warnings
    assert (found.headline.quant, found.headline.answer) == ("Q4_K_M", Answer.FITS)
    then = run(["llama-3.1-8b"], Options(ctx="8k", quant="Q4_K_M,Q8_0", ignore_pid=(4001,))).checks[0].machines[0]
    assert (then.headline.quant, then.headline.answer, then.machine.notes) == ("Q8_0", Answer.FITS, ())
    assert "already runs" in checks_text([one], Style())
    assert "secret" not in checks_text([one], Style()) + check_json(one)


def test_another_model_s_process_is_no_own(busy: list[bool]) -> None:
    assert not any("already runs" in warning for warning in check("qwen3-8b").checks[0].machines[0].headline.warnings)


def test_one_that_is_said_to_run_and_does_counts_once_where_its_process_is_ignored(busy: list[bool]) -> None:
    def found(*ignored: int) -> tuple[tuple[str, ...], int]:
        (machine,) = check("qwen3-0.6b", beside=("llama-3.1-8b",), ignore_pid=ignored).checks[0].machines
        return machine.headline.warnings, machine.headline.headroom_bytes[0]

    (warning,), twice = found()
    assert warning.startswith("llama-server (pid 4001) runs llama-3.1-8b here") and "--ignore-pid 4001 counts it once" in warning
    nothing, once = found(4001)
    assert (nothing, once - twice) == ((), 6200 * MIB)


def test_processes_stand_in_the_json(busy: list[bool]) -> None:
    (machine,) = json.loads(check_json(check("qwen3-8b").checks[0]))["machines"]
    assert machine["processes"][1] == {"pid": 4001, "name": "llama-server", "model": "llama-3.1-8b", "bytes": [6200 * MIB]}
    assert [one["model"] for one in machine["processes"]] == ["gpt-oss-20b", "llama-3.1-8b", None]


def test_what_closing_helps_is_verified(busy: list[bool]) -> None:
    """gemma-3-27b in Q4_K_M lacks room beside 15,600 MiB; 24,080 MiB hold it once the largest process is gone, and no fewer do."""
    found = check("gemma-3-27b", vision=False)
    assert found.exit is Exit.NO
    closing = found.checks[0].advice[0]
    assert closing.change == "close llama-server (pid 4002, 8.8 GiB), llama-server (pid 4001, 6.1 GiB)"
    assert closing.command.count("--ignore-pid") == 2
    assert closing.answer in (Answer.FITS, Answer.TIGHT)
    then = check("gemma-3-27b", vision=False, ignore_pid=(4002, 4001))
    assert (then.exit, then.checks[0].answer) == (Exit.YES, closing.answer)
    assert check("gemma-3-27b", vision=False, ignore_pid=(4002,)).exit is Exit.NO


def test_advice_keeps_what_is_ignored_already(busy: list[bool]) -> None:
    closing = check("gemma-3-27b", vision=False, ignore_pid=(4001,)).checks[0].advice[0]
    assert closing.change == "close llama-server (pid 4002, 8.8 GiB)"
    assert "--ignore-pid 4001 --ignore-pid 4002" in closing.command


def test_of_several_cards_only_those_that_hold_the_full_one_close(monkeypatch: pytest.MonkeyPatch, driver: Driver, tmp_path: Path) -> None:
    """The larger process holds a card that programs here do not see; it is not among the holders."""
    scenario = (
        HEADER + RTX_4090.replace("used 0", "used 20000") + "process 5001 c 20000\n" + RTX_3090.replace("used 1508", "used 18000") + "process 5002 c 18000\n"
    )
    here(monkeypatch, driver, tmp_path, scenario, {5001: OTHER, 5002: SERVER})
    monkeypatch.setattr(detect, "detect", lambda *, processes=False: driver(scenario, {"CUDA_VISIBLE_DEVICES": UUID_3090}, processes=processes, proc=tmp_path))
    found = check("qwen3-8b", ctx="32k")
    assert [holder.pid for holder in found.checks[0].machines[0].machine.holders] == [5002]
    assert found.checks[0].advice[0].change == "close llama-server (pid 5002, 17.6 GiB)"


def test_the_largest_that_does_not_matter_stays(monkeypatch: pytest.MonkeyPatch, driver: Driver, tmp_path: Path) -> None:
    """Two cards. 5001 holds 6,000 MiB of the first, 5002 5,900 of the second: layers move to where there is room, so one that closes may do."""
    scenario = HEADER + RTX_4090.replace("used 0", "used 6000") + "process 5001 c 6000\n" + RTX_3090.replace("used 1508", "used 5900") + "process 5002 c 5900\n"
    here(monkeypatch, driver, tmp_path, scenario, {5001: OTHER, 5002: OTHER})
    found = check("llama-3.3-70b", ctx="4k")
    closing = next(advice for advice in found.checks[0].advice if advice.change.startswith("close"))
    pids = [int(word) for word in closing.command.split() if word.isdigit()]
    for left_open in pids:
        assert check("llama-3.3-70b", ctx="4k", ignore_pid=tuple(pid for pid in pids if pid != left_open)).exit is Exit.NO
    assert check("llama-3.3-70b", ctx="4k", ignore_pid=tuple(pids)).exit is Exit.YES


def test_a_file_that_already_runs(busy: list[bool], tmp_path: Path) -> None:
    """A file of no bundled model is recognised by its name."""
    from runlocal.catalog.models import find_model
    from runlocal.commands.options import read
    from runlocal.solve.asked import Asked
    from runlocal.solve.opening import open_for
    from runlocal.solve.running import running

    asked: Asked = read(Options(quant="Q4_K_M", ctx="8k"))
    (place,) = machines.machines(Options())
    runtime = open_for(find_model("qwen3-8b"), None, None)
    assert running(runtime, asked, place.machine, "other.gguf") is None
    found = running(runtime, asked, place.machine, "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf")
    assert found is not None and found.startswith("llama-server (pid 4001) already runs qwen3-8b here and holds 6.1 GiB; without it Q4_K_M at 8k context fits")


def test_gpus_names_the_model_of_a_process(busy: list[bool]) -> None:
    notes = gpus.run("", everything=False).listing.notes
    assert "NVIDIA GeForce RTX 4090: process 4001 (llama-server, llama-3.1-8b) holds 6.1 GiB." in notes
    assert "NVIDIA GeForce RTX 4090: process 4003 (Xorg) holds 0.4 GiB." in notes


def test_on_a_radeon_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = f"drm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t3\ndrm-memory-vram:\t{20 * GIB // 1024} KiB\n"
    card(tmp_path, 0, "amdgpu", "1002", "744c", {"mem_info_vram_total": str(24 * GIB), "mem_info_vram_used": str(21 * GIB)}, "c8")
    kfd(tmp_path, 1, 110000, 128)
    holder(tmp_path, 21, "/opt/llama-server", {8: client})
    (tmp_path / "proc/21/cmdline").write_bytes(b"/opt/llama-server\0-hf\0unsloth/Qwen3-8B-GGUF\0")
    monkeypatch.setattr(detect, "Surroundings", lambda **_: linux(tmp_path))
    (one,) = check("qwen3-8b").checks
    assert one.answer is not Answer.FITS
    assert any(warning.startswith("llama-server (pid 21) already runs qwen3-8b here and holds 20.0 GiB;") for warning in one.machines[0].headline.warnings)
    assert one.advice[0].change == "close llama-server (pid 21, 20.0 GiB)"
