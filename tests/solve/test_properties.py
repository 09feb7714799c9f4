"""What must hold whatever is asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .asking import Answered, ask

MODELS = st.sampled_from(["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-12b", "deepseek-v2-lite-16b", "gpt-oss-20b", "llama-3.2-11b-vision", "phi-4-14b"])
QUANTS = st.sampled_from(["Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_S", "IQ2_M"])
MACHINES = st.one_of(
    st.sampled_from(["rtx-3060", "rtx-4070-super", "rtx-4090", "2x3090", "5090+3060", "m4-max-64", "a100-80:1g.10gb"]).map(lambda name: {"gpu": name}),
    st.tuples(st.integers(6, 30), st.integers(1, 3)).map(lambda pair: {"vram_bytes": pair[0] << 30, "gpus": pair[1]}),
)
RAM = st.sampled_from([{}, {"ram_bytes": 64 << 30}, {"ram_bytes": 1 << 28}])
ORDER = ["fits", "tight", "spills", "does_not_fit", "cannot_run"]
FEW = settings(deadline=None, max_examples=30)


def no_better(worse: Answered, better: Answered) -> bool:
    return ORDER.index(worse["answer"]) >= ORDER.index(better["answer"])


@FEW
@given(model=MODELS, quant=QUANTS, machine=MACHINES, ram=RAM, steps=st.integers(1, 60), times=st.integers(2, 4))
def test_a_longer_context_never_turns_a_no_into_a_yes(model: str, quant: str, machine: dict[str, object], ram: dict[str, int], steps: int, times: int) -> None:
    short, long = (ask(model, quant=quant, context_tokens=512 * steps * factor, **machine, **ram) for factor in (1, times))
    assert no_better(long, short)
    if long["answer"] == "fits":
        assert long["need_bytes"] >= short["need_bytes"]


@FEW
@given(
    model=MODELS,
    machine=MACHINES,
    tokens=st.sampled_from([4096, 16384]),
    pair=st.sampled_from([("Q8_0", "Q6_K"), ("Q6_K", "Q4_K_M"), ("Q4_K_M", "Q3_K_S"), ("Q3_K_S", "IQ2_M")]),
)
def test_more_bits_never_cost_less(model: str, machine: dict[str, object], tokens: int, pair: tuple[str, str]) -> None:
    """Bits as they come out: where rows are no whole blocks of 256, IQ2_M falls back to more than Q3_K_S does."""
    finer, coarser = sorted((ask(model, quant=quant, context_tokens=tokens, **machine) for quant in pair), key=lambda found: -found["bits_per_weight"])
    assert finer["tensor_bytes"] > coarser["tensor_bytes"]
    assert no_better(finer, coarser)
    assert finer["fits_context_tokens"] <= coarser["fits_context_tokens"]


@FEW
@given(model=MODELS, quant=QUANTS, machine=MACHINES, sequences=st.integers(1, 6))
def test_more_sequences_never_cost_less(model: str, quant: str, machine: dict[str, object], sequences: int) -> None:
    few, many = (ask(model, quant=quant, context_tokens=4096, sequences=count, **machine) for count in (sequences, sequences + 1))
    assert no_better(many, few)


@FEW
@given(model=MODELS, quant=QUANTS, machine=MACHINES, ram=RAM, tokens=st.sampled_from([2048, 8192, 65536]), sequences=st.integers(1, 3))
def test_the_figures_of_a_cell_add_up(model: str, quant: str, machine: dict[str, object], ram: dict[str, int], tokens: int, sequences: int) -> None:
    found = ask(model, quant=quant, context_tokens=tokens, sequences=sequences, **machine, **ram)
    if found["answer"] == "cannot_run":
        assert found["parts"] == []
        assert found["reason"]
        return
    needs = {device: sum(part["bytes"] for part in found["parts"] if part["device"] == device) for device in {part["device"] for part in found["parts"]}}
    assert found["host_need_bytes"] == needs.pop("host", 0)
    assert found["need_bytes"] == sum(needs.values())
    assert 0 <= found["gpu_layers"] <= found["layers"]
    if found["answer"] in ("fits", "tight"):
        assert min(found["headroom_bytes"]) >= (found["reserve_bytes"] if found["answer"] == "fits" and len(found["headroom_bytes"]) == 1 else 0)
        assert found["gpu_layers"] == found["layers"]
    elif found["answer"] == "does_not_fit":
        assert found["reason"]
        assert found["gpu_layers"] < found["layers"] or ram
    if found["fits_context_tokens"] >= tokens:
        assert found["answer"] == "fits"


@FEW
@given(model=MODELS, quant=QUANTS, machine=MACHINES, sequences=st.integers(1, 3))
def test_the_longest_context_fits_and_256_more_do_not(model: str, quant: str, machine: dict[str, object], sequences: int) -> None:
    def at(tokens: int) -> Answered:
        return ask(model, quant=quant, context_tokens=tokens, sequences=sequences, **machine)

    first = at(4096)
    longest = first["fits_context_tokens"]
    if not longest:
        assert first["answer"] != "fits"
        assert at(256)["answer"] != "fits"
        return
    assert longest % 256 == 0
    assert at(longest)["answer"] == "fits"
    assert at(longest + 256)["answer"] != "fits"


@pytest.mark.parametrize("machine", [{"gpu": "2x3090"}, {"gpu": "5090+3060"}, {"gpu": "4090+3060+3060"}, {"vram_bytes": 12 << 30, "gpus": 4}])
@pytest.mark.parametrize("model", ["gemma-3-27b", "qwen3-32b", "mixtral-8x7b"])
@pytest.mark.parametrize("quant", ["Q6_K", "Q4_K_M"])
def test_where_a_cell_fits_the_longest_context_is_no_shorter(model: str, quant: str, machine: dict[str, object]) -> None:
    """Both look at the same split of the layers."""
    for tokens in (8192, 32768):
        found = ask(model, quant=quant, context_tokens=tokens, **machine)
        assert (found["fits_context_tokens"] >= tokens) == (found["answer"] == "fits")


def test_the_longest_context_shares_the_layers_out_as_the_cells_do() -> None:
    """Ollama's own split overfills the first of three small cards, which holds the tower; another does not."""
    found = ask("llama-3.2-11b-vision", quant="Q8_0", context_tokens=4096, vram_bytes=8 << 30, gpus=3)
    assert found["answer"] == "fits"
    assert found["fits_context_tokens"] >= 4096
