"""What is typed to start Ollama so: its own variables, what a Modelfile sets, and what it has no switch for (envconfig/config.go, llm/llama_server.go)."""

from typing import Any

import pytest

from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.report import Cell
from runlocal.core.verdict import Answer


def cell(model: str = "llama-3.1-8b", **asked: Any) -> Cell:
    options = Options(quant="Q4_K_M", ctx="8k", gpu=("4090",), runtime="ollama", **asked)
    return run([model], options).checks[0].machines[0].headline


def lines(found: Cell) -> list[str]:
    """Of the Modelfile that the command writes."""
    assert found.command is not None
    written = found.command.partition("printf '%s\\n' ")[2].partition(" > Modelfile")[0]
    return [line for line in written.split("'") if line.strip()]


def test_what_the_library_has_needs_no_file_of_ones_own() -> None:
    assert cell().command == "OLLAMA_CONTEXT_LENGTH=8192 ollama serve & ollama run llama3.1:8b"


def test_tokens_per_step() -> None:
    found = cell(ubatch=256)
    assert found.batch_tokens == 256
    assert lines(found) == ["FROM llama3.1:8b", "PARAMETER num_batch 256"]
    assert str(found.command).endswith(" && ollama create llama-3.1-8b-q4_k_m -f Modelfile && ollama run llama-3.1-8b-q4_k_m")


def test_layers_on_the_gpu() -> None:
    assert lines(cell(gpu_layers=10)) == ["FROM llama3.1:8b", "PARAMETER num_gpu 10"]
    assert lines(cell(gpu_layers=10, ubatch=256)) == ["FROM llama3.1:8b", "PARAMETER num_batch 256", "PARAMETER num_gpu 10"]


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ({"flash_attention": False}, "OLLAMA_FLASH_ATTENTION=0"),
        ({"flash_attention": True}, "OLLAMA_FLASH_ATTENTION=1"),
        ({"kv": "q8_0"}, "OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0"),
    ],
)
def test_flash_attention(asked: dict[str, Any], settings: str) -> None:
    assert cell(**asked).command == f"OLLAMA_CONTEXT_LENGTH=8192 {settings} ollama serve & ollama run llama3.1:8b"


def test_without_its_tower_a_model_is_a_file_of_ones_own() -> None:
    """What Ollama fetches comes with the projector."""
    assert lines(cell("gemma-3-12b", vision=False)) == ["FROM ./gemma-3-12b-Q4_K_M.gguf"]
    assert str(cell("gemma-3-12b").command).endswith("ollama run gemma3:12b")


@pytest.mark.parametrize(("layers", "device"), [(48, "host"), (49, "gpu0"), (None, "gpu0")])
def test_the_projector_follows_the_number_of_layers(layers: int | None, device: str) -> None:
    """48 layers and the output are 49: with fewer named, Ollama starts llama-server with --no-mmproj-offload."""
    found = cell("gemma-3-12b", gpu_layers=layers)
    assert {part.device for part in found.parts if part.kind in ("vision", "vision_buffer")} == {device}


def test_what_it_has_no_switch_for() -> None:
    found = cell(kv_offload=False)
    assert (found.answer, found.reason, found.command) == (Answer.CANNOT_RUN, "Ollama has no switch that keeps the cache on the host", None)


def test_a_spill_moves_layers_alone() -> None:
    """With llama.cpp the cache of all sequences goes to the host; Ollama cannot be told so, and gets a number of layers."""
    asked: dict[str, Any] = {"parallel": 24, "ram": "64GiB", "offload": True}
    spilled = cell(**asked)
    assert spilled.answer is Answer.SPILLS
    assert spilled.spread is not None and not spilled.spread.cache_on_host
    assert lines(spilled) == ["FROM llama3.1:8b", f"PARAMETER num_gpu {spilled.gpu_layers}"]
