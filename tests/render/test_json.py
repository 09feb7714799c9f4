"""The published JSON holds the contract: these keys, in this order, and nothing that is not known."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from runlocal import __version__
from runlocal.core.errors import Code, Problem
from runlocal.core.listing import Listing, Page
from runlocal.core.report import Check
from runlocal.render.json import cell_json, check_json, checks_json, checks_ndjson, error_json, listing_json, listing_ndjson, page_json

SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"
CHECK = ["schema", "runlocal", "data", "answer", "model", "runtimes", "machines", "advice"]
MODEL = [
    "id",
    "name",
    "variant",
    "architecture",
    "modalities",
    "parameters",
    "active_parameters",
    "layers",
    "context_native_tokens",
    "context_extended_tokens",
    "license",
    "sources",
]
CELL = [
    "quant",
    "runtime",
    "runtime_version",
    "context_tokens",
    "sequences",
    "images",
    "image_tokens",
    "cache_type_k",
    "cache_type_v",
    "batch_tokens",
    "flash_attention",
    "draft",
    "mtp",
    "with",
    "answer",
    "reason",
    "warnings",
    "bits_per_weight",
    "tensor_bytes",
    "need_bytes",
    "host_need_bytes",
    "usable_bytes",
    "reserve_bytes",
    "headroom_bytes",
    "fits_context_tokens",
    "gpu_layers",
    "layers",
    "spread",
    "speed",
    "speed_unknown",
    "parts",
    "command",
]
PROBLEM = Problem(Code.UNKNOWN_MODEL, "no model is called 'lama'", hint="runlocal models lama", candidates=("llama-3.2-1b", "llama-3.2-3b"))


def schema(name: str) -> Draft202012Validator:
    document = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def test_keys_and_their_order(checks: dict[str, Check]) -> None:
    found = json.loads(check_json(checks["does_not_fit"]))
    machine = found["machines"][0]
    assert list(found) == CHECK
    assert list(found["model"]) == MODEL
    assert list(found["model"]["license"]) == ["name", "commercial", "conditions", "gated", "url", "checked"]
    assert list(found["runtimes"][0]) == ["id", "loads", "versions", "newest_known", "note", "source"]
    assert list(machine) == ["origin", "gpus", "host_memory_bytes", "host_bandwidth_bytes", "processes", "cells"]
    assert list(machine["gpus"][0]) == ["index", "id", "name", "memory_bytes", "reserved_bytes", "in_use_bytes", "usable_bytes"]
    assert [list(cell) for cell in machine["cells"]] == [CELL] * 18
    assert list(machine["cells"][0]["parts"][0]) == ["kind", "label", "device", "bytes", "basis", "because", "source", "most_bytes"]
    assert list(found["advice"][0]) == ["saves_bytes", "change", "answer", "command"]


def test_values_are_the_report_s(checks: dict[str, Check]) -> None:
    check = checks["does_not_fit"]
    found = json.loads(check_json(check))
    assert (found["schema"], found["runlocal"], found["data"], found["answer"]) == ("runlocal.check/1", __version__, "2026-11-21", "does_not_fit")
    assert found["model"]["context_extended_tokens"] is None
    assert found["machines"][0]["gpus"][1]["usable_bytes"] == 25297944576  # 24 GiB - 450 MiB
    for cell, shown in zip(check.machines[0].cells, found["machines"][0]["cells"], strict=True):
        assert shown["headroom_bytes"] == list(cell.headroom_bytes)
        assert shown["need_bytes"] == sum(part["bytes"] for part in shown["parts"] if part["device"] != "host")
        assert shown["host_need_bytes"] == sum(part["bytes"] for part in shown["parts"] if part["device"] == "host")


@pytest.mark.parametrize("name", ["fits", "tight", "spills", "does_not_fit", "cannot_run", "no_gpu", "unlimited", "two_machines", "hostile"])
def test_schemas_hold_every_answer(name: str, checks: dict[str, Check]) -> None:
    check = checks[name]
    schema("check-1.json").validate(json.loads(check_json(check)))
    lines = schema("cell-1.json")
    for line in checks_ndjson([check]).splitlines():
        lines.validate(json.loads(line))
    lines.validate(json.loads(cell_json(7, check.model.id, check.machines[0].headline)))


def test_schemas_refuse_what_is_not_the_contract(checks: dict[str, Check]) -> None:
    found = json.loads(check_json(checks["fits"]))
    found["machines"][0]["cells"][0]["parts"] = []
    found["machines"][0]["cells"][1]["answer"] = "maybe"
    del found["data"]
    errors = {error.json_path for error in schema("check-1.json").iter_errors(found)}
    assert errors == {"$", "$.machines[0].cells[0].parts", "$.machines[0].cells[1].answer"}


def test_on_one_compact_line(checks: dict[str, Check]) -> None:
    text = check_json(checks["hostile"])
    assert text.isascii()
    assert text.isprintable()
    assert text.startswith('{"schema":"runlocal.check/1","runlocal":"')


def test_several_models_answer_with_the_best(checks: dict[str, Check]) -> None:
    found = json.loads(checks_json([checks["does_not_fit"], checks["tight"], checks["cannot_run"], checks["unlimited"]]))
    assert list(found) == ["schema", "answer", "checks"]
    assert (found["schema"], found["answer"]) == ("runlocal.checks/1", "tight")
    assert found["checks"][1] == json.loads(check_json(checks["tight"]))
    assert json.loads(checks_json([checks["unlimited"]]))["answer"] is None


@pytest.mark.parametrize("given", [None, 7, "a", {"b": [1]}])
def test_batch_lines_echo_the_id(given: object, checks: dict[str, Check]) -> None:
    line = json.loads(cell_json(given, "llama-3.2-11b-vision", checks["fits"].machines[0].headline))
    assert list(line) == ["id", "schema", "model", *CELL]
    assert (line["id"], line["schema"], line["model"]) == (given, "runlocal.cell/1", "llama-3.2-11b-vision")
    error = json.loads(error_json(PROBLEM, given))
    assert list(error) == ["id", "schema", "error"]
    assert error["id"] == given


def test_error() -> None:
    found = json.loads(error_json(PROBLEM))
    assert found == {
        "schema": "runlocal.error/1",
        "error": {
            "code": "unknown_model",
            "message": "no model is called 'lama'",
            "hint": "runlocal models lama",
            "candidates": ["llama-3.2-1b", "llama-3.2-3b"],
        },
    }
    assert list(found["error"]) == ["code", "message", "hint", "candidates"]
    validator = schema("error-1.json")
    for code in Code:
        validator.validate(json.loads(error_json(Problem(code, "what is wrong"), None)))


def test_ndjson_is_a_cell_per_line(checks: dict[str, Check]) -> None:
    lines = [json.loads(line) for line in checks_ndjson([checks["two_machines"]]).splitlines()]
    assert [line["machine"] for line in lines] == ["RTX 3090"] * 18 + ["2 × RTX 3090"] * 18
    assert list(lines[0]) == ["id", "schema", "model", "machine", *CELL]


def test_listing(listing: Listing) -> None:
    found = json.loads(listing_json(listing))
    assert list(found) == ["schema", "models", "notes"]
    assert found["schema"] == "runlocal.models/1"
    assert [list(row) for row in found["models"]] == [[column.key for column in listing.columns]] * 2
    assert found["models"][1]["price_usd"] is None
    assert [json.loads(line) for line in listing_ndjson(listing).splitlines()] == found["models"]


def test_page(page: Page) -> None:
    found = json.loads(page_json(page))
    assert list(found) == ["schema", "name", "parameters", "gated", "released", "aliases", "sizes", "notes"]
    assert found["schema"] == "runlocal.model/1"
    assert (found["gated"], found["released"]) == (True, None)
    assert found["sizes"] == [{"quant": "Q4_K_M", "bits_per_weight": 4.81, "tensor_bytes": 52638515200}]
