"""Other programs, bounded in time and size."""

from pathlib import Path

import pytest

from runlocal.probes.command import answer

from .trees import programs


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo fine", "fine\n"),
        ("echo no; exit 3", None),
        ("while :; do echo endless; done", None),
        ("while :; do :; done", None),
        ("(while :; do :; done) &", None),
        ("printf '\\377\\n'", "�\n"),
        ("read line || echo no input", "no input\n"),
    ],
    ids=["answers", "fails", "prints without end", "hangs", "leaves a child that hangs", "no UTF-8", "reads nothing of ours"],
)
def test_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str | None) -> None:
    programs(tmp_path, monkeypatch, {"program": script})
    told = answer("program", seconds=1)
    assert told == said or (said is None and not told)


def test_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, {})
    assert answer("program") is None
    assert answer("nul\0") is None
