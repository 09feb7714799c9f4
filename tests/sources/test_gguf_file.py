"""The GGUF reader: what it keeps, what it refuses, and that nothing in a file can hurt it."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runlocal.architectures import layout
from runlocal.catalog.facts import storage_types
from runlocal.core.errors import Code, Problem
from runlocal.core.model import Window
from runlocal.sources import Found, gguf, read
from runlocal.sources.gguf.header import HEADER_LIMIT_BYTES, stem
from runlocal.sources.gguf.stored import FILE_TYPES, TYPES

from .ggufwriter import Writer, write

F32, F16, Q8_0, Q4_K = 0, 1, 8, 12


def llama(writer: Writer | None = None, layers: int = 2, tied: bool = False, prefix: str = "llama", **changes: Any) -> Writer:
    """A llama of two layers: 256 wide, 4 heads sharing 2 of 64, an MLP of 512, a vocabulary of 1000."""
    writer = writer or Writer()
    fields = {
        "general.architecture": prefix,
        f"{prefix}.block_count": layers,
        f"{prefix}.context_length": 4096,
        f"{prefix}.embedding_length": 256,
        f"{prefix}.attention.head_count": 4,
        f"{prefix}.attention.head_count_kv": 2,
        "tokenizer.ggml.tokens": ["a", "bc", ""] * 50,
        "tokenizer.ggml.scores": [0.5] * 150,
        "general.file_type": 15,
    }
    for key, value in {**fields, **{key.replace("__", "."): value for key, value in changes.items()}}.items():
        if value is not None:
            writer.field(key, value)
    writer.tensor("token_embd.weight", [256, 1000], Q4_K, 144 * 1000)
    writer.tensor("output_norm.weight", [256], F32, 1024)
    if not tied:
        writer.tensor("output.weight", [256, 1000], Q8_0, 272 * 1000)
    for layer in range(layers):
        for role, shape in {"attn_q": (256, 256), "attn_k": (256, 128), "attn_v": (256, 128), "attn_output": (256, 256), "ffn_up": (256, 512)}.items():
            writer.tensor(f"blk.{layer}.{role}.weight", shape, Q4_K if role != "attn_v" or layer else F16)
        writer.tensor(f"blk.{layer}.ffn_gate.weight", [256, 512], Q4_K)
        writer.tensor(f"blk.{layer}.ffn_down.weight", [512, 256], Q4_K)
        writer.tensor(f"blk.{layer}.attn_norm.weight", [256], F32)
        writer.tensor(f"blk.{layer}.ffn_norm.weight", [256], F32)
    return writer


def found(tmp_path: Path, writer: Writer, name: str = "tiny.gguf") -> Found:
    return read(write(tmp_path / name, writer.bytes(data=writer.offset)))


def refused(tmp_path: Path, content: bytes, words: str, code: Code = Code.BAD_FILE) -> Problem:
    with pytest.raises(Problem, match=words) as caught:
        read(write(tmp_path / "bad.gguf", content))
    assert caught.value.code is code
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_llama(version: int, order: str, tmp_path: Path) -> None:
    it = found(tmp_path, llama(Writer(version, order)))
    text = it.spec.text
    assert (text.layers, text.hidden_size, text.heads, text.kv_heads, text.head_dim) == (2, 256, 4, 2, 64)
    assert (text.intermediate_size, text.vocabulary_size, text.tied_embeddings, text.experts, text.window) == (512, 1000, False, None, None)
    assert it.spec.id == "tiny"
    assert it.spec.hf_architecture == "LlamaForCausalLM"
    assert it.quant == "Q4_K_M"
    assert it.warnings == ()
    assert it.header is not None
    assert it.header.big_endian == (order == ">")
    assert it.header.lengths == {"tokenizer.ggml.tokens": 150, "tokenizer.ggml.scores": 150}
    # Per layer 256·256·2 + 256·128·2 + 3·256·512 + 2·256 values; outside 2·256·1000 + 256.
    assert layout(it.spec).parameters() == 2 * (131_072 + 65_536 + 393_216 + 512) + 512_000 + 256


def test_what_it_really_stores(tmp_path: Path) -> None:
    it = found(tmp_path, llama())
    assert it.header is not None
    parts = {(part.tensor.role, part.type.name): part for part in gguf.stored(it.header, storage_types(), 2)}
    assert parts["attn_v", "F16"].tensor.layers == (0,)
    assert parts["attn_v", "Q4_K"].tensor.layers == (1,)
    assert parts["attn_q", "Q4_K"].tensor.layers == (0, 1)
    assert parts["attn_norm", "F32"].tensor_bytes == 1024
    assert parts["token_embd", "Q4_K"].tensor_bytes == 144_000
    # Q4_K: 144 bytes per 256 values; layer 0 stores attn_v in F16.
    layer = (65_536 * 2 + 32_768 + 393_216) // 256 * 144 + 2 * 1024
    assert gguf.tensor_bytes(it.header, storage_types()) == 2 * layer + 32_768 * 2 + 32_768 // 256 * 144 + 144_000 + 1024 + 272_000


@pytest.mark.parametrize(("number", "expected"), [(7, "Q8_0"), (38, "MXFP4_MOE"), (1024 + 1, "F16"), (999, "Q4_K"), (None, "Q4_K")])
def test_what_it_calls_its_quantization(number: int | None, expected: str, tmp_path: Path) -> None:
    assert found(tmp_path, llama(general__file_type=number)).quant == expected


def test_an_unfinished_download_is_said(tmp_path: Path) -> None:
    it = read(write(tmp_path / "part.gguf", llama().bytes()))
    assert it.warnings == ("The file ends before its tensors do: the download did not finish.",)
    assert it.header is not None
    assert gguf.missing_bytes(it.header, storage_types()) > 0


def test_tied_and_biased(tmp_path: Path) -> None:
    writer = llama(tied=True, prefix="qwen2")
    for layer in range(2):
        for role, width in (("attn_q", 256), ("attn_k", 128), ("attn_v", 128)):
            writer.tensor(f"blk.{layer}.{role}.bias", [width], F32)
    it = found(tmp_path, writer)
    assert it.spec.text.tied_embeddings
    assert it.spec.text.qkv_bias
    assert not it.spec.text.output_bias
    assert it.warnings == ()


def test_qwen3moe(tmp_path: Path) -> None:
    writer = Writer()
    for key, value in {"block_count": 3, "context_length": 40960, "embedding_length": 256, "attention.head_count": 8, "attention.head_count_kv": 2}.items():
        writer.field(f"qwen3moe.{key}", value)
    for key, value in {"attention.key_length": 64, "attention.value_length": 64, "expert_count": 16, "expert_used_count": 4}.items():
        writer.field(f"qwen3moe.{key}", value)
    writer.field("general.architecture", "qwen3moe").field("general.type", "model")
    writer.tensor("token_embd.weight", [256, 500]).tensor("output.weight", [256, 500]).tensor("output_norm.weight", [256], F32)
    for layer in range(3):
        shapes = {"attn_q": (256, 512), "attn_k": (256, 128), "attn_v": (256, 128), "attn_output": (512, 256), "attn_q_norm": (64,), "attn_k_norm": (64,)}
        shapes |= {"ffn_gate_inp": (256, 16), "ffn_up_exps": (256, 96, 16), "ffn_gate_exps": (256, 96, 16), "ffn_down_exps": (96, 256, 16)}
        shapes |= {"attn_norm": (256,), "ffn_norm": (256,)}
        for role, shape in shapes.items():
            writer.tensor(f"blk.{layer}.{role}.weight", shape, F32 if len(shape) == 1 or role == "ffn_gate_inp" else F16)
    it = found(tmp_path, writer)
    experts = it.spec.text.experts
    assert experts is not None
    assert (experts.count, experts.used, experts.intermediate_size, experts.leading_dense_layers, experts.layers) == (16, 4, 96, 0, None)
    assert it.spec.text.qk_norm == "head"
    assert it.quant == "F16"  # no file type: what most values are stored in
    assert it.warnings == ()


def gemma(**fields: Any) -> Writer:
    writer = llama(layers=7, tied=True, prefix="gemma3", gemma3__attention__key_length=64, **fields)
    for layer in range(7):
        for role, width in (("attn_q_norm", 64), ("attn_k_norm", 64), ("post_attention_norm", 256), ("post_ffw_norm", 256)):
            writer.tensor(f"blk.{layer}.{role}.weight", [width], F32)
    return writer


@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({}, None),
        ({"gemma3__attention__sliding_window": 0}, None),
        ({"gemma3__attention__sliding_window": 512}, Window(tokens=512, full_layers=(5,))),
        ({"gemma3__attention__sliding_window": 512, "gemma3__attention__sliding_window_pattern": 3}, Window(tokens=512, full_layers=(2, 5))),
        (
            {"gemma3__attention__sliding_window": 512, "gemma3__attention__sliding_window_pattern": [True, False, True, True, False, True, True]},
            Window(tokens=512, full_layers=(1, 4)),
        ),
    ],
)
def test_gemma3_windows(fields: dict[str, Any], window: Window | None, tmp_path: Path) -> None:
    it = found(tmp_path, gemma(**fields))
    assert it.spec.text.window == window
    assert it.spec.text.norms_per_layer == 4
    assert it.warnings == ()


def test_one_number_per_layer(tmp_path: Path) -> None:
    assert found(tmp_path, llama(llama__attention__head_count_kv=[2, 2])).spec.text.kv_heads == 2
    refused(tmp_path, llama(llama__attention__head_count_kv=[2, 1]).bytes(), "layers differ in llama.attention.head_count_kv", Code.NOT_COMPUTED)


def test_tensors_that_the_architecture_has_not_are_said(tmp_path: Path) -> None:
    it = found(tmp_path, llama().tensor("blk.0.attn_magic.weight", [256], F32))
    assert it.warnings == ("Its tensors are not quite those of a llama model: attn_magic.",)


def test_a_tower_in_the_same_file_is_said(tmp_path: Path) -> None:
    it = found(tmp_path, gemma().tensor("v.blk.0.attn_k.weight", [64, 64]).tensor("mm.mm_input_projection.weight", [256, 64]))
    assert it.warnings == ("The file holds a vision tower too: its tensors count as weights, the buffers that an image needs are not counted.",)


def split(tmp_path: Path, count: int = 3) -> list[Path]:
    whole = llama()
    third = -(-len(whole.tensors) // count)
    paths = []
    for number in range(count):
        part = llama() if number == 0 else Writer()
        part.tensors, part.offset = whole.tensors[number * third : (number + 1) * third], 1 << 20
        part.field("split.no", number).field("split.count", count)
        paths.append(tmp_path / f"tiny-{number + 1:05d}-of-{count:05d}.gguf")
        write(paths[-1], part.bytes(data=1 << 20))
    return paths


def test_split_files_are_read_from_any_part(tmp_path: Path) -> None:
    paths = split(tmp_path)
    whole = found(tmp_path, llama(), "whole.gguf")
    for path in paths:
        it = read(str(path))
        assert it.spec.id == "tiny"
        assert layout(it.spec) == layout(whole.spec)
        assert it.header is not None
        assert whole.header is not None
        assert gguf.tensor_bytes(it.header, storage_types()) == gguf.tensor_bytes(whole.header, storage_types())
        assert len(it.header.file_bytes) == 3


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    paths = split(tmp_path)
    paths[1].unlink()
    with pytest.raises(Problem, match=r"part 2 of 3, tiny-00002-of-00003\.gguf, is not beside it"):
        read(str(paths[0]))


def test_a_renamed_part(tmp_path: Path) -> None:
    path = split(tmp_path)[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(Problem, match="is one of 3 parts"):
        read(str(path))


def test_stem() -> None:
    assert stem("/x/Model-Q4_K_M-00002-of-00005.gguf") == "Model-Q4_K_M"
    assert stem("Model.Q8_0.gguf") == "Model.Q8_0"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "is no GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1", "is no GGUF file"),
        (b"tjgg\x03\x00\x00\x00", "older than GGUF"),
        (b"GG", "is no GGUF file"),
        (b"GGUF", "cut short"),
        (Writer(version=1).bytes(), "version 1 of the format"),
        (Writer(version=4).bytes(), "version 4 of the format"),
        (llama().bytes(tensor_count=1 << 62), "tensors, more than"),
        (llama().bytes(field_count=1 << 62), "metadata fields, more than"),
        (llama().bytes(field_count=65536), "."),
        (llama().bytes(tensor_count=100_000), "cut short|malformed"),
        (Writer().bytes(), "general.architecture is missing"),
        (Writer().field("general.architecture", "llama").bytes(), "holds no tensors"),
        (llama(llama__block_count=None).bytes(), r"llama\.block_count is missing"),
        (llama(llama__block_count=0).bytes(), r"llama\.block_count is 0"),
        (llama(llama__block_count="many").bytes(), r"llama\.block_count is 'many'"),
        (llama(llama__block_count=100_000).bytes(), "100,000 layers"),
        (llama(llama__block_count=1).bytes(), "a tensor stands in layer 1"),
        (llama(llama__context_length=None).bytes(), r"llama\.context_length is missing"),
        (llama(llama__embedding_length=512).bytes(), "embedding_length says 512"),
        (llama(llama__attention__head_count_kv=3).bytes(), "4 heads cannot share 3"),
        (llama(llama__attention__head_count=[4] * 5000).bytes(), "has 5,000 values for 2 layers"),
        (llama(llama__expert_count=8, llama__expert_used_count=2).tensor("blk.0.ffn_down_exps.weight", [512, 256, 4]).bytes(), "8 experts"),
        (llama(general__alignment=3).bytes(), "alignment"),
        (llama().field("general.file_type", 1).bytes(), "general.file_type stands in it twice"),
        (llama().tensor("output.weight", [256, 1000]).bytes(), "two tensors have the same name"),
        (llama().tensor("x", [1 << 39, 1 << 39]).bytes(), "values"),
        (llama().tensor("x", [0]).bytes(), "0 values"),
        (llama().tensor("x", []).bytes(), "the tensor x has 1 values"),
        (llama().tensor("x", [2] * 5).bytes(), "5 dimensions of a tensor"),
        (llama().tensor("x" * 300, [2]).bytes(), "300 bytes in a tensor's name"),
    ],
)
def test_malformed(content: bytes, words: str, tmp_path: Path) -> None:
    refused(tmp_path, content, words)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    """One that is called .gguf was meant to be one; of another, what is read is said."""
    for name, what, hint in (("a.gguf", "is no GGUF file", "Git LFS"), ("passwd", "is no file that a model is read from", r"a \.gguf file, a config\.json or")):
        path = tmp_path / name
        path.write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="utf-8")
        with pytest.raises(Problem, match=f"{name}: {what}$") as found:
            read(str(path))
        assert found.value.hint is not None and re.search(hint, found.value.hint)


def raw(value: bytes) -> bytes:
    """A file whose only field has that type and value."""
    writer = Writer()
    writer.fields.append(writer.string("k") + value)
    return writer.bytes()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Writer().pack("I", 99), "unknown type 99"),
        (Writer().pack("IIQ", 9, 99, 1), "array of the unknown type 99"),
        (Writer().pack("IIQ", 9, 9, 1), "array of the unknown type 9"),
        (Writer().pack("IIQ", 9, 4, 1 << 63), "cut short"),
        (Writer().pack("IIQ", 9, 8, 1 << 63), "strings in its arrays"),
        (Writer().pack("IIQ", 9, 8, 1 << 20), "cut short"),
        (Writer().pack("IIQQ", 9, 8, 1, 1 << 63) + bytes(64), "a string of"),
        (Writer().pack("IQ", 8, 1 << 63), "bytes in a text"),
        (Writer().pack("IQ", 8, 1 << 20), "cut short"),
    ],
)
def test_lengths_that_lie(value: bytes, words: str, tmp_path: Path) -> None:
    refused(tmp_path, raw(value), words)


def test_a_header_without_end(tmp_path: Path) -> None:
    """A sparse file that claims one huge array: refused by its length, without reading it."""
    path = tmp_path / "huge.gguf"
    write(path, raw(Writer().pack("IIQ", 9, 4, HEADER_LIMIT_BYTES // 4)))
    with path.open("r+b") as file:
        file.truncate(HEADER_LIMIT_BYTES * 2)
    with pytest.raises(Problem, match="header is larger than 256 MiB"):
        read(str(path))


@pytest.mark.parametrize(
    ("writer", "words"),
    [
        (llama(prefix="arwkv7"), "architecture 'arwkv7'"),
        (Writer().field("general.architecture", "clip"), "is a projector"),
        (Writer().field("general.type", "mmproj").field("general.architecture", "clip"), "is a projector"),
        (Writer().field("general.type", "adapter").field("general.architecture", "llama"), "is an adapter"),
        (Writer().field("general.type", "imatrix"), "an importance matrix"),
        (llama(llama__expert_count=8, llama__expert_used_count=2), "every expert in tensors of its own"),
        (llama(prefix="deepseek2", deepseek2__attention__kv_lora_rank=64), "before llama.cpp kept latents"),
    ],
)
def test_not_computed(writer: Writer, words: str, tmp_path: Path) -> None:
    refused(tmp_path, writer.bytes(), words, Code.NOT_COMPUTED)


def test_a_type_whose_size_is_not_known(tmp_path: Path) -> None:
    it = found(tmp_path, llama().tensor("x.weight", [256], 77))
    assert it.header is not None
    with pytest.raises(Problem, match="ggml's type 77") as caught:
        gguf.stored(it.header, storage_types())
    assert caught.value.code is Code.NOT_COMPUTED


def test_a_row_that_is_no_whole_number_of_blocks(tmp_path: Path) -> None:
    it = found(tmp_path, llama().tensor("x.weight", [100], Q4_K))
    assert it.header is not None
    with pytest.raises(Problem, match="rows of 100 values"):
        gguf.tensor_bytes(it.header, storage_types())


def test_text_cannot_steer_a_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\u202eno\nyes\r"
    writer = llama(general__name=evil + "x" * 5000, general__organization=evil).tensor(f"{evil}.weight", [4], F32)
    it = found(tmp_path, writer, "we\x1bird\n name.gguf")
    assert it.spec.name.isprintable()
    assert len(it.spec.name) <= 256
    assert (it.spec.vendor, it.spec.id) == ("]0;ownednoyes", "we-ird-name")
    assert all(text.isprintable() for text in (*it.warnings, it.spec.sources[0].url))


def test_not_utf8(tmp_path: Path) -> None:
    assert found(tmp_path, llama(general__name=b"caf\xe9")).spec.name == "caf\ufffd"


def test_a_vocabulary_larger_than_one_read(tmp_path: Path) -> None:
    it = found(tmp_path, llama(tokenizer__ggml__merges=["x" * (number % 97) for number in range(60_000)]))
    assert it.header is not None
    assert it.header.lengths["tokenizer.ggml.merges"] == 60_000
    assert it.spec.text.vocabulary_size == 1000


def test_cut_anywhere(tmp_path: Path) -> None:
    whole = llama().bytes()
    for end in range(1, len(whole) - 32, 64):
        with pytest.raises(Problem) as caught:
            read(write(tmp_path / "cut.gguf", whole[:end]))
        assert caught.value.code is Code.BAD_FILE


def survives(path: Path, content: bytes) -> None:
    """The bytes are a model or a sentence, never a traceback."""
    write(path, content)
    try:
        it = read(str(path))
        parameters, said = layout(it.spec).parameters(), ""
        assert it.header is not None
        gguf.stored(it.header, storage_types())
        gguf.missing_bytes(it.header, storage_types())
    except Problem as problem:
        parameters, said = 0, problem.message
    assert said.isprintable()
    assert (parameters > 0) == (not said)


HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@HERE
@given(st.binary(max_size=400))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    survives(tmp_path / "any.gguf", content or b"\0")
    survives(tmp_path / "any.gguf", b"GGUF\x03\x00\x00\x00" + content)


@HERE
@given(st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_bytes_changed(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(gemma().bytes())
    for place, value in changes:
        content[place % len(content)] = value
    survives(tmp_path / "changed.gguf", bytes(content))


NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 64, 255, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40])
SHAPED = ("block_count", "context_length", "embedding_length", "attention.head_count", "attention.head_count_kv", "attention.key_length")
FURTHER = ("nextn_predict_layers", "expert_count", "expert_used_count", "attention.sliding_window", "attention.sliding_window_pattern", "rope.dimension_count")


@HERE
@given(
    st.dictionaries(st.sampled_from(SHAPED + FURTHER), NUMBERS | st.lists(NUMBERS.filter(lambda value: value < 1 << 32), min_size=1, max_size=9), max_size=4)
)
def test_any_numbers(tmp_path: Path, values: dict[str, Any]) -> None:
    fields = {f"gemma3__{key.replace('.', '__')}": value for key, value in values.items()}
    survives(tmp_path / "numbers.gguf", llama(layers=2, prefix="gemma3", tied=True, **fields).bytes())


def test_the_numbers_of_types_are_known_sizes() -> None:
    assert set(TYPES.values()) == set(storage_types())
    assert len(set(FILE_TYPES.values())) == len(FILE_TYPES)


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(Problem, match="is no regular file"):
        read(str(tmp_path / "pipe.gguf"))
