"""The strict door: every file of data/models passes, it gives what the fast door gives, and what is wrong gets a sentence with its repair."""

import copy
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runlocal.catalog.models import spec_from_table
from runlocal.catalog.schema import descriptions, json_schema, validate_model
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.model import ModelSpec

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem: path for path in sorted((ROOT / "data" / "models").rglob("*.toml"))}
VISION = tomllib.loads(FILES["llama-3.2-90b-vision"].read_text(encoding="utf-8"))
Table = dict[str, Any]


def refusal(table: Table) -> Problem:
    with pytest.raises(Problem) as caught:
        validate_model(table, "mine")
    problem = caught.value
    assert problem.code is Code.BAD_FILE and problem.exit is Exit.CANNOT_ANSWER
    assert problem.message.isprintable() and problem.hint.isprintable() and len(problem.message) < 200
    return problem


@pytest.mark.parametrize("model_id", FILES)
def test_both_doors_give_equal_objects(model_id: str) -> None:
    table = tomllib.loads(FILES[model_id].read_text(encoding="utf-8"))
    strict = validate_model(FILES[model_id])
    assert strict == spec_from_table(model_id, table) == validate_model(table, model_id)
    assert hash(strict) == hash(spec_from_table(model_id, table)), "a list where a tuple belongs"


@pytest.mark.parametrize("model_id", FILES)
def test_the_published_schema_accepts_every_file(model_id: str) -> None:
    assert not list(Draft202012Validator(json_schema()).iter_errors(tomllib.loads(FILES[model_id].read_text(encoding="utf-8"))))


def test_the_published_schema_is_the_code_s() -> None:
    published = json.loads((ROOT / "docs" / "schema" / "model-file-1.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "`make schema` writes it again"
    Draft202012Validator.check_schema(published)


def nouns(kind: Any) -> Iterator[Any]:
    """The NamedTuple and all inside it."""
    yield kind
    for field, annotation in get_type_hints(kind).items():
        for inner in (annotation, *get_args(annotation)) if field in kind._fields else ():
            if hasattr(inner, "_fields"):
                yield from nouns(inner)


@pytest.mark.parametrize("kind", dict.fromkeys(nouns(ModelSpec)), ids=lambda kind: str(kind.__name__))
def test_every_field_says_what_it_means(kind: type[NamedTuple]) -> None:
    assert set(descriptions(kind)) == set(kind._fields)
    assert all(descriptions(kind).values())


def set_key(path: str, value: object) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        *folders, key = path.split(".")
        for folder in folders:
            table = table[int(folder)] if isinstance(table, list) else table[folder]
        table[key] = value

    return change


def drop_key(path: str) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        *folders, key = path.split(".")
        for folder in folders:
            table = table[int(folder)] if isinstance(table, list) else table[folder]
        del table[key]

    return change


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (set_key("text.hiden_size", 8192), "mine: text.hiden_size is not a key", "did you mean hidden_size?"),
        (set_key("aliases.1.kin", "ollama"), "mine: aliases[1].kin is not a key", "did you mean kind?"),
        (set_key("id", "mine"), "mine: id is not a key", "remove it; known here: name, family, vendor"),
        (drop_key("text.heads"), "mine: text.heads is missing", "add heads: query heads"),
        (drop_key("sources.0.checked"), "mine: sources[0].checked is missing", "add checked: the day it was read, YYYY-MM-DD"),
        (set_key("text.heads", "64"), "mine: text.heads is '64', not a whole number", "write a whole number: query heads"),
        (set_key("text.heads", 64.0), "mine: text.heads is 64.0, not a whole number", "write a whole number: query heads"),
        (set_key("text.heads", True), "mine: text.heads is true, not a whole number", "write a whole number: query heads"),
        (set_key("text.heads", 0), "mine: text.heads is 0, out of bounds", "correct heads: query heads"),
        (set_key("text.heads", -64), "mine: text.heads is -64, out of bounds", "correct heads: query heads"),
        (set_key("text.heads", 1 << 60), f"mine: text.heads is {1 << 60}, out of bounds", "correct heads: query heads"),
        (set_key("text.tied_embeddings", 1), "mine: text.tied_embeddings is 1, not true or false", "write true or false: the output matrix is the embedding"),
        (set_key("text.cross.layers", 3), "mine: text.cross.layers is 3, not a list", "write a list: their indices"),
        (set_key("text.cross.layers", [3, "8"]), "mine: text.cross.layers[1] is '8', not a whole number", "write a whole number: their indices"),
        (set_key("text.cross", [3, 8]), "mine: text.cross is [3, 8], not a table", "write a table: cross-attention layers, absent elsewhere"),
        (set_key("modalities", "text"), "mine: modalities is 'text', not a list", "write a list: `text`, `vision`, `audio`"),
        (set_key("vision", None), "mine: vision is None, not a table", "write a table: the tower, absent in text models"),
    ],
)
def test_what_is_wrong_gets_a_sentence_with_its_repair(change: Callable[[Table], None], message: str, hint: str) -> None:
    table = copy.deepcopy(VISION)
    change(table)
    problem = refusal(table)
    assert problem.message == message
    assert problem.hint.startswith(hint)


def test_several_faults_are_counted() -> None:
    table = copy.deepcopy(VISION)
    del table["text"]["heads"], table["text"]["kv_heads"], table["name"]
    assert refusal(table).message == "mine: name is missing (2 more after it)"


def test_the_message_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FILES["llama-3.1-8b"].read_text(encoding="utf-8").replace("kv_heads", "kv_head"), encoding="utf-8")
    with pytest.raises(Problem, match=r"^mine\.toml: text\.kv_head") as caught:
        validate_model(path)
    assert "kv_heads" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "mine.toml is no TOML"),
        (b"\xff\xfe\x00", "mine.toml is no TOML"),
        (b"a = " + b"[" * 100_000, "mine.toml is no TOML"),
        (b"# " + b"x" * (1 << 20), "mine.toml is longer than"),
        (b"", "mine.toml: name is missing"),
    ],
    ids=["broken", "not text", "nested", "huge", "empty"],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(Problem, match=message) as caught:
        validate_model(tmp_path / "mine.toml")
    assert caught.value.hint


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is no file"):
        validate_model(tmp_path)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from([*VISION, "strange"]), value=JSON_VALUES)
def test_whatever_stands_there_is_taken_or_refused_in_words(key: str, value: object) -> None:
    table = {**VISION, key: value}
    try:
        validate_model(table, "mine")
    except Problem as problem:
        assert problem.message.startswith("mine: ")
        assert problem.message.isprintable() and problem.hint.isprintable()
    else:
        assert spec_from_table("mine", table) == validate_model(table, "mine")


@given(table=st.dictionaries(st.text(max_size=30), JSON_VALUES, max_size=4))
def test_a_stranger_s_table_is_refused(table: Table) -> None:
    assert refusal(table).message.startswith("mine: ")
