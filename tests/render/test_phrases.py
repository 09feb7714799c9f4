"""Sentences."""

import pytest

from runlocal.core.errors import Code, Problem
from runlocal.core.listing import Form, Value
from runlocal.core.model import License
from runlocal.core.part import Kind
from runlocal.core.report import Check, Neighbour, Support
from runlocal.core.verdict import Answer
from runlocal.render.phrases import license_text, problem_text, settings_text, speed_text, support_text, usual_runtimes_sentence
from runlocal.render.style import Style
from runlocal.render.values import screen_text


def support(loads: bool | None, versions: str | None, id: str = "ollama") -> Support:
    return Support(id=id, name=id, loads=loads, versions=versions, newest_known="9.9", note=None, source=None)


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        (">=0.4.0,<=0.24.0", "0.4.0 to 0.24.0"),
        (">=0.4.0, <=0.24.0", "0.4.0 to 0.24.0"),
        (">=b4000", "b4000 and newer"),
        ("<=0.10.2", "0.10.2 and older"),
        ("==1.0", "==1.0"),
        (">=1,!=2,<=3", ">=1,!=2,<=3"),
    ],
)
def test_versions(versions: str, words: str) -> None:
    assert support(None, versions).versions_text == words


@pytest.mark.parametrize(
    ("loads", "versions", "words"),
    [
        (True, ">=0.4.0", "0.4.0 and newer (checked up to 9.9)"),
        (True, None, "loads it (checked in 9.9)"),
        (False, "<=0.24.0", "0.24.0 and older only (checked up to 9.9)"),
        (False, None, "does not load it (checked up to 9.9)"),
        (None, None, "not known (newest: 9.9)"),
    ],
)
def test_support(loads: bool | None, versions: str | None, words: str) -> None:
    assert support_text(support(loads, versions)) == words


def test_nothing_is_said_of_the_usual_runtimes_where_they_load_it_or_nobody_looked() -> None:
    assert usual_runtimes_sentence([support(True, None, "llama.cpp"), support(None, None), support(False, None, "vllm")]) is None


def test_a_speed_that_is_not_known_is_said_with_the_reason(checks: dict[str, Check]) -> None:
    """Whatever reads the weights: a yes without a speed and without a word would look forgotten."""
    cell = checks["fits"].machines[0].cells[0]
    assert (cell.answer, cell.speed) == ("fits", None)
    assert speed_text(cell) == "No speed is estimated: no measured run was found of models without experts on such a GPU"
    assert speed_text(cell._replace(speed_unknown="")) == ""


def test_images_are_those_of_the_model_that_is_asked_about(checks: dict[str, Check]) -> None:
    cell = checks["fits"].machines[0].cells[0]
    assert settings_text(cell).startswith("1 sequence · 1 image · cache f16")
    sees = tuple(part for part in cell.parts if part.kind is Kind.VISION)
    other = Neighbour(
        model="gemma-3-4b", quant="Q4_K_M", runtime="llama.cpp", runtime_version=None, context_tokens=8192, need_bytes=1, host_need_bytes=0, command=""
    )
    beside = cell._replace(images=0, beside=(other,), parts=tuple(part._replace(label=f"gemma-3-4b: {part.label}") for part in sees))
    assert settings_text(beside).startswith("1 sequence · cache f16")


def test_that_nothing_loads_it_is_said() -> None:
    assert usual_runtimes_sentence([support(False, None)]) == "ollama does not load this model (checked up to 9.9). No runtime that we know loads it today."


def test_a_licence_that_nobody_read_is_not_vouched_for() -> None:
    license = License(name="Some License", commercial="not read", conditions=(), url=None, checked=None)
    assert license_text(license, None) == "Some License; nobody here has read it for commercial use"


def test_problem() -> None:
    problem = Problem(Code.UNKNOWN_MODEL, "no model is called 'lama'", hint="`runlocal models` lists them", candidates=("llama-3.2-1b", "llama-3.2-3b"))
    assert problem_text(problem) == ("error: no model is called 'lama'\ndid you mean:\n  llama-3.2-1b\n  llama-3.2-3b\nhint: `runlocal models` lists them")
    assert problem_text(Problem(Code.BAD_FILE, "not a GGUF file")) == "error: not a GGUF file"
    assert problem_text(Problem(Code.BAD_FILE, "\x1b[31mé\n", candidates=("\x07",)), Style(unicode=False)) == "error: [31me \ndid you mean:\n  "


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, Form.GIB, "?"),
        (25297944576, Form.GIB, "23.6 GiB"),
        (90 << 20, Form.GIB, "90.0 MiB"),
        (52_638_515_200, Form.GB, "52.6 GB"),
        (936_000_000_000, Form.RATE, "936 GB/s"),
        (88_593_355_323, Form.COUNT, "88,593,355,323"),
        (88_593_355_323, Form.PARAMETERS, "88.6 B"),
        (134_515_008, Form.PARAMETERS, "135 M"),
        (131072, Form.TOKENS, "128k"),
        (1499.5, Form.DOLLARS, "$1,500"),
        (4.81, Form.NUMBER, "4.81"),
        (True, Form.YES_NO, "yes"),
        (False, Form.YES_NO, "no"),
        (Answer.DOES_NOT_FIT, Form.ANSWER, "does not fit"),
        (("a", "b"), Form.TEXT, "a, b"),
        ("x", Form.TEXT, "x"),
    ],
)
def test_values(value: Value, form: Form, text: str) -> None:
    assert screen_text(value, form) == text
