"""What a script reads: the exit code, and in JSON the error's code, message and candidates."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

Runner = Callable[..., Any]
SMALL, LARGE = ("check", "llama-3.1-8b", "--gpu", "4090"), ("check", "llama-3.1-405b", "--gpu", "4090")
TIGHT = (*SMALL, "-q", "F16", "-c", "64k")  # 22.6 of 23.5 GiB: less than llama.cpp's reserve of 1 GiB is left
SPILLS = ("check", "llama-3.1-70b", "--gpu", "4090", "-q", "Q4_K_M", "-c", "8k", "--ram", "64GB")


@pytest.mark.parametrize(
    ("arguments", "answer", "code"),
    [
        (SMALL, "fits", 0),
        (LARGE, "does_not_fit", 1),
        (TIGHT, "tight", 0),
        ((*TIGHT, "--strict"), "tight", 1),
        (SPILLS, "spills", 1),
        ((*SPILLS, "--offload"), "spills", 0),
        ((*SPILLS[:-1], "8GB", "--offload"), "does_not_fit", 1),
        (("check", "llama-3.2-11b-vision", "--gpu", "4090", "--images", "2"), "cannot_run", 1),
        ((*SMALL, "-c", "256k"), "cannot_run", 1),
        (("check", "llama-3.1-8b", "--vram", "24"), "fits", 0),
        (("check", "llama-3.1-8b", "--vram", "1GiB"), "does_not_fit", 1),
        (("check", "llama-3.1-8b", "--gpu", "cpu", "--ram", "16GB"), "fits", 0),
        (("check", "llama-3.1-70b", "--gpu", "CPU", "--ram", "16GB"), "does_not_fit", 1),
        (("check", "llama-3.1-8b", "--gpu", "2x3090", "--tensor-split", "3,1"), "fits", 0),
        (("check", "llama-3.1-8b", "--gpu", "2x3090", "--tensor-split", "0,0,1"), "cannot_run", 1),
        (("check", "qwen3-30b-a3b", "--gpu", "3060", "--n-cpu-moe", "40", "-q", "Q4_K_M", "--ram", "64GB"), "spills", 1),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else None,
)
def test_an_answer(run: Runner, arguments: tuple[str, ...], answer: str, code: int) -> None:
    ran = run(*arguments, "--json")
    assert (ran.answer["answer"], ran.code) == (answer, code)
    assert run(*arguments, "--quiet") == (code, "", "")


def test_one_yes_among_several_machines_is_a_yes(run: Runner) -> None:
    assert run("check", "llama-3.1-70b", "-q", "Q4_K_M", "-c", "8k", "-g", "4090", "-g", "2xa100-80", "--quiet").code == 0
    assert run("check", "llama-3.1-70b", "-q", "Q4_K_M", "-c", "8k", "-g", "4090", "-g", "3090", "--quiet").code == 1


def test_one_yes_among_several_models_is_a_yes(run: Runner) -> None:
    ran = run("check", "llama-3.1-405b", "llama-3.1-8b", "--gpu", "4090", "--json")
    assert ran.code == 0
    assert [check["answer"] for check in ran.answer["checks"]] == ["does_not_fit", "fits"]


WRONG_USAGE = [
    (*SMALL, "--ctx", "banana"),
    (*SMALL, "--tensor-split", "1,x"),
    (*SMALL, "--tensor-split", "0,0"),
    (*SMALL, "--tensor-split", "nan"),
    (*SMALL, "--tensor-split", ",".join(["1"] * 100)),
    (*SMALL, "--n-cpu-moe", "-1"),
    ("check", "llama-3.1-8b", "--gpu", "cpu"),
    (*SMALL, "--ctx", "0"),
    (*SMALL, "--ctx", "-5"),
    (*SMALL, "--ctx", "8k,,16k"),
    (*SMALL, "--ctx", "99999999999999999999k"),
    ("check", "llama-3.1-8b", "--vram", "-1"),
    ("check", "llama-3.1-8b", "--vram", "0"),
    ("check", "llama-3.1-8b", "--vram", "24XB"),
    ("check", "llama-3.1-8b", "--vram", "nan"),
    ("check", "llama-3.1-8b", "--vram", "inf"),
    ("check", "llama-3.1-8b", "--vram", "1e400"),
    ("check", "llama-3.1-8b", "--gpu", "0x4090"),
    ("check", "llama-3.1-8b", "--gpu", "1000x4090"),
    ("check", "llama-3.1-8b", "--gpu", ""),
    (*SMALL, "--ram", "lots"),
    (*SMALL, "--reserve", "-3"),
    (*SMALL, "--kv", "q9_9"),
    (*SMALL, "--parallel", "0"),
    (*SMALL, "--parallel", "many"),
    (*SMALL, "--images", "-1"),
    (*SMALL, "--image-size", "0x0"),
    (*SMALL, "--image-size", "1e9"),
    (*SMALL, "--image-size", "large"),
    (*SMALL, "--image-size", "1024"),
    (*SMALL, "--image-size", "1024x768x3"),
    (*SMALL, "--image-size", "-1x768"),
    (*SMALL, "--image-size", "1000000000x1"),
    (*SMALL, "--image-size", "²x²"),
    (*SMALL, "--image-size", ""),
    (*SMALL, "--tp", "0"),
    (*SMALL, "--ubatch", "0"),
    (*SMALL, "--gpu-layers", "-1"),
    (*SMALL, "--runtime", "ollama@banana"),
    (*SMALL, "--no-such-option"),
    ("check",),
]


@pytest.mark.parametrize("arguments", WRONG_USAGE, ids=lambda value: " ".join(value[1:]))
def test_wrong_usage_is_2_with_a_sentence(run: Runner, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and len(ran.err) < 600
    told = run(*arguments, "--json")
    assert told.code == 2
    assert told.answer["error"]["code"] == "bad_value" and told.answer["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "error", "candidate"),
    [
        (("check", "lama-3.1-8b", "--gpu", "4090"), "unknown_model", "llama-3.1-8b"),
        (("show", "lama-3.1-8b"), "unknown_model", "llama-3.1-8b"),
        (("check", "llama-3.1-8b", "--gpu", "rtx-4091"), "unknown_gpu", "rtx-4090"),
        (("check", "llama-3.1-8b", "--gpu", "2x4091"), "unknown_gpu", "rtx-4090"),
        ((*SMALL, "-q", "Q4_K_X"), "unknown_quant", "Q4_K_M"),
        ((*SMALL, "-r", "lama.cpp"), "unknown_runtime", "llama.cpp"),
        ((*SMALL, "-r", "vllm"), "not_computed", None),
        (("check", "llama-3.2-3b", "--require-gpu"), "no_gpu", None),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else None,
)
def test_no_answer_is_3_with_what_there_is(run: Runner, arguments: tuple[str, ...], error: str, candidate: str | None) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: ") and (candidate or "") in ran.err
    told = run(*arguments, "--json")
    assert told.code == 3
    assert told.answer["schema"] == "runlocal.error/1" and told.answer["error"]["code"] == error
    assert candidate is None or candidate in told.answer["error"]["candidates"]
    assert told.answer["error"]["hint"]


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[0m", "a\nb\nc", "x" * 100_000, "../../etc/passwd", "[bold]x[/bold]", "💥", "  ", "--", "%s%n"])
def test_a_stranger_s_name_is_shown_clean(run: Runner, name: str) -> None:
    ran = run("check", "--gpu", "4090", "--", name)
    assert (ran.code, ran.out) == (3, "")
    assert all(character.isprintable() or character == "\n" for character in ran.err)
    assert len(ran.err) < 1000
    assert len(ran.err.splitlines()) < 12


def test_an_unknown_format_is_2(run: Runner) -> None:
    ran = run(*SMALL, "--format", "xml")
    assert (ran.code, ran.out) == (2, "")
    assert "ndjson" in ran.err


@pytest.mark.parametrize("arguments", [("chekc", "llama-3.1-8b"), ("--no-such-option",)])
def test_an_unknown_command_is_2(run: Runner, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")


def test_nothing_typed_shows_the_help(run: Runner) -> None:
    ran = run()
    assert (ran.code, ran.err) == (0, "")
    assert ran == run("--help")
    assert len(ran.out.splitlines()) > 10, "line by line"


@pytest.mark.parametrize("command", ["check", "models", "show", "gpus"])
def test_help_is_help(run: Runner, command: str) -> None:
    ran = run(command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip().startswith("Usage: runlocal")


def test_the_version_names_the_data_s_day(run: Runner) -> None:
    ran = run("--version")
    assert ran.code == 0
    assert ran.out.startswith("runlocal ") and "data of 20" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code"), [(("models", "qwen"), 0), (("models", "zzz"), 1), (("gpus", "4090"), 0), (("gpus", "zzz"), 1), (("gpus", "--all"), 0)]
)
def test_a_list_is_0_with_rows_and_1_without(run: Runner, arguments: tuple[str, ...], code: int) -> None:
    assert run(*arguments).code == code
    ran = run(*arguments, "--json")
    assert ran.code == code
    assert bool(ran.answer[arguments[0]]) == (code == 0)


def test_the_json_holds_its_schema(run: Runner) -> None:
    schema = json.loads((Path(__file__).resolve().parents[2] / "docs" / "schema" / "check-1.json").read_text(encoding="utf-8"))
    for arguments in (SMALL, LARGE, TIGHT, SPILLS, ("check", "llama-3.2-90b-vision", "--gpu", "2x3090"), ("check", "llama-3.2-3b")):
        Draft202012Validator(schema).validate(run(*arguments, "--json").answer)


def cell(answer: Any) -> Any:
    (only,) = answer["machines"][0]["cells"]
    return only


def test_a_context_beyond_the_model_s_limit(run: Runner) -> None:
    reached = cell(run("check", "qwen3-8b", "--gpu", "4090", "-q", "Q4_K_M", "-c", "128k", "--json").answer)
    assert reached["answer"] in ("fits", "tight") and "--rope-scaling yarn" in reached["command"]
    native = cell(run("check", "qwen3-8b", "--gpu", "4090", "-q", "Q4_K_M", "-c", "32k", "--json").answer)
    assert "--rope-scaling" not in native["command"]
    beyond = cell(run("check", "qwen3-8b", "--gpu", "4090", "-q", "Q4_K_M", "-c", "256k", "--json").answer)
    assert beyond["answer"] == "cannot_run" and beyond["reason"] and beyond["command"] is None


def test_max_is_what_the_runtime_enforces(run: Runner) -> None:
    assert cell(run(*SMALL, "-q", "Q4_K_M", "-c", "max", "--json").answer)["context_tokens"] == 131072


def test_two_images_at_once_do_not_run_where_one_does(run: Runner) -> None:
    asked = ("check", "llama-3.2-11b-vision", "--gpu", "4090", "-q", "Q4_K_M", "-c", "8k", "--json")
    assert cell(run(*asked).answer)["answer"] == "fits"
    refused = cell(run(*asked, "--images", "2").answer)
    assert refused["answer"] == "cannot_run" and "image" in refused["reason"]


@pytest.mark.parametrize(
    "arguments",
    [SMALL, SPILLS, ("check", "llama-3.2-90b-vision", "--gpu", "2x3090"), ("check", "llama-3.2-3b", "-q", "Q4_K_M", "-c", "8k")],
    ids=lambda a: " ".join(a[1:]),
)
def test_the_parts_of_a_device_are_its_need(run: Runner, arguments: tuple[str, ...]) -> None:
    for machine in run(*arguments, "--json").answer["machines"]:
        for one in machine["cells"]:
            on_host = sum(part["bytes"] for part in one["parts"] if part["device"] == "host")
            on_gpus = sum(part["bytes"] for part in one["parts"] if part["device"] != "host")
            assert one["need_bytes"] == (on_gpus if machine["gpus"] else on_host)
            assert not machine["gpus"] or one["host_need_bytes"] == on_host


def test_every_advice_holds_when_asked(run: Runner) -> None:
    answer = run(*SPILLS[:-2], "--json").answer
    for advice in answer["advice"]:
        words = shlex.split(advice["command"])
        assert words.pop(0) == "runlocal"
        again = run(*words, "--json")
        assert again.code == 0, advice
        assert again.answer["answer"] == advice["answer"], advice
