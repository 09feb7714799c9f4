"""What is asked for and has nothing to act on is said, of every option there is."""

from typing import Any

import pytest

from runlocal.commands import buy, fit
from runlocal.commands.check import Found, open_model, run
from runlocal.commands.options import Options
from runlocal.commands.unused import of_model, on_machines, typed
from runlocal.core.machine import Gpu, Holder, Machine, Origin
from runlocal.core.workload import Workload

GIB = 1 << 30
WORKLOAD = Workload(8192)
DENSE, MIXTURE, SEES, STATE = "llama-3.1-8b", "gpt-oss-20b", "qwen2.5-vl-7b", "mamba-2.8b"  # gpt-oss-20b: 24 layers, all with experts
LEADING = "deepseek-v2-lite"  # the first of its layers has no experts


def said(model: str, **options: Any) -> list[str]:
    """What `check` says on stderr; the same stands in the warnings of every cell that a program reads."""
    asked = Options(**{"gpu": ("rtx-4090",), "quant": "Q4_K_M", "ctx": "8k", **options})
    found = run([model], asked)
    read = run([model], asked, for_people=False)
    assert found.hints == read.hints
    for mine, theirs in zip(_cells(found), _cells(read), strict=True):
        assert theirs.warnings == (*mine.warnings, *found.hints)
    return list(found.hints)


def _cells(found: Found) -> list[Any]:
    return [cell for check in found.checks for machine in check.machines for cell in machine.cells]


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        (DENSE, {"n_cpu_moe": 4}, ["--n-cpu-moe: llama-3.1-8b has no experts, so it changes nothing."]),
        (DENSE, {"cpu_moe": True}, ["--cpu-moe: llama-3.1-8b has no experts, so it changes nothing."]),
        (MIXTURE, {"n_cpu_moe": 24}, []),
        (MIXTURE, {"n_cpu_moe": 25}, ["--n-cpu-moe: gpt-oss-20b has 24 layers, so the experts of all of them are kept in host memory."]),
        (MIXTURE, {"cpu_moe": True}, []),
        (MIXTURE, {"cpu_moe": True, "n_cpu_moe": 2}, ["--n-cpu-moe: the experts of all layers are kept in host memory anyway, so it changes nothing."]),
        (LEADING, {"n_cpu_moe": 2}, []),
        (LEADING, {"n_cpu_moe": 1}, ["--n-cpu-moe: the experts of deepseek-v2-lite-16b begin with layer 1, counted from 0, so it changes nothing."]),
        (DENSE, {"images": 2}, ["--images: llama-3.1-8b takes no images, so it changes nothing."]),
        (DENSE, {"image_size": "64x64"}, ["--image-size: llama-3.1-8b takes no images, so it changes nothing."]),
        (DENSE, {"vision": False}, ["--no-vision: llama-3.1-8b takes no images, so it changes nothing."]),
        (SEES, {"images": 2, "image_size": "640x480"}, []),
        (SEES, {"vision": False}, []),
        (SEES, {"vision": False, "images": 2}, ["--images: images are left out, so it changes nothing."]),
        (SEES, {"images": 0, "image_size": "640x480"}, ["--image-size: no image is processed, so it changes nothing."]),
        (STATE, {"kv": "q8_0"}, ["--kv: mamba-2.8b keeps no keys and values, so it changes nothing."]),
        (DENSE, {"kv": "q8_0"}, []),
        (DENSE, {"tensor_split": "1"}, ["--tensor-split: there is one GPU, so it changes nothing."]),
        (DENSE, {"tensor_split": "1,2", "gpu": ("2x3090",)}, []),
        (DENSE, {"tensor_split": "1,2"}, []),
        (DENSE, {"offload": True}, ["--offload: how much host memory there is was not said (--ram 64GB), so it changes nothing."]),
        (DENSE, {"offload": True, "ram": "64GB"}, []),
        (DENSE, {"offload": True, "gpu_layers": 9}, []),
        (DENSE, {"ram": "64GB", "gpu": ("m4-max-64",)}, ["--ram: the GPU's memory is the host's own, so it changes nothing."]),
        (DENSE, {"idle": True}, ["--idle: this is about the computer that runs this, and a machine is named, so it changes nothing."]),
        (DENSE, {"ignore_pid": (5,)}, ["--ignore-pid: this is about the computer that runs this, and a machine is named, so it changes nothing."]),
        (DENSE, {"require_gpu": True}, ["--require-gpu: this is about the computer that runs this, and a machine is named, so it changes nothing."]),
        (DENSE, {"gpu": ("cpu",), "ram": "64GB", "kv_offload": False}, ["--no-kv-offload: there is no GPU, so it changes nothing."]),
        (DENSE, {"gpu": ("cpu",), "ram": "64GB", "gpu_layers": 9}, ["--gpu-layers: there is no GPU, so it changes nothing."]),
        (DENSE, {"gpu": ("cpu", "rtx-4090"), "ram": "64GB", "gpu_layers": 9}, []),
        (DENSE, {"imatrix": True}, ["--imatrix: Q4_K_M of llama-3.1-8b takes the same with an importance matrix and without, so it changes nothing."]),
        (DENSE, {"imatrix": False, "quant": "Q4_K_M,Q4_0"}, []),
        (DENSE, {"ubatch": 256, "flash_attention": False, "parallel": 2, "reserve": "2GB", "strict": True}, []),
    ],
    ids=str,
)
def test_an_option_that_acts_on_nothing_is_told(model: str, options: dict[str, Any], told: list[str]) -> None:
    notes = [hint for hint in said(model, **options) if "macOS" not in hint]
    assert notes == told


def test_what_is_told_changes_nothing_indeed() -> None:
    """The parts of the cells with the option are those without it."""
    plain = [cell.parts for cell in _cells(run([DENSE], Options(gpu=("rtx-4090",), quant="Q4_K_M")))]
    for options in ({"n_cpu_moe": 4}, {"cpu_moe": True}, {"images": 3}, {"image_size": "640x480"}, {"vision": False}, {"imatrix": True}, {"idle": True}):
        assert [cell.parts for cell in _cells(run([DENSE], Options(gpu=("rtx-4090",), quant="Q4_K_M", **options)))] == plain  # type: ignore[arg-type]
    mixture = Options(gpu=("rtx-4090",), quant="MXFP4_MOE", ctx="8k")
    assert [cell.parts for cell in _cells(run([MIXTURE], mixture._replace(n_cpu_moe=25)))] == [
        cell.parts for cell in _cells(run([MIXTURE], mixture._replace(n_cpu_moe=24)))
    ]


def test_one_model_of_several_is_named() -> None:
    found = run([DENSE, SEES], Options(gpu=("rtx-4090",), quant="Q4_K_M", ctx="8k", images=2), for_people=False)
    assert found.hints == ("--images: llama-3.1-8b takes no images, so it changes nothing.",)
    assert [found.hints[0] in cell.warnings for cell in _cells(found)] == [True, False]


def test_on_this_computer_idle_counts_what_ignoring_would() -> None:
    gpu = Gpu(0, None, "any", 24 * GIB, in_use_bytes=GIB)
    here = Machine(Origin.HERE, "here", (gpu,), 64 * GIB, holders=(Holder(5, "x", (GIB,)),))
    assert on_machines({"idle": "--idle"}, WORKLOAD, [here]) == on_machines({"ignore_pid": "--ignore-pid"}, WORKLOAD, [here]) == ()
    assert on_machines(typed(Options(idle=True, ignore_pid=(5,))), WORKLOAD, [here]) == (
        "--ignore-pid: --idle counts what every process holds as free, so it changes nothing.",
    )


def test_every_option_has_a_name_to_be_told_by() -> None:
    changed = {field: "x" if default is None else not default if isinstance(default, bool) else ("x",) for field, default in Options._field_defaults.items()}
    names = typed(Options(**changed))  # type: ignore[arg-type]
    assert set(names) == set(Options._fields)
    assert all(name.startswith("-") for name in names.values())
    assert typed(Options()) == {}


def test_fit_and_buy_say_it_too() -> None:
    bought = buy.run(DENSE, Options(images=3), buy.Wanted(compare="4090"))
    assert bought.hints == ("--images: llama-3.1-8b takes no images, so it changes nothing.",)
    assert bought.hints[0] in bought.whole.notes
    fitting = fit.run(fit.Wanted(DENSE), Options(gpu=("rtx-4090",), idle=True), print)
    assert fitting.hints == ("--idle: this is about the computer that runs this, and a machine is named, so it changes nothing.",)
    assert fitting.hints[0] in fitting.whole.notes


def test_a_plain_question_is_told_nothing() -> None:
    for model in (DENSE, MIXTURE, SEES, STATE, LEADING):
        assert of_model({}, open_model(model).model, WORKLOAD) == ()
        assert said(model) == []
