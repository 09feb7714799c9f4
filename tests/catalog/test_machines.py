"""Specs of machines and budgets: the table of good and bad, and that any text is a machine or a problem."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runlocal.catalog.machines import MOST_DEVICES, parse_budget, parse_machine
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.machine import Machine, Origin
from runlocal.core.units import GIB, MIB


@pytest.mark.parametrize(
    ("spec", "label", "ids"),
    [
        ("RTX 4090", "RTX 4090", ["rtx-4090"]),
        ("4090", "RTX 4090", ["rtx-4090"]),
        ("2x3090", "2 × RTX 3090", ["rtx-3090"] * 2),
        ("2 x 3090", "2 × RTX 3090", ["rtx-3090"] * 2),
        ("2X RTX 3090", "2 × RTX 3090", ["rtx-3090"] * 2),
        ("2×3090", "2 × RTX 3090", ["rtx-3090"] * 2),
        ("3090 x2", "2 × RTX 3090", ["rtx-3090"] * 2),
        ("3090x2", "2 × RTX 3090", ["rtx-3090"] * 2),
        ("1x3090", "RTX 3090", ["rtx-3090"]),
        ("5090+3090", "RTX 5090 + RTX 3090", ["rtx-5090", "rtx-3090"]),
        ("2x3090+4090", "2 × RTX 3090 + RTX 4090", ["rtx-3090", "rtx-3090", "rtx-4090"]),
        ("3090 + 3090", "RTX 3090 + RTX 3090", ["rtx-3090"] * 2),
        ("1080 ti", "GTX 1080 Ti", ["gtx-1080-ti"]),
        ("1080 x2", "2 × GTX 1080", ["gtx-1080"] * 2),
        ("2x1080 ti", "2 × GTX 1080 Ti", ["gtx-1080-ti"] * 2),
        ("8xh100", "8 × H100 SXM5 80GB", ["h100-80gb-sxm"] * 8),
        ("2x7900 xtx", "2 × RX 7900 XTX", ["rx-7900-xtx"] * 2),
        ("7900xtx x2", "2 × RX 7900 XTX", ["rx-7900-xtx"] * 2),
        ("mi300x x8", "8 × MI300X", ["mi300x"] * 8),
        ("mi250x", "MI250X", ["mi250x"] * 2),
        ("2x mi250x", "2 × MI250X", ["mi250x"] * 4),
        ("a16", "A16", ["a16"] * 4),
        ("m4-max-64", "M4 Max 64 GB", ["m4-max-64"]),
        ("Ryzen AI Max+ 395 128GB", "Strix Halo 128 GB", ["strix-halo-128"]),
        ("2x4090 + AI Max+ PRO 395", "2 × RTX 4090 + Strix Halo 128 GB", ["rtx-4090", "rtx-4090", "strix-halo-128"]),
        ("a100-80:1g.10gb", "A100 SXM4 80GB 1g.10gb", ["a100-80gb-sxm:1g.10gb"]),
        ("a30 : 2G.12GB", "A30 2g.12gb", ["a30:2g.12gb"]),
        ("64x4090", "64 × RTX 4090", ["rtx-4090"] * 64),
    ],
)
def test_specs(spec: str, label: str, ids: list[str]) -> None:
    machine = parse_machine(spec)
    assert machine.origin is Origin.NAMED
    assert machine.label == label
    assert [gpu.id for gpu in machine.gpus] == ids
    assert [gpu.index for gpu in machine.gpus] == list(range(len(ids)))
    assert machine.host_bytes is None


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        ("", Code.BAD_VALUE, "names no machine"),
        ("   ", Code.BAD_VALUE, "names no machine"),
        ("+", Code.BAD_VALUE, "nothing beside it"),
        ("3090+", Code.BAD_VALUE, "nothing beside it"),
        ("0x4090", Code.BAD_VALUE, "0 cards are no machine"),
        ("-1x4090", Code.BAD_VALUE, "-1 cards are no machine"),
        ("4090x0", Code.BAD_VALUE, "0 cards are no machine"),
        ("65x4090", Code.BAD_VALUE, "more than 64 devices"),
        ("40x4090+40x3090", Code.BAD_VALUE, "more than 64 devices"),
        ("40x mi250x", Code.BAD_VALUE, "more than 64 devices"),
        ("x" * 500, Code.BAD_VALUE, "too long"),
        ("4090:1g.10gb", Code.BAD_VALUE, "cannot be cut into MIG slices"),
        ("a100-80:9g.90gb", Code.BAD_VALUE, "has no MIG profile '9g.90gb'"),
        ("a100-80:", Code.BAD_VALUE, "has no MIG profile ''"),
        ("2xa100-80:1g.10gb", Code.BAD_VALUE, "one process can use one MIG slice"),
        ("a100-80:1g.10gb+3090", Code.BAD_VALUE, "one process can use one MIG slice"),
        ("2x m4-max-64", Code.BAD_VALUE, "a Mac has one GPU"),
        ("m4-max-64+4090", Code.BAD_VALUE, "a Mac has one GPU"),
        ("rtx 409", Code.UNKNOWN_GPU, "no GPU named 'rtx 409'"),
        ("2x9999", Code.UNKNOWN_GPU, "no GPU named '9999'"),
        ("2 3090", Code.UNKNOWN_GPU, "no GPU named '2 3090'"),
        ("3090+nothing", Code.UNKNOWN_GPU, "no GPU named 'nothing'"),
        ("m4 max", Code.UNKNOWN_GPU, "sold in several kinds"),
        ("2x m4 max", Code.UNKNOWN_GPU, "sold in several kinds"),
        ("\x1b[31m4090", Code.UNKNOWN_GPU, "no GPU named '\\x1b[31m4090'"),
    ],
)
def test_bad_specs(spec: str, code: Code, words: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_machine(spec)
    assert caught.value.code is code
    assert words in caught.value.message
    assert caught.value.hint
    assert caught.value.exit is (Exit.USAGE if code is Code.BAD_VALUE else Exit.CANNOT_ANSWER)


def test_two_3090_as_the_interface_has_them() -> None:
    machine = parse_machine("2x3090")
    assert [gpu.name for gpu in machine.gpus] == ["NVIDIA GeForce RTX 3090"] * 2
    assert sum(gpu.usable_bytes for gpu in machine.gpus) == 2 * 24124 * MIB
    assert machine.notes == ()


def test_a_slice() -> None:
    (gpu,) = parse_machine("a100-80gb-sxm:1g.10gb").gpus
    assert gpu.name == "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
    assert gpu.memory_bytes == gpu.usable_bytes == 9856 * MIB
    assert gpu.context_bytes == 300 * MIB
    assert gpu.bandwidth_bytes is None
    assert gpu.compute_capability == (8, 0)


def test_a_slice_that_nobody_read_is_assumed_and_says_so() -> None:
    machine = parse_machine("h100-80gb-sxm:2g.20gb")
    assert machine.gpus[0].memory_bytes == int(20 * GIB * 0.89)
    assert machine.notes == ("The memory of a 2g.20gb slice of H100 SXM5 80GB is assumed from its name (17.8 GiB).",)


def test_the_profiles_a_card_has_are_offered() -> None:
    with pytest.raises(Problem) as caught:
        parse_machine("a30:1g.5gb")
    assert caught.value.hint == "it has 1g.6gb, 2g.12gb, 4g.24gb"
    assert caught.value.candidates == ("a30:1g.6gb", "a30:2g.12gb", "a30:4g.24gb")


def test_notes_say_what_is_assumed_and_how_a_name_was_read() -> None:
    assert parse_machine("4060 ti").notes == (
        "'4060 ti' was read as RTX 4060 Ti 8GB; it can also mean rtx-4060-ti-16gb.",
        "RTX 4060 Ti 8GB: the driver's reserve of 0.2 GiB is assumed, not measured.",
    )
    assert parse_machine("rtx-3080-12gb").notes[0] == "RTX 3080 12GB: the memory is the size on the box; what its driver reports was not found."
    assert "51.8 GiB by default since macOS 26" in parse_machine("m4-max-64").notes[0]
    assert "assumed" in parse_machine("m2-max-96").notes[0]
    assert "2 machines" in parse_machine("2x dgx-spark").notes[0]
    assert parse_machine("strix-halo-128").notes == (
        "Strix Halo 128 GB: the memory is the system's own; 96.0 GiB of it is the most that the GPU is taken to get.",
    )


def test_a_note_is_said_once() -> None:
    notes = parse_machine("l40s+l40s+l40s").notes
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("text", "label", "sizes"),
    [
        ("24", "24 GiB", [24 * GIB]),
        ("24GB", "24 GiB", [24 * GIB]),
        ("24GiB", "24 GiB", [24 * GIB]),
        (" 24 gb ", "24 GiB", [24 * GIB]),
        ("81559MiB", "79.6 GiB", [81559 * MIB]),
        ("2x24GB", "2 × 24 GiB", [24 * GIB] * 2),
        ("2 x 24", "2 × 24 GiB", [24 * GIB] * 2),
        ("24GB+12GB", "24 GiB + 12 GiB", [24 * GIB, 12 * GIB]),
        ("2x24GB + 16", "2 × 24 GiB + 16 GiB", [24 * GIB, 24 * GIB, 16 * GIB]),
        ("0.5", "0.5 GiB", [GIB // 2]),
        ("512M", "0.5 GiB", [512 * MIB]),
    ],
)
def test_budgets(text: str, label: str, sizes: list[int]) -> None:
    machine = parse_budget(text)
    assert machine.origin is Origin.BUDGET
    assert machine.label == label
    assert [gpu.usable_bytes for gpu in machine.gpus] == sizes
    assert all(gpu.reserved_bytes == 0 and gpu.id is None for gpu in machine.gpus)
    assert [gpu.index for gpu in machine.gpus] == list(range(len(sizes)))


@pytest.mark.parametrize(
    "text", ["", " ", "0", "0GB", "-24", "-1x24", "0x24", "24XB", "rtx 4090", "24GB+", "+", "65x1GB", "nan", "1e3", "inf", "24,5", "9" * 500, "2x", "x24"]
)
def test_bad_budgets(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_budget(text)
    assert caught.value.code is Code.BAD_VALUE
    assert caught.value.hint


_PIECES = ["4090", "2x3090", "m4 max", "a100:1g.5gb", "x", "99999x", "h100", "+", ":", "24gb", "max+ 395", "4090 x3"]
_SPECS = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="0123456789 x×*+:-.gbGBtiTI", max_size=30),
    st.lists(st.sampled_from(["4090", "2x3090", "m4 max", "a100:1g.5gb", "x", "99999x", "h100", "+", ":", "24gb", "max+ 395", "4090 x3"]), max_size=6).map(
        "+".join
    ),
)


@given(_SPECS)
@example("²x4090")
@example("4090 x٣")
@example("max+ 395+max+ 395")
def test_any_spec_is_a_machine_or_a_problem(text: str) -> None:
    _machine_or_problem(parse_machine, text)


@given(_SPECS)
@example("²x24")
@example("2x٣")
def test_any_budget_is_a_machine_or_a_problem(text: str) -> None:
    _machine_or_problem(parse_budget, text)


def _machine_or_problem(parse: object, text: str) -> None:
    try:
        machine = parse(text)  # type: ignore[operator]
    except Problem as problem:
        assert problem.code in {Code.BAD_VALUE, Code.UNKNOWN_GPU}
        assert problem.message.isprintable()
        return
    assert isinstance(machine, Machine)
    assert 1 <= len(machine.gpus) <= MOST_DEVICES
    assert all(gpu.usable_bytes > 0 for gpu in machine.gpus)
