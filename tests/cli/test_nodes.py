"""`runlocal check MODEL --nodes`: what a shell sees."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ..sources.inventories import H100_LABELS, WITH_HEADER, kube_node, kubectl, own, own_row, scontrol, slurm_node
from .conftest import ROOT, Runner

H100 = {"nvidia.com/gpu": "8"}
FLEET = kubectl(kube_node("gpu-01", H100_LABELS, H100), kube_node("gpu-02", H100_LABELS, H100, spec={"unschedulable": True}), kube_node("cpu-01"))
SMALL = "n1: 0, NVIDIA GeForce RTX 3060, 12288 MiB\n"
ASKED = ("check", "llama-3.3-70b", "-q", "Q4_K_M", "--nodes", "-")


def test_the_json(run: Runner) -> None:
    ran = run(*ASKED, "--json", text=FLEET)
    found: Any = ran.answer
    assert ran.code == 0
    assert list(found)[:8] == ["schema", "model", "runtime", "runtime_version", "context_tokens", "sequences", "answer", "replicas"]
    assert found["schema"] == "runlocal.fleet/1"
    counts = {key: found[key] for key in ("replicas", "nodes_read", "nodes_yes", "nodes_no", "nodes_unknown", "nodes_without_gpu", "nodes_down", "gpus_read")}
    assert counts == {
        "replicas": 16, "nodes_read": 3, "nodes_yes": 2, "nodes_no": 0, "nodes_unknown": 0, "nodes_without_gpu": 1, "nodes_down": 1, "gpus_read": 16
    }  # fmt: skip
    assert found["types"] == [
        {
            "gpus": "8 × H100 SXM5 80GB", "nodes": 2, "answer": "fits", "quant": "Q4_K_M", "gpus_per_replica": 1, "nodes_yes": 2, "replicas": 16, "reason": ""
        }
    ]  # fmt: skip
    assert [(node["node"], node["replicas"], node["down"]) for node in found["nodes"]] == [("gpu-01", 8, False), ("gpu-02", 8, True), ("cpu-01", 0, False)]


@pytest.mark.parametrize("text", [FLEET, SMALL, kubectl(), scontrol(slurm_node("a", "gpu:tesla:4"))])
def test_the_json_keeps_its_schema(run: Runner, text: str) -> None:
    found = run(*ASKED, "--json", text=text).answer
    schema = json.loads((ROOT / "docs" / "schema" / "fleet-1.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(found)
    assert list(found) == list(schema["properties"])
    assert found["nodes_read"] == sum(found[f"nodes_{kind}"] for kind in ("yes", "no", "unknown", "without_gpu"))


@pytest.mark.parametrize(("text", "code"), [(FLEET, 0), (SMALL, 1), (kubectl(), 1), (kubectl(kube_node("cpu")), 1), ("", 3), (FLEET[:-9], 3), (SMALL + "?", 3)])
def test_exit_codes(run: Runner, text: str, code: int) -> None:
    ran = run(*ASKED, text=text)
    assert ran.code == code
    assert bool(ran.out) is (code < 3)
    quiet = run(*ASKED, "--quiet", text=text)
    assert (quiet.code, quiet.out) == (code, "")
    if code == 3:
        assert run(*ASKED, "--json", text=text).answer["error"]["code"] == "bad_file"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpu", "4090"), "--nodes says itself"),
        (("--vram", "24"), "--nodes says itself"),
        (("--ram", "64"), "alone"),
        (("--offload",), "alone"),
        (("-c", "4k,8k"), "--ctx"),
        (("-k", "f16,q8_0"), "--kv"),
        (("--batch", "-"), "two questions"),
    ],
)
def test_wrong_usage(run: Runner, options: tuple[str, ...], said: str) -> None:
    ran = run(*ASKED, *options, text=SMALL)
    assert ran.code == 2
    assert said in ran.err


def test_several_models(run: Runner) -> None:
    assert run("check", "llama-3.1-8b", "llama-3.3-70b", "--nodes", "-", text=SMALL).code == 2


def test_require_gpu(run: Runner) -> None:
    assert run(*ASKED, "--require-gpu", text=kubectl(kube_node("cpu"))).code == 3


@pytest.mark.parametrize("form", ["table", "csv", "tsv", "ndjson", "markdown", "svg"])
def test_every_format(run: Runner, form: str) -> None:
    ran = run(*ASKED, "-f", form, text=FLEET)
    assert ran.code == 0
    assert "gpu-01" in ran.out
    if form == "ndjson":
        assert [json.loads(line)["node"] for line in ran.out.splitlines()] == ["gpu-01", "gpu-02", "cpu-01"]
    if form == "csv":
        assert ran.out.splitlines()[1] == "gpu-01,8 × H100 SXM5 80GB,fits,Q4_K_M,8,1,1,false,"


def test_a_fleet_without_a_gpu_has_no_table_of_kinds(run: Runner) -> None:
    ran = run(*ASKED, text=kubectl(kube_node("cpu-01")))
    assert ran.code == 1
    assert "By node" in ran.out
    assert "By kind of node" not in ran.out
    assert "By kind of node" in run(*ASKED, text=FLEET).out


def test_one_node_and_one_replica_are_one(run: Runner) -> None:
    ran = run("check", "llama-3.1-8b", "-q", "Q4_K_M", "--nodes", "-", text=SMALL)
    assert ran.out.splitlines()[0] == "Llama 3.1 8B: 1 of 1 node runs it, 1 replica"


def test_a_file_and_what_a_shell_hands_over(run: Runner, shell: Any, tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(FLEET, encoding="utf-8")
    assert run(*ASKED[:-1], str(path), "--json").answer["replicas"] == 16
    assert run(*ASKED[:-1], str(tmp_path)).code == 3
    assert run(*ASKED[:-1], str(tmp_path / "none")).code == 3
    fifo = tmp_path / "fifo"
    ran = shell(f"mkfifo '{fifo}'; cat '{path}' > '{fifo}' & runlocal check llama-3.3-70b -q Q4_K_M --nodes '{fifo}' --quiet; echo $?")
    assert ran.out.strip() == "0"


def test_our_own_answer_is_an_inventory(run: Runner) -> None:
    listed = run("gpus", "--json").out
    ran = run(*ASKED, "--json", text=listed + listed)
    assert ran.answer["nodes_read"] == 2
    assert run(*ASKED, text=own(own_row(0), own_row(1))).code == 0


def test_the_same_fleet_from_every_tool(run: Runner) -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.memory": "81920"}
    a100 = {"total": 81920 << 20, "in_use_bytes": None, "reserved_bytes": None}
    texts = (
        kubectl(kube_node("a", labels, {"nvidia.com/gpu": "2"})),
        scontrol(slurm_node("a", "gpu:nvidia_a100-sxm4-80gb:2(S:0-1)")),
        WITH_HEADER.replace("70000", "4"),
        own(own_row(0, "NVIDIA A100-SXM4-80GB", **a100), own_row(1, "NVIDIA A100-SXM4-80GB", **a100)),
    )
    assert len({json.dumps(run(*ASKED, "--json", text=text).answer["types"]) for text in texts}) == 1


def test_many_nodes_are_shown_in_few_lines(run: Runner) -> None:
    text = scontrol(*(slurm_node(f"n{number}", random.Random(number).choice(("gpu:a100:8", "gpu:t4:4", "(null)"))) for number in range(2000)))
    ran = run(*ASKED, text=text)
    assert len(ran.out.splitlines()) < 100
    assert "1,980 more nodes" in ran.out
    assert len(run(*ASKED, "--json", text=text).answer["nodes"]) == 2000
    assert len(run(*ASKED, "-f", "csv", text=text).out.splitlines()) == 2001


def test_a_spreadsheet_runs_nothing(run: Runner) -> None:
    ran = run(*ASKED, "-f", "csv", text=scontrol(slurm_node("=cmd|' /C calc'!A0", "gpu:a100:1")))
    assert ran.out.splitlines()[1].startswith("'=cmd")
