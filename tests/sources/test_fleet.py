"""Inventories, read: every form by its content, every fault with its line, in bounded memory."""

import io
import json
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from runlocal.core.errors import Code, Problem
from runlocal.core.fleet import Card, Fleet, Node
from runlocal.core.machine import Backend
from runlocal.sources import fleet
from runlocal.sources.fleet import reader

from .inventories import (
    A30_LABELS,
    GRES,
    H100_LABELS,
    MI300X_LABELS,
    MIXED_MIG,
    WITH_HEADER,
    kube_node,
    kubectl,
    own,
    own_row,
    scontrol,
    slurm_node,
)

MIB = 1 << 20


def read(text: str | bytes) -> Fleet:
    return fleet.read(io.BytesIO(text.encode() if isinstance(text, str) else text), "inventory")


def refused(text: str | bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        read(text)
    assert caught.value.code is Code.BAD_FILE
    assert caught.value.message.isprintable()
    return caught.value


def counted(node: Node) -> dict[tuple[str, int | None, str | None], int]:
    """How many of which card: name, MiB, MIG profile."""
    return dict(Counter((card.name, card.memory_bytes and card.memory_bytes // MIB, card.profile) for card in node.cards))


class TestKubernetes:
    def test_nvidia(self) -> None:
        (node,) = read(kubectl(kube_node("gpu-01", H100_LABELS, {"nvidia.com/gpu": "8"}))).nodes
        assert node == Node("gpu-01", (Card("NVIDIA H100 80GB HBM3", 81559 * MIB),) * 8)

    def test_slices_of_the_mixed_strategy(self) -> None:
        labels = {"nvidia.com/gpu.product": "NVIDIA-H100-NVL", "nvidia.com/gpu.memory": "95830", "nvidia.com/mig-1g.12gb.memory": "11008"}
        (node,) = read(kubectl(kube_node("mig", labels, MIXED_MIG))).nodes
        name = "NVIDIA H100 NVL"
        assert counted(node) == {(name, 11008, "1g.12gb"): 2, (name, None, "2g.24gb"): 1, (name, None, "3g.47gb"): 1}

    def test_slices_of_the_single_strategy(self) -> None:
        labels = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "nvidia.com/gpu.memory": "4864", "nvidia.com/gpu.count": "8"}
        (node,) = read(kubectl(kube_node("mig", labels, {"nvidia.com/gpu": "56"}))).nodes
        assert counted(node) == {("NVIDIA A100 SXM4 40GB", 4864, "1g.5gb"): 56}

    def test_a_card_shared_by_turns_is_one_card(self) -> None:
        labels = H100_LABELS | {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED", "nvidia.com/gpu.replicas": "10"}
        (node,) = read(kubectl(kube_node("shared", labels, {"nvidia.com/gpu": "80"}))).nodes
        assert counted(node) == {("NVIDIA H100 80GB HBM3", 81559, None): 8}

    def test_shares_that_the_plugin_counts_as_cards(self) -> None:
        (node,) = read(kubectl(kube_node("hami", H100_LABELS, {"nvidia.com/gpu": "80"}))).nodes
        assert len(node.cards) == 8

    def test_amd(self) -> None:
        (node,) = read(kubectl(kube_node("mi300x", MI300X_LABELS, {"amd.com/gpu": "8"}))).nodes
        assert node.cards == (Card("AMD Instinct MI300X OAM", 192 << 30, nominal=True, backend=Backend.ROCM),) * 8

    def test_amd_labels_that_count(self) -> None:
        labels = {"beta.amd.com/gpu.product-name.AMD_Instinct_MI210": "2", "beta.amd.com/gpu.vram.64G": "2"}
        (node,) = read(kubectl(kube_node("mi210", labels, {"amd.com/gpu": "2"}))).nodes
        assert [card.name for card in node.cards] == ["AMD Instinct MI210"] * 2
        assert node.cards[0].memory_bytes == 64 << 30

    def test_nodes_without_gpu_and_down(self) -> None:
        not_ready = kube_node("c", H100_LABELS, {"nvidia.com/gpu": "8"})
        not_ready["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
        nodes = read(
            kubectl(kube_node("a"), kube_node("b", spec={"unschedulable": True}), not_ready, kube_node("d", A30_LABELS, {"nvidia.com/gpu": "0"}))
        ).nodes
        assert [(bool(node.cards), node.down, bool(node.problem)) for node in nodes] == [
            (False, False, False), (False, True, False), (True, True, False), (False, False, True)
        ]  # fmt: skip

    def test_one_node_alone_and_nodes_one_per_line(self) -> None:
        node = kube_node("gpu-01", H100_LABELS, {"nvidia.com/gpu": "8"})
        assert read(json.dumps(node)).nodes == read(kubectl(node)).nodes
        assert len(read("\n".join([json.dumps(node)] * 3)).nodes) == 3
        assert len(read(json.dumps([node, node])).nodes) == 2

    @pytest.mark.parametrize(
        ("labels", "resources", "said"),
        [
            ({"nvidia.com/gpu.memory": "lots"}, {"nvidia.com/gpu": "1"}, "label nvidia.com/gpu.memory is 'lots'"),
            ({}, {"nvidia.com/gpu": "-1"}, "allocatable nvidia.com/gpu is '-1'"),
            ({}, {"nvidia.com/gpu": "1000000"}, "more than the 256"),
            ({}, {"nvidia.com/gpu": "200", "amd.com/gpu": "200"}, "more than 256 GPUs"),
            ({"amd.com/gpu.vram": "much"}, {"amd.com/gpu": "1"}, "amd.com/gpu.vram is 'much'"),
            ({}, {"nvidia.com/mig-all": "1"}, "names no MIG profile"),
        ],
    )
    def test_what_is_wrong_is_named(self, labels: dict[str, str], resources: dict[str, str], said: str) -> None:
        problem = refused(kubectl(kube_node("good"), kube_node("bad", labels, resources)))
        assert said in problem.message
        assert "node bad" in problem.message


class TestSlurm:
    def test_gres(self) -> None:
        nodes = read(scontrol(*(slurm_node(name, gres) for name, gres in GRES.items()))).nodes
        assert {node.name: counted(node) for node in nodes} == {
            "sh03-12n09": {("", None, None): 4},
            "gpu-01": {("tesla", None, None): 4},
            "cpu-01": {},
            "dgx": {("a100", None, None): 8},
            "mig": {("h100", None, "1g.10gb"): 7},
        }

    def test_several_kinds_and_a_type_without_number(self) -> None:
        nodes = read(scontrol(slurm_node("a", "gpu:2080ti:2,gpu:nvidia_a100_80gb_pcie:2(S:1)"), slurm_node("b", "gpu:rtx3090"))).nodes
        assert [counted(node) for node in nodes] == [
            {("2080ti", None, None): 2, ("nvidia a100 80gb pcie", None, None): 2},
            {("rtx3090", None, None): 1},
        ]

    @pytest.mark.parametrize(
        ("state", "down"), [("idle", False), ("drained", True), (["IDLE", "DRAIN"], True), (["MIXED"], False), (None, False), (["DOWN"], True)]
    )
    def test_state(self, state: object, down: bool) -> None:
        assert read(scontrol(slurm_node("a", "gpu:a100:1", state))).nodes[0].down is down

    @pytest.mark.parametrize("gres", ["gpu:a100:b:c", "gpu:a100:9999", "gpu:a:200,gpu:b:200", 7, ["gpu"]])
    def test_what_is_wrong_is_named(self, gres: str) -> None:
        assert "node bad" in refused(scontrol(slurm_node("bad", gres))).message


class TestNvidiaSmi:
    def test_a_header(self) -> None:
        (node,) = read(WITH_HEADER).nodes
        assert [(card.memory_bytes, card.in_use_bytes) for card in node.cards] == [(81920 * MIB, 4 * MIB), (81920 * MIB, 70000 * MIB)]
        assert {card.name for card in node.cards} == {"NVIDIA A100-SXM4-80GB"}

    @pytest.mark.parametrize(
        "text",
        [
            "0, NVIDIA A100-SXM4-80GB, 81920 MiB, 4 MiB\n1, NVIDIA A100-SXM4-80GB, 81920 MiB, 70000 MiB\n",
            "0, NVIDIA A100-SXM4-80GB, 81920, 4\r\n1, NVIDIA A100-SXM4-80GB, 81920, 70000\r\n",
            "memory.used [MiB], gpu_name, memory.total [MiB], index\n"
            "4 MiB, NVIDIA A100-SXM4-80GB, 81920 MiB, 0\n70000 MiB, NVIDIA A100-SXM4-80GB, 81920 MiB, 1",
            "index, name, memory.total [MiB], memory.free [MiB]\n"
            "0, NVIDIA A100-SXM4-80GB, 81920 MiB, 81916 MiB\n1, NVIDIA A100-SXM4-80GB, 81920 MiB, 11920 MiB",
        ],
        ids=["noheader", "nounits", "other order", "free"],
    )
    def test_the_same_in_other_words(self, text: str) -> None:
        assert read(text).nodes == read(WITH_HEADER).nodes

    def test_utf16_of_powershell(self) -> None:
        assert read(WITH_HEADER.encode("utf-16")).nodes == read(WITH_HEADER).nodes
        assert read(b"\xef\xbb\xbf" + WITH_HEADER.encode()).nodes == read(WITH_HEADER).nodes

    @pytest.mark.parametrize(
        "text",
        [
            "".join(f"{host}: {line}\n" for host in ("n1", "n2") for line in WITH_HEADER.splitlines()),
            "".join(f"{host}: {line}\n" for line in WITH_HEADER.splitlines() for host in ("n1", "n2")),
            "".join(f"{host}, {line}\n" for host in ("n1", "n2") for line in WITH_HEADER.splitlines()[1:]),
            "host, " + WITH_HEADER.partition("\n")[0] + "\n" + "".join(f"{host}, {line}\n" for host in ("n1", "n2") for line in WITH_HEADER.splitlines()[1:]),
            "".join(f"{host} | CHANGED | rc=0 >>\n{WITH_HEADER}" for host in ("n1", "n2")),
            "\n".join(f"==> {host} <==\n{WITH_HEADER}" for host in ("n1", "n2")),
        ],
        ids=["prefix", "interleaved", "column", "named column", "ansible", "head"],
    )
    def test_hosts(self, text: str) -> None:
        assert read(text).nodes == tuple(read(WITH_HEADER).nodes[0]._replace(name=host) for host in ("n1", "n2"))

    def test_machines_without_a_name(self) -> None:
        assert [(node.name, len(node.cards)) for node in read(WITH_HEADER * 3).nodes] == [("machine 1", 2), ("machine 2", 2), ("machine 3", 2)]
        body = WITH_HEADER.partition("\n")[2]
        assert [len(node.cards) for node in read(body * 3).nodes] == [2, 2, 2]

    def test_hosts_that_gave_no_figures(self) -> None:
        text = "n1: No devices were found\nn2: bash: line 1: nvidia-smi: command not found\nn3 | UNREACHABLE! => {\n"
        nodes = read(text.rpartition("n3")[0] + "n3 | UNREACHABLE! =>\n").nodes
        assert [(node.name, node.cards, bool(node.problem)) for node in nodes] == [("n1", (), True), ("n2", (), True), ("n3", (), True)]

    def test_a_card_that_does_not_say(self) -> None:
        (node,) = read("index, name, memory.total [MiB], memory.used [MiB]\n0, NVIDIA GB10, [N/A], [N/A]\n").nodes
        assert node.cards == (Card("NVIDIA GB10"),)

    def test_a_card_cut_into_slices_is_no_card(self) -> None:
        (node,) = read("index, name, memory.total [MiB], mig.mode.current\n0, NVIDIA A30, 24576 MiB, Enabled\n1, NVIDIA A30, 24576 MiB, Disabled\n").nodes
        assert node.cards == (Card("NVIDIA A30 in MIG mode"), Card("NVIDIA A30", 24576 * MIB))

    def test_a_later_reading_replaces_an_earlier_one(self) -> None:
        found = read("n1: 0, NVIDIA L4, 23034 MiB, 1 MiB\nn1: 0, NVIDIA L4, 23034 MiB, 2 MiB\n")
        assert [card.in_use_bytes for card in found.nodes[0].cards] == [2 * MIB]
        assert any("replaced" in note for note in found.notes)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("1, NVIDIA L4", "no line of index, name, memory.total"),
            ("1, NVIDIA L4, many", "no line of index, name, memory.total"),
            ("1, NVIDIA L4, 23034 MiB, 1 MiB, 2 MiB, 3 MiB", "no line of"),
            ("index, name, memory.used [MiB]", "lack memory.total"),
            ("x" * 100_000, "is not read"),
        ],
    )
    def test_what_is_wrong_is_named(self, line: str, said: str) -> None:
        problem = refused(f"0, NVIDIA L4, 23034 MiB\n{line}\n")
        assert said in problem.message
        assert "line 2:" in problem.message

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("apiVersion: v1\nitems:\n", "-o json"),
            ("NAME   STATUS   ROLES\n", "-o json"),
            ("NodeName=n1 Arch=x86_64\n", "--json"),
            ("+-----+\n", "--format=csv"),
        ],
    )
    def test_another_form_of_a_known_tool(self, text: str, hint: str) -> None:
        assert hint in refused(text).hint


class TestOwn:
    def test_machines(self) -> None:
        nodes = read(own(own_row(0), own_row(1)) + "\n" + own() + own(own_row(0))).nodes
        assert [len(node.cards) for node in nodes] == [2, 0, 1]
        assert nodes[0].cards[0] == Card("NVIDIA H200", 150754820096, reserved_bytes=600 << 20, in_use_bytes=0)

    def test_rows(self) -> None:
        rows = [own_row(0), own_row(1), own_row(0), own_row(0), *([own_row(0, "NVIDIA A100-SXM4-80GB MIG 1g.10gb")] * 2)]
        nodes = read("\n".join(map(json.dumps, rows))).nodes
        assert [len(node.cards) for node in nodes] == [2, 1, 1, 2]
        assert nodes[3].cards[0].profile == "1g.10gb"

    def test_a_hidden_device_and_an_unreadable_one(self) -> None:
        (node,) = read(own(own_row(0, "NVIDIA H200 (hidden from programs)"), own_row(1, total=None))).nodes
        assert [card.memory_bytes for card in node.cards] == [None]

    def test_the_catalogue_is_no_machine(self) -> None:
        assert "catalogue" in refused('{"schema": "runlocal.gpus/1", "gpus": [{"id": "l4", "name": "L4", "memory_bytes": 1}]}').message

    @pytest.mark.parametrize("changed", [{"memory_bytes": "1"}, {"in_use_bytes": -1}, {"reserved_bytes": 1.5}, {"memory_bytes": 1 << 70}, {"index": True}])
    def test_what_is_no_size(self, changed: dict[str, object]) -> None:
        assert "is no number of bytes" in refused("\n".join(json.dumps(own_row(index) | changed) for index in (0, 1))).message


class TestStrangers:
    @pytest.mark.parametrize(
        "text",
        [
            "", " \n", "{", "[", "{]", '{"items"', '{"items":[', '{"items":[}', '{"items":[1]}', '{"items":[{}]}',
            '{"items":[{"metadata":{"name":"x"}} 1]}', '{"nodes":[{"name":"x"}',
            '{"nodes":[null]}', '{"a":1}', "[1]", "[[]]", '{"kind":"Status","status":"Failure"}',
            '{"schema":"runlocal.error/1"}', '{"items":[{"kind":"Pod","metadata":{"name":"p"}}]}',
            "\x00\x01\x02", "\x1b[2J", "nothing of the kind", '{"nodes":[]} x', '{"gpus":[3]}', "1" * 5000,
        ],
    )  # fmt: skip
    def test_a_sentence_for_everything_else(self, text: str) -> None:
        assert refused(text).hint or "line 1" in refused(text).message

    @pytest.mark.parametrize("cut", [1, 2, 300, 1000, 2000])
    def test_cut_off(self, cut: int) -> None:
        text = kubectl(*[kube_node(f"n{number}", H100_LABELS, {"nvidia.com/gpu": "8"}) for number in range(3)])
        assert "cut off" in refused(text[:-cut]).message

    @pytest.mark.parametrize("deep", ["[" * 200_000, '{"items":[' + '{"a":' * 200_000, '{"items":' + "[" * 200_000])
    def test_nested_deeply(self, deep: str) -> None:
        assert "nested deeper" in refused(deep).message

    def test_the_line_of_a_fault(self) -> None:
        text = kubectl(*[kube_node(f"n{number}", H100_LABELS) for number in range(1000)], kube_node("bad", {}, {"nvidia.com/gpu": "x"}))
        line = int(refused(text).message.split("line ")[1].split(":")[0].replace(",", ""))
        beginning = text.splitlines()[line - 1 :]
        assert '"name": "bad"' in "\n".join(beginning[:20])
        broken = text.replace('"name": "n500"', '"name": n500')
        line = int(refused(broken).message.split("line ")[1].split(":")[0].replace(",", ""))
        assert "n500" in broken.splitlines()[line - 1]

    def test_names_cannot_steer_a_terminal(self) -> None:
        name = "evil\x1b[31m\u202e\u0007" + "x" * 500
        for text in (
            kubectl(kube_node(name, {"nvidia.com/gpu.product": name}, {"nvidia.com/gpu": "1"})),
            scontrol(slurm_node(name, "gpu:a\x1b[2J:1")),
            own(own_row(0, name)),
        ):
            (node,) = read(text).nodes
            assert all(word.isprintable() and len(word) <= 80 for word in (node.name, node.cards[0].name))

    @pytest.mark.parametrize(
        "unit",
        [
            '{"items":[' + " " * 100,
            '{"nodes":[],"a":["',
            '[{"gres":"',
            "0, NVIDIA L4, 23034 MiB\n",
            "\n",
            '{"nodes":[],"b":[[],[],[],[],[],[],[],[],[],[],[]],',
            "x" * 1000,
        ],
    )
    def test_a_gigabyte_takes_no_memory(self, unit: str) -> None:
        class Endless(io.RawIOBase):
            def __init__(self) -> None:
                self.first = True

            def read(self, size: int = -1) -> bytes:
                repeated = unit if unit[0] not in "{[" else unit[-1]
                piece = (unit if self.first else "") + repeated * (size // len(repeated))
                self.first = False
                return piece.encode()[:size]

        tracemalloc.start()
        with pytest.raises(Problem) as caught:
            fleet.read(Endless(), "inventory")  # type: ignore[arg-type]
        assert caught.value.code is Code.BAD_FILE
        assert tracemalloc.get_traced_memory()[1] < 100 * MIB
        tracemalloc.stop()

    def test_a_file_too_large_is_not_read(self, tmp_path: object) -> None:
        path = f"{tmp_path}/sparse.json"
        with open(path, "wb") as file:
            file.truncate(reader.MOST_BYTES + 1)
        with pytest.raises(Problem, match="larger than the 256 MiB"):
            fleet.open_inventory(path)


@settings(max_examples=60, deadline=None)
@given(text=some.text(max_size=200) | some.binary(max_size=200))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        read(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    except Problem as problem:
        assert problem.code is Code.BAD_FILE


@settings(max_examples=30, deadline=None)
@given(
    names=some.lists(some.text(max_size=20), max_size=30),
    piece=some.integers(1, 300),
)
def test_where_the_pieces_end_does_not_matter(names: list[str], piece: int) -> None:
    text = kubectl(*[kube_node(name, H100_LABELS, {"nvidia.com/gpu": "8"}) for name in names])

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(piece)

    assert fleet.read(Slow(text.encode()), "inventory") == read(text)
