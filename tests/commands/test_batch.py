"""`check --batch`, in this process: what a line means, what it takes by default, and that none stops the stream."""

import json
from typing import Any

import pytest

from runlocal.commands.batch import LONGEST_LINE, Batch
from runlocal.commands.options import BOUNDS, Options, read
from runlocal.core.errors import Code, Exit, Problem

GIB = 1 << 30
Answered = dict[str, Any]


def answers(*lines: Any, **options: Any) -> tuple[list[Answered], Exit]:
    batch = Batch(Options(**options))
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return [json.loads(text) for text in batch.answers(texts)], batch.exit


def one(line: Any, **options: Any) -> Answered:
    (found,), _ = answers(line, **options)
    assert "error" not in found, found
    return found


def error(line: Any, **options: Any) -> Answered:
    (found,), code = answers(line, **options)
    assert found["schema"] == "runlocal.error/1"
    assert code is Exit.CANNOT_ANSWER
    failed: Answered = found["error"]
    return failed


def test_a_line_is_an_answer_in_order() -> None:
    found, code = answers({"id": 7, "model": "llama-3.1-8b"}, {"id": "b", "model": "no such model"}, "", "   ", {"model": "qwen3-8b"})
    assert [line["id"] for line in found] == [7, "b", None]
    assert [line["schema"] for line in found] == ["runlocal.cell/1", "runlocal.error/1", "runlocal.cell/1"]
    assert found[1]["error"]["code"] == "unknown_model"
    assert code is Exit.CANNOT_ANSWER


def test_a_bare_name_is_its_headline_cell() -> None:
    found = one("llama-3.1-8b")
    assert (found["model"], found["quant"], found["context_tokens"], found["answer"]) == ("llama-3.1-8b", "Q4_K_M", 8192, None)
    on_a_card = one("llama-3.1-8b", gpu=("rtx-3060",))
    assert (on_a_card["quant"], on_a_card["answer"]) == ("Q8_0", "fits"), "the finest that fits"


def test_without_a_machine_nothing_is_judged() -> None:
    found = one({"model": "llama-3.1-8b", "context_tokens": 131072})
    assert found["answer"] is None
    assert found["usable_bytes"] is None
    assert found["headroom_bytes"] == []
    assert found["fits_context_tokens"] is None
    assert found["need_bytes"] == sum(part["bytes"] for part in found["parts"] if part["device"] == "gpu0")
    assert answers({"model": "llama-3.1-8b"})[1] is Exit.YES


def test_the_commands_machine_is_the_lines_default() -> None:
    assert one({"model": "llama-3.1-8b", "quant": "Q4_K_M"}, gpu=("rtx-4090",))["answer"] == "fits"
    own = one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "vram_bytes": 4 * GIB}, gpu=("rtx-4090",))
    assert (own["answer"], own["usable_bytes"]) == ("does_not_fit", 4 * GIB)
    named = one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpu": "2x3090"}, gpu=("rtx-4090",))
    assert len(named["headroom_bytes"]) == 2


def test_options_beside_the_batch_are_defaults() -> None:
    options: dict[str, Any] = {"quant": "Q6_K", "ctx": "16k", "kv": "q8_0", "parallel": 2, "ubatch": 1024}
    found = one({"model": "llama-3.1-8b"}, **options)
    assert [found[key] for key in ("quant", "context_tokens", "cache_type_k", "sequences", "batch_tokens")] == ["Q6_K", 16384, "q8_0", 2, 1024]
    own = one(
        {"model": "llama-3.1-8b", "quant": "Q8_0", "context_tokens": 512, "cache_type_k": "f16", "cache_type_v": "f16", "sequences": 1, "batch_tokens": 128},
        **options,
    )
    assert [own[key] for key in ("quant", "context_tokens", "cache_type_k", "sequences", "batch_tokens")] == ["Q8_0", 512, "f16", 1, 128]


def test_what_a_line_says_counts_where_the_quantization_is_left_open() -> None:
    """The finest quantization that fits, under the cache types, context and importance matrix of the line."""
    found = one({"model": "llama-3.1-8b", "gpu": "rtx-4090", "cache_type_k": "q8_0", "cache_type_v": "q8_0"})
    assert (found["cache_type_k"], found["cache_type_v"]) == ("q8_0", "q8_0")
    longer = one({"model": "llama-3.1-8b", "gpu": "rtx-3090", "context_tokens": 32768})
    assert (longer["quant"], longer["answer"], longer["context_tokens"]) == ("F16", "fits", 32768)


@pytest.mark.parametrize(("gpus", "devices"), [(1, 1), (3, 3)])
def test_equal_cards_of_a_size(gpus: int, devices: int) -> None:
    found = one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "vram_bytes": 24 * GIB, "gpus": gpus})
    assert found["usable_bytes"] == devices * 24 * GIB
    assert len(found["headroom_bytes"]) == devices


def test_so_many_cards_that_are_big_enough() -> None:
    found = one({"model": "llama-3.1-8b", "gpus": 3})
    assert found["answer"] is None
    assert {part["device"] for part in found["parts"]} == {"gpu0", "gpu1", "gpu2", "host"}


@pytest.mark.parametrize("more", [{}, {"vram_bytes": 80 * GIB}, {"gpu": "h100"}])
def test_no_gpu_whatever_else_is_given(more: dict[str, Any]) -> None:
    found = one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpus": 0, "ram_bytes": 16 * GIB, **more})
    assert {part["device"] for part in found["parts"]} == {"host"}
    assert (found["answer"], found["usable_bytes"], found["gpu_layers"]) == ("fits", 16 * GIB, 0)
    assert found["need_bytes"] == found["host_need_bytes"]
    assert one({"model": "llama-3.1-70b", "quant": "Q4_K_M", "gpus": 0, "ram_bytes": 16 * GIB, **more})["answer"] == "does_not_fit"


def test_no_gpu_and_no_memory_named_is_never_a_guess() -> None:
    """Host memory of unknown size cannot be said to hold a model of 400 GB."""
    assert one({"model": "deepseek-r1-671b", "quant": "Q4_K_M", "gpus": 0})["answer"] != "fits"


def test_a_pool_of_cells() -> None:
    """llama.cpp's -c: four sequences divide it, or share it."""
    divided = one({"model": "llama-3.1-8b", "pool_tokens": 16384, "sequences": 4})
    assert (divided["context_tokens"], divided["sequences"]) == (4096, 4)
    cache = sum(part["bytes"] for part in divided["parts"] if part["kind"] == "cache")
    shared = one({"model": "llama-3.1-8b", "pool_tokens": 16384, "sequences": 4, "unified_kv": True})
    assert cache == sum(part["bytes"] for part in shared["parts"] if part["kind"] == "cache") == 16384 * 128 * 1024
    assert "-c 16384 -np 4" in divided["command"]
    assert "--kv-unified" in shared["command"]


def test_a_pool_may_be_longer_than_the_model_was_made_for() -> None:
    assert one({"model": "llama-3.1-8b", "context_tokens": 262144})["answer"] == "cannot_run"
    assert one({"model": "llama-3.1-8b", "pool_tokens": 262144})["answer"] is None


def test_rows_of_logits_and_steps() -> None:
    def compute(**more: Any) -> int:
        return sum(part["bytes"] for part in one({"model": "llama-3.1-8b", **more})["parts"] if part["kind"] == "compute_buffer" and part["device"] == "gpu0")

    assert compute(output_tokens=512) > compute(output_tokens=1) == compute()
    assert compute(batch_tokens=2048) > 3 * compute()


@pytest.mark.parametrize(
    ("model", "more", "kinds"),
    [
        ("gemma-3-4b", {}, {"vision", "vision_buffer"}),
        ("gemma-3-4b", {"images": 0}, {"vision"}),
        ("gemma-3-4b", {"vision": False}, set()),
        ("llama-3.1-8b", {"images": 3}, set()),
    ],
)
def test_images(model: str, more: dict[str, Any], kinds: set[str]) -> None:
    found = one({"model": model, **more})
    assert {part["kind"] for part in found["parts"]} & {"vision", "vision_buffer"} == kinds
    assert found["images"] == (1 if kinds == {"vision", "vision_buffer"} else 0)


@pytest.mark.parametrize(
    ("model", "more", "tokens"),
    [
        ("qwen2.5-vl-3b", {}, [2116, 4096]),
        ("qwen2.5-vl-3b", {"image_size": "1024x768"}, [999, 999]),
        ("qwen2.5-vl-3b", {"image_size": "1024x768", "images": 3}, [2997, 2997]),
        ("qwen2.5-vl-3b", {"image_size": "224x224"}, [64, 64]),
        ("qwen2.5-vl-3b", {"image_size": "224x224", "runtime": "ollama"}, [1024, 1024]),  # 224 × 4 = 896 = 32 × 28
        ("gemma-3-4b", {"image_size": "224x224", "runtime": "ollama"}, [256, 256]),
        ("qwen2.5-vl-3b", {"image_size": "1024x768", "images": 0}, None),
        ("qwen2.5-vl-3b", {"image_size": "1024x768", "vision": False}, None),
        ("llama-3.2-11b-vision", {"image_size": "1024x768", "runtime": "ollama@0.24.0"}, [0, 0]),
        ("llama-3.1-8b", {"image_size": "1024x768"}, None),
    ],
)
def test_tokens_of_images(model: str, more: dict[str, Any], tokens: list[int] | None) -> None:
    found = one({"model": model, "context_tokens": 8192, **more})
    assert found["image_tokens"] == tokens
    taken = [warning for warning in found["warnings"] if "tokens of context" in warning]
    assert bool(taken) is bool(tokens and tokens[1])
    if tokens == [999, 999]:
        assert taken == ["1 image of 1,024 × 768 takes 999 of the 8,192 tokens of context."]


def test_a_larger_image_takes_a_larger_graph() -> None:
    def graph(**more: Any) -> int:
        return sum(part["bytes"] for part in one({"model": "qwen2.5-vl-3b", **more})["parts"] if part["kind"] == "vision_buffer")

    assert graph(image_size="224x224") == graph(image_size="1024x768") == graph() < graph(image_size="4032x3024")
    assert graph(image_size="32768x32768") == pytest.approx(graph(image_size="4096x4096"), rel=0.05)


def test_images_that_the_context_does_not_hold() -> None:
    found = one({"model": "internvl3-2b", "context_tokens": 4096, "image_size": "1600x1200", "images": 2})
    assert found["image_tokens"] == [6656, 6656]
    assert any("6,656 of the 4,096 tokens of context, more than it holds" in warning for warning in found["warnings"])


@pytest.mark.parametrize("size", ["0x0", "1e9", "large", "", "1024", "1024x-1", "40000x1", 1024, [1024, 768], True])
def test_no_size_of_an_image(size: Any) -> None:
    (line,), code = answers({"model": "qwen2.5-vl-3b", "image_size": size})
    assert code is Exit.CANNOT_ANSWER
    assert line["error"]["code"] == "bad_value"
    assert "image_size" in line["error"]["message"]


def test_the_projectors_type() -> None:
    sizes = {
        kind: sum(part["bytes"] for part in one({"model": "gemma-3-4b", "mmproj_type": kind})["parts"] if part["kind"] == "vision")
        for kind in ("F16", "BF16", "Q8_0", "bf16")
    }
    assert sizes["Q8_0"] < sizes["F16"]
    assert sizes["BF16"] == sizes["bf16"] == 851_226_048


def test_what_is_given_explicitly_is_obeyed() -> None:
    found = one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpu": "rtx-4090", "gpu_layers": 10})
    assert (found["gpu_layers"], found["answer"]) == (10, "spills")
    assert "10 of 33" in found["reason"]
    moe = one({"model": "qwen3-30b-a3b", "quant": "Q4_K_M", "gpu": "rtx-3060", "cpu_moe": True})
    assert moe["answer"] == "spills"
    assert one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpu": "rtx-4090", "kv_offload": False})["answer"] == "spills"
    assert answers({"model": "llama-3.1-8b", "gpu": "rtx-4090", "quant": "Q4_K_M", "gpu_layers": 10})[1] is Exit.NO
    assert answers({"model": "llama-3.1-8b", "gpu": "rtx-4090", "quant": "Q4_K_M", "gpu_layers": 10}, offload=True)[1] is Exit.YES


def test_experts_on_the_host_need_experts() -> None:
    """--cpu-moe moves nothing in a dense model."""
    dense = one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpu": "rtx-4090", "cpu_moe": True})
    assert (dense["answer"], dense["reason"]) == ("fits", "")


@pytest.mark.parametrize("more", [{"kv_offload": False}, {"cpu_moe": True}, {"gpu_layers": 10}])
def test_no_context_fits_where_every_one_spills(more: dict[str, Any]) -> None:
    found = one({"model": "qwen3-30b-a3b", "quant": "Q4_K_M", "gpu": "rtx-4090", **more})
    assert (found["answer"], found["fits_context_tokens"]) == ("spills", 0)


def test_memory_named_beside_the_batch_is_every_lines() -> None:
    line = {"model": "llama-3.3-70b", "quant": "Q4_K_M", "gpu": "rtx-4090"}
    assert one(line)["answer"] == "does_not_fit"
    assert one(line, ram="64GB")["answer"] == "spills"
    assert one({**line, "ram_bytes": 4 * GIB}, ram="64GB")["answer"] == "does_not_fit"
    assert one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpus": 0}, ram="64GB")["answer"] == "fits"


def test_a_quantized_v_cache_needs_flash_attention() -> None:
    refused = one({"model": "llama-3.1-8b", "cache_type_v": "q8_0", "flash_attention": False})
    assert refused["answer"] == "cannot_run"
    assert refused["parts"] == []
    assert refused["need_bytes"] is None
    assert one({"model": "llama-3.1-8b", "cache_type_k": "q8_0", "flash_attention": False})["answer"] is None
    odd = one({"model": "phi-2", "cache_type_k": "q8_0", "context_tokens": 2048})
    assert odd["answer"] == "cannot_run"
    assert "head of 80" in odd["reason"]


def test_a_runtime_of_ones_own_choice() -> None:
    found = one({"model": "llama-3.1-8b", "runtime": "ollama", "context_tokens": 16384})
    assert (found["runtime"], found["batch_tokens"]) == ("ollama", 1024)
    assert one({"model": "llama-3.1-8b", "runtime": "ollama"}, runtime="llama.cpp")["runtime"] == "ollama"
    assert error({"model": "llama-3.1-8b", "runtime": "tensorrt-llm"})["code"] == "not_computed"
    assert error({"model": "llama-3.1-8b", "runtime": "no such"})["code"] == "unknown_runtime"


def test_exit_codes() -> None:
    fits, no = ({"model": "llama-3.1-8b", "quant": "Q4_K_M", "vram_bytes": size * GIB} for size in (24, 2))
    assert answers(fits)[1] is Exit.YES
    assert answers(fits, no)[1] is Exit.NO
    assert answers(no, "no such model", fits)[1] is Exit.CANNOT_ANSWER
    tight = {"model": "llama-3.1-8b", "quant": "Q4_K_M", "vram_bytes": 13 * GIB // 2}
    assert one(tight)["answer"] == "tight"
    assert answers(tight)[1] is Exit.YES
    assert answers(tight, strict=True)[1] is Exit.NO


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '"llama-3.1-8b"',
        "{}",
        '{"model": 1}',
        '{"model": null}',
        '{"model": "llama-3.1-8b", "contxt": 1}',
        '{"model": "llama-3.1-8b", "context_tokens": 0}',
        '{"model": "llama-3.1-8b", "context_tokens": -1}',
        '{"model": "llama-3.1-8b", "context_tokens": 1.5}',
        '{"model": "llama-3.1-8b", "context_tokens": "8k"}',
        '{"model": "llama-3.1-8b", "context_tokens": true}',
        '{"model": "llama-3.1-8b", "context_tokens": 1e400}',
        '{"model": "llama-3.1-8b", "quant": 4}',
        '{"model": "llama-3.1-8b", "vision": 1}',
        '{"model": "llama-3.1-8b", "gpus": 65}',
        '{"model": "llama-3.1-8b", "vram_bytes": 0}',
        '{"model": "llama-3.1-8b", "compute_capability": "8.9"}',
        '{"model": "llama-3.1-8b", "cache_type_k": "fp8"}',
        '{"model": "llama-3.1-8b", "mmproj_type": "Q4_K"}',
        "[" * 10_000,
        "x" * (LONGEST_LINE + 1),
    ],
    ids=lambda text: text[:60],
)
def test_a_bad_line_is_an_error_and_the_next_is_answered(line: str) -> None:
    found, code = answers(line, {"id": "next", "model": "llama-3.1-8b"})
    assert [entry["schema"] for entry in found] == ["runlocal.error/1", "runlocal.cell/1"]
    assert found[0]["error"]["code"] == "bad_value"
    assert found[0]["error"]["message"]
    assert code is Exit.CANNOT_ANSWER


@pytest.mark.parametrize(
    ("line", "code"),
    [({"model": "llama-3.1-8b", "gpu": "rtx-9999"}, "unknown_gpu"), ({"model": "llama-3.1-8b", "quant": "Q9"}, "unknown_quant"), ("llama-9", "unknown_model")],
)
def test_unknown_names(line: Any, code: str) -> None:
    assert error(line)["code"] == code


def test_a_null_is_a_key_left_out() -> None:
    assert one({"model": "llama-3.1-8b", "quant": None, "gpu": None, "ram_bytes": None}) == one({"model": "llama-3.1-8b"})


@pytest.mark.parametrize(
    ("key", "most", "option"),
    [
        ("sequences", 256, "parallel"),
        ("images", 1024, "images"),
        ("batch_tokens", 1 << 20, "ubatch"),
        ("gpu_layers", 10_000, "gpu_layers"),
        ("n_cpu_moe", 10_000, "n_cpu_moe"),
        ("tensor_parallel", 1024, "tp"),
        ("pipeline_parallel", 1024, "pp"),
    ],
)
def test_a_number_has_the_bounds_that_it_has_on_the_command_line(key: str, most: int, option: str) -> None:
    assert BOUNDS[key][1] == most
    read(Options(**{option: most}))
    with pytest.raises(Problem):
        read(Options(**{option: most + 1}))
    assert f"to {most:,}, not {most + 1}" in error({"model": "llama-3.1-8b", key: most + 1})["message"]


@pytest.mark.parametrize("key", ["context_tokens", "pool_tokens", "output_tokens"])
def test_other_numbers_have_bounds_too(key: str) -> None:
    assert error({"model": "llama-3.1-8b", key: BOUNDS[key][1] + 1})["code"] == "bad_value"
    assert error({"model": "llama-3.1-8b", "quant": "Q4_K_M", "vram_bytes": (1 << 60) + 1})["code"] == "bad_value"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"n_cpu_moe": 4}, ["n_cpu_moe: llama-3.1-8b has no experts, so it changes nothing."]),
        ({"n_cpu_moe": 0, "images": 1, "vision": True, "cpu_moe": False}, []),
        ({"image_size": "64x64"}, ["image_size: llama-3.1-8b takes no images, so it changes nothing."]),
        ({"mmproj_type": "Q8_0"}, ["mmproj_type: llama-3.1-8b takes no images, so it changes nothing."]),
        ({"tensor_split": [1]}, ["tensor_split: there is one GPU, so it changes nothing."]),
        ({"imatrix": True}, ["imatrix: Q4_K_M of llama-3.1-8b takes the same with an importance matrix and without, so it changes nothing."]),
        ({"gpus": 0, "ram_bytes": 64 * GIB, "gpu_layers": 3}, ["gpu_layers: there is no GPU, so it changes nothing."]),
        ({"vram_bytes": 8 * GIB}, ["vram_bytes: `gpu` names the machine, so it changes nothing."]),
    ],
    ids=str,
)
def test_what_acts_on_nothing_is_a_warning(more: dict[str, Any], said: list[str]) -> None:
    line = {"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpu": "rtx-4090", "context_tokens": 8192}
    assert one(line | more)["warnings"][len(one(line | {key: more[key] for key in ("gpus", "ram_bytes") if key in more})["warnings"]) :] == said


def test_what_stands_beside_a_batch_and_is_not_of_this_line_is_no_warning() -> None:
    assert one({"model": "llama-3.1-8b", "quant": "Q4_K_M", "gpu": "rtx-4090"}, n_cpu_moe=4)["warnings"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"idle": True}, "--idle is about this computer"),
        ({"ignore_pid": (5,)}, "--ignore-pid is about this computer"),
        ({"require_gpu": True}, "--require-gpu is about this computer"),
        ({"quant": "Q4_K_M,Q8_0"}, "--quant: a line of a batch is asked about one value"),
        ({"ctx": "8k,16k"}, "--ctx: a line of a batch is asked about one value"),
        ({"kv": "f16,q8_0"}, "--kv: a line of a batch is asked about one value"),
        ({"gpu": ("4090", "3090")}, "a line of a batch is asked about one machine"),
    ],
    ids=str,
)
def test_an_option_that_no_line_could_take_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Problem, match=said) as caught:
        Batch(Options(**options))
    assert caught.value.code is Code.BAD_VALUE and caught.value.hint


def test_a_named_machine_is_told_of_as_check_tells_it() -> None:
    line = {"model": "llama-3.1-8b", "quant": "Q4_K_M", "context_tokens": 4096, "ram_bytes": 64 * GIB}
    assert one({**line, "gpu": "m4-max-64"})["warnings"][1:] == ["ram_bytes: the GPU's memory is the host's own, so it changes nothing."]
    (told,) = one({**line, "gpu": "cpu"})["warnings"]
    assert told.startswith("CPU only: all of that memory counts as free")
    assert one({**line, "gpu": "rtx-4090"})["warnings"] == []
