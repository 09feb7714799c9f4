"""Next-token layers that guess ahead: what is loaded, kept and reserved for them, and where llama.cpp does not run them."""

from typing import Any

import pytest

from runlocal.commands.check import run
from runlocal.commands.options import Options
from runlocal.core.errors import Code, Problem
from runlocal.core.report import Cell
from runlocal.core.verdict import Answer

from .asking import ask, summed

QUESTION = {"quant": "Q8_0", "context_tokens": 8192, "vision": False}


def cell(model: str, **options: Any) -> Cell:
    (one,) = run([model], Options(**{"quant": "Q4_K_M", "ctx": "8k", "gpu": ("4090",), "mtp": True, **options})).checks
    return one.machines[0].headline


def of_them(found: dict[str, Any], kind: str, label: str = "next tokens: ") -> int:
    return sum(part["bytes"] for part in found["parts"] if part["kind"] == kind and part["label"].startswith(label))


def test_the_layers_are_loaded() -> None:
    """Qwen3.5 4B: one more layer of attention and MLP, width 2,560, in Q8_0 (34 B per 32 values), norms in F32."""
    plain, guessing = ask("qwen3.5-4b", **QUESTION), ask("qwen3.5-4b", **QUESTION, mtp=True)
    d, ff, q, kv = 2560, 9216, 16 * 256, 4 * 256
    matrices = 2 * d * d + d * 2 * q + 2 * d * kv + q * d + 3 * d * ff
    norms = (5 * d + 2 * 256) * 4
    assert of_them(guessing, "weights") == matrices // 32 * 34 + norms
    assert summed(guessing, "weights") - summed(plain, "weights") == of_them(guessing, "weights")
    assert (plain["mtp"], guessing["mtp"]) == (False, True)


def test_their_cache_is_that_of_one_layer() -> None:
    guessing = ask("qwen3.5-4b", **QUESTION, cache_type_k="q8_0", cache_type_v="q8_0", mtp=True)
    assert of_them(guessing, "cache") == 8192 * (1024 + 1024) * 2  # in f16 whatever the model's


def test_states_are_kept_to_go_back_to() -> None:
    """The newest and three before it; of a model whose loader cannot go back there are none."""
    plain, guessing = ask("qwen3.5-4b", **QUESTION), ask("qwen3.5-4b", **QUESTION, mtp=True)
    # 24 of 32 layers: a convolution that remembers 3 columns of 8,192, and 32 heads of 128 x 128.
    assert summed(plain, "state") == 24 * (3 * 8192 + 32 * 128 * 128) * 4
    assert summed(guessing, "state") == 4 * summed(plain, "state")


def test_what_is_handed_over_on_the_host() -> None:
    guessing = ask("qwen3.5-4b", **QUESTION, sequences=2, mtp=True)
    # A batch of 2,048 hidden states; a row of logits, a hidden state and what is picked on the device for each of two sequences.
    assert of_them(guessing, "compute_buffer", "next tokens: hidden states") == 4 * 2560 * 2048
    assert of_them(guessing, "compute_buffer", "next tokens: logits") == 4 * 2 * (248320 * 4 + 2560 + 1)
    assert of_them(guessing, "compute_buffer", "logits") == 4 * 248320 * 2 * 4


def test_the_command() -> None:
    command = cell("qwen3.6-27b", vision=False).command
    assert command is not None
    assert command.endswith("-ngl all --spec-type draft-mtp")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("llama-3.1-8b", "llama-3.1-8b has no next-token layers"),
        ("qwen3-next-80b-a3b", "GGUF files of qwen3-next-80b-a3b hold no next-token layers"),
        ("exaone-4.5-33b", "llama.cpp does not run the next-token layers of exaone4"),
    ],
)
def test_where_they_do_not_run(model: str, reason: str) -> None:
    found = cell(model)
    assert (found.answer, found.reason) == (Answer.CANNOT_RUN, reason)


@pytest.mark.parametrize("runtime", ["llama.cpp", "ollama"])
def test_a_model_that_does_not_load_is_priced_without_them(runtime: str) -> None:
    found = cell("llama-3.2-11b-vision", runtime=runtime)
    assert found.answer is Answer.CANNOT_RUN
    assert "does not load" in found.reason


def test_a_draft_model_beside_them_is_refused() -> None:
    assert cell("qwen3.5-9b", draft="qwen3.5-0.8b").answer is Answer.CANNOT_RUN


def test_what_is_not_computed() -> None:
    with pytest.raises(Problem) as found:
        cell("mimo-v2-flash-309b-a15b", runtime=None, gpu=("8xh100",))
    assert found.value.code is Code.NOT_COMPUTED


def test_ollama_guesses_four_tokens_with_steps_of_its_own() -> None:
    """A context of 8k gives steps of 1,024 tokens; four guesses and the token before them: five rows of logits and five states."""
    plain, guessing = (cell("qwen3.5-9b", runtime="ollama", vision=False, mtp=mtp) for mtp in (False, True))
    sizes = {part.label: part.bytes for part in guessing.parts}
    assert sizes["logits"] == 4 * 248320 * 5
    assert sizes["next tokens: hidden states"] == 4 * 4096 * 1024
    # One layer, 8,192 cells, 4 heads of 256 for K and for V, 2 B each.
    assert sizes["next tokens: cache"] == 8192 * 2 * 4 * 256 * 2
    assert sizes["recurrent state"] == 5 * next(part.bytes for part in plain.parts if part.label == "recurrent state")
    assert (guessing.batch_tokens, guessing.answer) == (1024, Answer.FITS)
    assert guessing.warnings[-1].startswith("Whether the file in Ollama's library")
    assert guessing.command is not None
    assert "'PARAMETER draft_num_predict 4' > Modelfile" in guessing.command


def test_the_longest_context_makes_room_for_them() -> None:
    plain, guessing = (cell("qwen3.6-27b", vision=False, mtp=mtp) for mtp in (False, True))
    assert 0 < (guessing.fits_context_tokens or 0) < (plain.fits_context_tokens or 0)


def test_without_them_is_a_change_that_helps() -> None:
    longest = cell("qwen3.6-27b", vision=False, mtp=False).fits_context_tokens
    (one,) = run(["qwen3.6-27b"], Options(quant="Q4_K_M", ctx=str(longest), gpu=("4090",), vision=False, mtp=True, strict=True)).checks
    assert any(advice.change.startswith("without --mtp") and "--mtp" not in advice.command for advice in one.advice)
