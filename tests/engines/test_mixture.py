"""Published files that no recipe gives: what lies where, at the most that a device may get."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlocal.catalog.facts import facts
from runlocal.catalog.gpus import find_gpu
from runlocal.catalog.models import bundled
from runlocal.core.errors import Code, Problem
from runlocal.core.machine import Machine, Origin
from runlocal.core.model import PublishedFile
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.workload import Workload
from runlocal.engines.ggml.mixture import half_a_digit, shares, type_at_least
from runlocal.engines.ggml.placement import Placement
from runlocal.runtimes.llama_cpp import LlamaCpp
from runlocal.runtimes.ollama import OllamaServer

MIB = 1 << 20
OPENED: dict[str, LlamaCpp] = {}
FILE = PublishedFile("UD-TEST", 0, "somebody/Some-GGUF", "https://huggingface.co/somebody/Some-GGUF", "2026-11-22")


def opened(model_id: str) -> LlamaCpp:
    if model_id not in OPENED:
        OPENED[model_id] = LlamaCpp(bundled(model_id), "0c1e57098", facts("llama.cpp", None))
    return OPENED[model_id]


def cards(count: int, name: str = "4090") -> Machine:
    return Machine(origin=Origin.NAMED, label="made up", gpus=tuple(find_gpu(name).gpu(index) for index in range(count)))


def weights(model_id: str, quant: str, machine: Machine, **more: object) -> dict[str, Part]:
    runtime = opened(model_id)
    workload = Workload(context_tokens=8192)._replace(**more)  # type: ignore[arg-type]
    parts = runtime.parts(runtime.recipe(quant, None), workload, runtime.placement(workload, machine), machine)
    return {part.device: part for part in parts if part.kind is Kind.WEIGHTS}


def laid(model_id: str, file: PublishedFile, placement: Placement) -> dict[str, int]:
    runtime = opened(model_id)
    tensors = tuple(tensor for tensor in runtime.tensors if not tensor.skipped)
    layout = runtime.layout
    tied, twice = layout.tied and not layout.single_embedding, layout.two_embeddings
    found = shares(tensors, file, placement, runtime.facts.types, tied=tied, twice=twice, margin_percent=25, one_memory=False)
    return {share.device: share.bytes for share in found}


MIXTURES = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K_L", "Q4_K_L", "Q3_K_XL", "IQ2_XXS", "IQ1_S", "Q2_K_S", "Q8_0", "MXFP4_MOE")


@settings(deadline=None, max_examples=120)
@given(
    model_id=st.sampled_from(
        [
            "llama-3.1-8b",
            "llama-3.2-1b",
            "gemma-3-4b",
            "gemma-3n-e4b",
            "qwen3-30b-a3b",
            "mixtral-8x7b",
            "deepseek-v2-lite-16b",
            "glm-4.5-air-106b",
            "gpt-oss-20b",
        ]
    ),
    quant=st.sampled_from(MIXTURES),
    count=st.integers(0, 3),
    layers=st.none() | st.integers(0, 50),
    cpu_moe=st.booleans(),
)
def test_no_device_is_counted_short(model_id: str, quant: str, count: int, layers: int | None, cpu_moe: bool) -> None:
    """llama.cpp's own mixtures, their types forgotten: where they really lie is never more than what is counted there."""
    runtime = opened(model_id)
    recipe = runtime.recipe(quant, None)
    loaded = sum(stored.tensor_bytes * stored.tensor.count for stored in runtime.stored(recipe) if not stored.tensor.skipped)
    workload = Workload(context_tokens=4096, gpu_layers=layers, cpu_moe=cpu_moe)
    placement = runtime.placement(workload, cards(count))
    counted = laid(model_id, FILE._replace(bytes=loaded), placement)
    exact: dict[str, int] = {}
    for weight in runtime.weights(recipe, placement):
        exact[weight.device] = exact.get(weight.device, 0) + weight.bytes
    for device, size in exact.items():
        assert size <= counted[device] + 64 * 1024, (device, size, counted[device])


def test_one_card_holds_all_but_the_embedding() -> None:
    """Qwen3 32B: 20,021,713,568 bytes less 5,975,712 of header and tokenizer, less 151,936 rows of 5,120 in Q2_K (84 bytes per 256)."""
    found = weights("qwen3-32b", "UD-Q4_K_XL", cards(1))
    least = 20_021_713_568 - 5_975_712 - 151_936 * 5120 // 256 * 84
    assert 0 <= found["gpu0"].bytes - least < MIB, "padding alone"
    assert found["gpu0"].basis is Basis.ESTIMATED
    assert found[HOST].bytes == pytest.approx(151_936 * 5120 * 2, abs=MIB), "BF16"
    assert "not known" in found["gpu0"].because and "UD-Q4_K_XL" in found["gpu0"].because


def test_a_tied_embedding_leaves_nothing_open_on_one_card() -> None:
    """Qwen3 4B: the copy of the embedding lies with the rest, so that the card holds the whole file."""
    found = weights("qwen3-4b-2507", "UD-Q4_K_XL", cards(1))["gpu0"]
    assert 0 <= found.bytes - (2_546_340_960 - 5_957_216) < MIB
    assert found.basis is Basis.MEASURED


def test_without_a_card_the_host_holds_the_file() -> None:
    found = weights("qwen3-32b", "UD-Q4_K_XL", Machine(origin=Origin.BUDGET, label="CPU", gpus=(), host_bytes=1 << 36))
    assert set(found) == {HOST}
    assert found[HOST].bytes == pytest.approx(20_021_713_568 - 5_975_712, abs=MIB)
    assert found[HOST].basis is Basis.MEASURED


def test_in_one_memory_nothing_is_counted_twice() -> None:
    mac = Machine(origin=Origin.NAMED, label="made up", gpus=(find_gpu("m4-max-64").gpu(0),))
    runtime = opened("qwen3-32b")
    workload = Workload(context_tokens=8192)
    parts = runtime.parts(runtime.recipe("UD-Q4_K_XL", None), workload, runtime.placement(workload, mac), mac)
    assert sum(part.bytes for part in parts if part.kind is Kind.WEIGHTS) == pytest.approx(20_021_713_568 - 5_975_712, abs=MIB)


def test_everything_else_is_as_for_a_recipe() -> None:
    runtime, machine, workload = opened("qwen3-32b"), cards(1), Workload(context_tokens=8192)
    published, recipe = (
        [part for part in runtime.parts(runtime.recipe(quant, None), workload, runtime.placement(workload, machine), machine) if part.kind is not Kind.WEIGHTS]
        for quant in ("UD-Q4_K_XL", "Q4_K_M")
    )
    assert published == recipe


def test_copied_weights_are_counted_at_their_finest() -> None:
    runtime, machine, workload = opened("qwen3-32b"), cards(1), Workload(context_tokens=8192, gpu_layers=30)
    placement = runtime.placement(workload, machine)
    published, q8_0 = (
        next(part for part in runtime.parts(runtime.recipe(quant, None), workload, placement, machine) if part.kind is Kind.COMPUTE_BUFFER)
        for quant in ("UD-Q4_K_XL", "Q8_0")
    )
    assert published.bytes == q8_0.bytes
    assert published.basis is Basis.ESTIMATED and "Q8_0" in published.because


def test_a_rounded_size_is_taken_at_the_end_of_its_last_digit() -> None:
    assert half_a_digit(FILE._replace(bytes=17_200_000_000, rounded=True)) == 50_000_000
    assert half_a_digit(FILE._replace(bytes=227_000_000_000, rounded=True)) == 500_000_000
    assert half_a_digit(FILE._replace(bytes=17_200_000_000)) == 0


def test_the_type_that_stands_for_those_of_a_file() -> None:
    types = opened("qwen3-32b").facts.types
    assert [type_at_least(bits, types) for bits in (1.6, 2.7, 4.5, 4.9, 8.5, 9.6, 20)] == ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q8_0", "BF16", "BF16"]


@pytest.mark.parametrize(
    "typed",
    [
        "UD-Q4_K_XL",
        "ud-q4_k_xl",
        "UD_Q4_K_XL",
        " UD-Q4-K-XL ",
        "Qwen3-32B-UD-Q4_K_XL.gguf",
        "qwen3-32b-ud-q4_k_xl-00001-of-00002.gguf",
        "hf.co/unsloth/Qwen3-32B-GGUF:UD-Q4_K_XL",
    ],
)
def test_names_as_typed(typed: str) -> None:
    assert opened("qwen3-32b").recipe(typed, None).name == "UD-Q4_K_XL"


@pytest.mark.parametrize(("typed", "name"), [("Qwen3-32B-Q4_K_M.gguf", "Q4_K_M"), ("Qwen3-32B.Q4_K_S.gguf", "Q4_K_S"), ("Qwen3-32B-f16.gguf", "F16")])
def test_names_of_ordinary_files(typed: str, name: str) -> None:
    assert opened("qwen3-32b").recipe(typed, None).name == name


@pytest.mark.parametrize("typed", ["UD-Q4_K_M", "Qwen3-32B-UD-Q4_K_M.gguf", "UD-Q9_K_XL", "Q4_K_XL", "QAT-Q4_0"])
def test_a_mixture_of_unknown_size_is_never_a_recipe_called_nearly_so(typed: str) -> None:
    with pytest.raises(Problem) as caught:
        opened("qwen3-32b").recipe(typed, None)
    problem = caught.value
    assert problem.code is Code.UNKNOWN_QUANT
    assert "publisher's own mixture" in problem.message and "qwen3-32b" in problem.message
    assert "UD-Q4_K_XL" in problem.hint
    assert all(name.startswith("UD-") for name in problem.candidates)


def test_a_model_without_published_files_says_so() -> None:
    with pytest.raises(Problem) as caught:
        opened("llama-2-7b").recipe("UD-Q4_K_XL", None)
    assert "no published file" in caught.value.hint and caught.value.candidates == ()


def test_types_of_another_program() -> None:
    with pytest.raises(Problem) as caught:
        opened("qwen3-32b").recipe("iq4_ks", None)
    assert "ik_llama.cpp" in caught.value.message


def test_how_to_start_it() -> None:
    workload, machine = Workload(context_tokens=8192), cards(1)
    server = opened("qwen3-32b")
    recipe = server.recipe("UD-Q4_K_XL", None)
    assert "-hf unsloth/Qwen3-32B-GGUF:UD-Q4_K_XL" in server.command(recipe, workload, server.placement(workload, machine))
    ollama = OllamaServer(bundled("qwen3-32b"), "0.34.1", facts("ollama", None))
    assert "ollama run hf.co/unsloth/Qwen3-32B-GGUF:UD-Q4_K_XL" in ollama.command(recipe, workload, ollama.placement(workload, machine))


def test_ollama_does_not_make_what_publishers_name() -> None:
    """`ollama create --quantize` knows llama.cpp's recipes alone."""
    workload, machine = Workload(context_tokens=8192), cards(1)
    ollama = OllamaServer(bundled("qwen3-32b"), "0.34.1", facts("ollama", None))
    command = ollama.command(ollama.recipe("Q4_K_L", None), workload, ollama.placement(workload, machine))
    assert "--quantize" not in command and "-f Modelfile" in command


def test_a_variant_says_what_it_is() -> None:
    found = weights("llama-3.1-8b", "Q4_K_L", cards(1))
    assert "Q4_K_M with the embedding in Q8_0 and the output in Q8_0" in found["gpu0"].because
    assert found["gpu0"].basis is Basis.EXACT
