"""A stream of requests: one answer per line, in order; a bad line never stops it, and the exit code tells the worst of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

Runner = Callable[..., Any]
SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schema"
FITS = {"model": "llama-3.1-8b", "gpu": "4090", "quant": "Q4_K_M", "context_tokens": 8192}
DOES_NOT = {**FITS, "model": "llama-3.1-405b"}


def line(**keys: object) -> str:
    return json.dumps(keys)


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def answers(out: str) -> list[dict[str, Any]]:
    return [json.loads(one, parse_constant=refuse) for one in out.splitlines()]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], 0),
        (["", "  ", "\t"], 0),
        ([line(**FITS)], 0),
        ([line(**FITS), line(**DOES_NOT)], 1),
        ([line(**DOES_NOT), line(model="nothing"), line(**FITS)], 3),
        ([line(model="llama-3.1-8b")], 0),
    ],
    ids=["nothing", "blank", "yes", "yes and no", "an error among them", "no machine: no question"],
)
def test_the_exit_code_tells_the_worst(run: Runner, lines: list[str], code: int) -> None:
    text = "\n".join(lines)
    ran = run("check", "--batch", "-", text=text)
    assert (ran.code, ran.err) == (code, "")
    assert len(ran.out.splitlines()) == sum(1 for one in lines if one.strip())
    assert run("check", "--batch", "-", "--quiet", text=text) == (code, "", "")


def test_order_is_kept_around_bad_and_blank_lines(run: Runner) -> None:
    lines = [
        line(**FITS, id=1),
        "",
        "not a model",
        line(**FITS, id=2, colour="red"),
        '{"id": 3, "model": ',
        "   ",
        line(**DOES_NOT, id=4),
        "[1, 2]",
        "llama-3.1-8b",
        line(**FITS, id="5"),
    ]
    ran = run("check", "--batch", "-", text="\n".join(lines))
    told = answers(ran.out)
    assert ran.code == 3
    assert [one["schema"].split(".")[1].split("/")[0] for one in told] == ["cell", "error", "error", "error", "cell", "error", "cell", "cell"]
    assert [one.get("answer", one.get("error", {}).get("code")) for one in told] == [
        "fits",
        "unknown_model",
        "bad_value",
        "bad_value",
        "does_not_fit",
        "bad_value",
        None,
        "fits",
    ]
    assert (told[0]["id"], told[4]["id"], told[7]["id"]) == (1, 4, "5")


def test_every_line_holds_its_schema(run: Runner) -> None:
    schemas = {kind: Draft202012Validator(json.loads((SCHEMAS / f"{kind}-1.json").read_text(encoding="utf-8"))) for kind in ("cell", "error")}
    lines = [
        line(**FITS),
        line(**DOES_NOT),
        line(model="nothing"),
        line(model="llama-3.2-11b-vision", gpu="4090", images=2, quant="Q4_K_M"),
        "llama-3.1-8b",
        "{",
    ]
    for one in answers(run("check", "--batch", "-", text="\n".join(lines)).out):
        schemas["cell" if one["schema"] == "runlocal.cell/1" else "error"].validate(one)


@pytest.mark.parametrize("request_id", [0, "", "a b", None, [1, {"b": None}], {"c": True}, "💡", 10**30, -1.5])
def test_an_id_comes_back_as_it_went(run: Runner, request_id: object) -> None:
    lines = [line(**FITS, id=request_id), line(model="nothing", id=request_id), line(**{**FITS, "quant": 5}, id=request_id)]
    assert [one["id"] for one in answers(run("check", "--batch", "-", text="\n".join(lines)).out)] == [request_id] * 3


def test_an_unknown_key_echoes_the_id_too(run: Runner) -> None:
    (told,) = answers(run("check", "--batch", "-", text=line(**FITS, id=7, colour="red")).out)
    assert told["id"] == 7
    assert "colour" in told["error"]["message"] and "quant" in told["error"]["hint"]


BAD = [
    '{"model": 5}',
    "{}",
    "null_is_no_model",
    '"llama-3.1-8b"',
    "[" * 5000,
    '{"model": ' * 5000,
    '{"model": "llama-3.1-8b", "vram_bytes": 0}',
    '{"model": "llama-3.1-8b", "vram_bytes": -1}',
    '{"model": "llama-3.1-8b", "vram_bytes": 1.5}',
    '{"model": "llama-3.1-8b", "vram_bytes": "24GB"}',
    '{"model": "llama-3.1-8b", "vram_bytes": 99999999999999999999999}',
    '{"model": "llama-3.1-8b", "vram_bytes": true}',
    '{"model": "llama-3.1-8b", "gpus": -1}',
    '{"model": "llama-3.1-8b", "gpus": 1000000000}',
    '{"model": "llama-3.1-8b", "tensor_parallel": 1000000, "pipeline_parallel": 1000000}',
    '{"model": "llama-3.1-8b", "context_tokens": 0}',
    '{"model": "llama-3.1-8b", "context_tokens": "8k"}',
    '{"model": "llama-3.1-8b", "sequences": 0}',
    '{"model": "llama-3.1-8b", "images": -1}',
    '{"model": "llama-3.1-8b", "vision": "no"}',
    '{"model": "llama-3.1-8b", "cache_type_k": "q9"}',
    '{"model": "llama-3.1-8b", "cache_type_v": 8}',
    '{"model": "llama-3.1-8b", "mmproj_type": "Q4_K_M"}',
    '{"model": "llama-3.1-8b", "runtime": "nothing"}',
    '{"model": "llama-3.1-8b", "runtime": "vllm"}',
    '{"model": "llama-3.1-8b", "runtime": "ollama@banana"}',
    '{"model": "llama-3.1-8b", "gpu": ["4090"]}',
    '{"model": "llama-3.1-8b", "gpu": "4091"}',
    '{"model": "llama-3.1-8b", "quant": "Q4_K_X"}',
    '{"model": "llama-3.1-8b", "vram_bytes": 25769803776, "compute_capability": "8.9"}',
    '{"model": "llama-3.1-8b", "vram_bytes": 25769803776, "compute_capability": NaN}',
    '{"model": "llama-3.1-8b", "vram_bytes": 25769803776, "compute_capability": 1e400}',
    '{"model": "llama-3.1-8b", "id": NaN}',
    '{"model": "\\u0000\\u001b[31mevil"}',
    "\x00\x01\x02",
    "x" * 2_000_000,
    '{"model": "' + "y" * 2_000_000 + '"}',
    "llama-3.1-8b\x1b[2J",
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: ascii(bad[:70]))
def test_a_bad_line_is_told_and_the_next_answered(run: Runner, bad: str) -> None:
    ran = run("check", "--batch", "-", text=f"{bad}\n{line(**FITS)}\n")
    told, after = answers(ran.out)
    assert ran.code == 3
    assert told["schema"] == "runlocal.error/1" and after["answer"] == "fits"
    assert told["error"]["message"].isprintable() and len(told["error"]["message"]) < 300


def test_bytes_that_are_no_text_are_told(run: Runner) -> None:
    ran = run("check", "--batch", "-", text=b"\xff\xfe\x00\n" + line(**FITS).encode() + b"\r\n")
    told, after = answers(ran.out)
    assert told["error"]["code"] == "unknown_model" and after["answer"] == "fits"


def test_a_file_is_read_like_standard_input(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "requests.ndjson"
    path.write_text(f"{line(**FITS)}\n{line(**DOES_NOT)}", encoding="utf-8")
    assert run("check", "--batch", str(path)) == run("check", "--batch", "-", text=path.read_text(encoding="utf-8"))


def test_options_beside_a_batch_are_every_line_s_defaults(run: Runner) -> None:
    bare, own = answers(run("check", "--batch", "-", "--gpu", "3090", "-q", "Q8_0", "-c", "16k", text=f"llama-3.1-8b\n{line(**FITS)}").out)
    assert (bare["quant"], bare["context_tokens"], bare["usable_bytes"] is not None) == ("Q8_0", 16384, True)
    assert (own["quant"], own["context_tokens"]) == ("Q4_K_M", 8192)


def test_a_wrong_option_beside_a_batch_stops_before_it(run: Runner) -> None:
    ran = run("check", "--batch", "-", "-c", "banana", text=line(**FITS))
    assert (ran.code, ran.out) == (2, "")


def test_without_a_machine_the_need_is_told_and_no_answer(run: Runner) -> None:
    (told,) = answers(run("check", "--batch", "-", text=line(model="llama-3.1-8b", quant="Q4_K_M", context_tokens=8192)).out)
    (on_card,) = answers(run("check", "--batch", "-", text=line(**FITS)).out)
    assert told["answer"] is None and told["need_bytes"] > 0
    weights = [[part["bytes"] for part in one["parts"] if part["kind"] in ("weights", "cache")] for one in (told, on_card)]
    assert weights[0] == weights[1]


def test_the_cell_is_the_one_that_check_shows(run: Runner) -> None:
    (told,) = answers(run("check", "--batch", "-", text=line(**FITS)).out)
    (shown,) = run("check", "llama-3.1-8b", "--gpu", "4090", "-q", "Q4_K_M", "-c", "8k", "--json").answer["machines"][0]["cells"]
    assert {key: told[key] for key in shown} == shown


@pytest.mark.parametrize("beside", [("llama-3.1-8b",), ("-x",), ("-f", "csv"), ("--idle",), ("--nodes", "x"), ("-c", "8k,16k")], ids=" ".join)
def test_what_no_line_could_take_stops_before_the_first(run: Runner, beside: tuple[str, ...]) -> None:
    ran = run("check", *beside, "--batch", "-", text=line(**FITS))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and "hint: " in ran.err


@pytest.mark.parametrize("beside", [(), ("--json",), ("-f", "ndjson")], ids=" ".join)
def test_json_is_what_a_batch_answers_anyway(run: Runner, beside: tuple[str, ...]) -> None:
    assert run("check", *beside, "--batch", "-", text=line(**FITS)) == run("check", "--batch", "-", text=line(**FITS))
