"""Over how many ranks vLLM shares a model out: tensor parallelism cuts every layer, pipeline parallelism deals layers out.

https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py (verify_with_parallel_config), …/vllm/model_executor/layers/linear.py
(QKVParallelLinear, MergedColumnParallelLinear, RowParallelLinear), …/layers/vocab_parallel_embedding.py, …/layers/mamba/ (mamba_mixer.py,
mamba_mixer2.py, short_conv.py, gdn/), …/layers/fused_moe/config.py, …/vllm/distributed/utils.py (get_pp_indices)
"""

from collections.abc import Iterator, Mapping
from math import gcd
from typing import Any

from runlocal.architectures import layout
from runlocal.architectures.blocks.attention import Attention, CrossAttention, LatentAttention, NoAttention
from runlocal.architectures.blocks.delta import GatedDeltaNet, KimiDeltaAttention
from runlocal.architectures.blocks.mamba import Mamba1, Mamba2
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp, NextTokenHead, Norms
from runlocal.architectures.blocks.short_conv import ShortConvolution
from runlocal.core.layout import Block, Layout
from runlocal.core.model import ModelSpec
from runlocal.core.workload import MOST_RANKS

_ALIKE = "vLLM cuts every layer into equal parts"
_MIXERS = Attention | LatentAttention | CrossAttention | NoAttention | Mamba1 | Mamba2 | GatedDeltaNet | KimiDeltaAttention | ShortConvolution


def refuses(model: ModelSpec, ranks: int, constants: Mapping[str, Any]) -> str | None:
    """Why vLLM does not cut the language model for so many tensor-parallel ranks, one sentence; None where nothing here forbids it.

    constants: `Facts.runtime` of vLLM, at the version asked about
    """
    if ranks == 1:
        return None
    if model.text.heads % ranks:
        return f"{_ALIKE}: {model.text.heads} attention heads are not divisible by {ranks}"
    laid = layout(model)
    multiple = constants["vocabulary_multiple"]
    for what, rows in _tables(laid):
        if padded(rows, multiple) % ranks:
            return f"{_ALIKE}: {what}, padded to a multiple of {multiple}, of {padded(rows, multiple):,} is not divisible by {ranks}"
    if not _is_own(model, constants):
        return None
    for what, count in _counts(laid):
        if count % ranks:
            return f"{_ALIKE}: {count} {what} are not divisible by {ranks}"
    for kv_heads in _kv_heads(laid):
        if kv_heads % ranks and ranks % kv_heads:
            return f"{_ALIKE}: {kv_heads} KV heads are not divisible by {ranks}, nor {ranks} by {kv_heads}"
    for what, width in _widths(laid):
        if width % ranks:
            return f"{_ALIKE}: {what} of {width:,} is not divisible by {ranks}"
    return None


def sizes(model: ModelSpec, constants: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The tensor-parallel sizes that vLLM takes for the language model, 1 first; None where its rules for some layer are not known here.

    A vision tower has heads of its own, which are not looked at: vLLM cuts some towers alike and leaves others whole.
    """
    laid = layout(model)
    if not _is_own(model, constants) or not all(_is_known(placed.block) for placed in laid.placed):
        return None
    most = model.text.heads or gcd(*(number for _, number in (*_counts(laid), *_widths(laid))))
    return tuple(ranks for ranks in range(1, min(most, MOST_RANKS) + 1) if most % ranks == 0 and refuses(model, ranks, constants) is None)


def stages(layers: int, count: int) -> tuple[range, ...]:
    """The layers of each of `count` pipeline stages: as many each, and of the rest one more each from the last but one backwards.

    The last has the output beside its layers, and the first the embedding.
    """
    least, more = divmod(layers, count)
    found: list[range] = []
    for stage in range(count):
        start = found[-1].stop if found else 0
        found.append(range(start, start + least + (count - 1 - more <= stage < count - 1)))
    return tuple(found)


def padded(rows: int, multiple: int) -> int:
    """Rows of embedding or output as vLLM makes them."""
    return -(-rows // multiple) * multiple


def _is_own(model: ModelSpec, constants: Mapping[str, Any]) -> bool:
    """Whether vLLM's own code builds the layers; where transformers' does, vLLM cuts what it recognises and leaves the rest whole."""
    return model.hf_architecture not in constants["borrowed_classes"]


def _is_known(block: Block) -> bool:
    return isinstance(block, _MIXERS | DenseMlp | ExpertMlp | Norms | NextTokenHead)


def _tables(laid: Layout) -> Iterator[tuple[str, int]]:
    """What is cut by rows; beside the vocabulary, encoders have tables of positions and of token types that are."""
    named = {"token_embd": "the vocabulary", "output": "the vocabulary"}
    if laid.encoder:
        named |= {"position_embd": "the table of positions", "token_types": "the table of token types"}
    for tensor in laid.outer:
        if tensor.role in named:
            yield named[tensor.role], tensor.rows


def _counts(laid: Layout) -> Iterator[tuple[str, int]]:
    """What goes to ranks whole, and how many there are of it; of latent attention the queries' heads alone are cut."""
    for block, _ in laid.placed:
        if isinstance(block, Attention | CrossAttention | LatentAttention):
            yield "attention heads", block.heads
        elif isinstance(block, KimiDeltaAttention):
            yield "heads of delta attention", block.heads
        elif isinstance(block, GatedDeltaNet):
            yield "key heads of the delta net", block.key_heads
            yield "value heads of the delta net", block.value_heads
        elif isinstance(block, Mamba2):
            yield "Mamba heads", block.heads
            if block.groups > 1:  # a single group goes to every rank
                yield "groups of Mamba heads", block.groups


def _kv_heads(laid: Layout) -> Iterator[int]:
    for block, _ in laid.placed:
        if isinstance(block, Attention | CrossAttention):
            yield block.kv_heads


def _widths(laid: Layout) -> Iterator[tuple[str, int]]:
    for block, _ in laid.placed:
        if isinstance(block, Mamba1):
            yield "Mamba's inner width", block.inner_size
        elif isinstance(block, ShortConvolution):
            yield "the convolution's width", block.hidden_size
        elif isinstance(block, DenseMlp):
            yield "an MLP's width", block.intermediate_size
        elif isinstance(block, ExpertMlp):
            yield "an expert's width", block.intermediate_size
            yield "the shared experts' width", block.shared_size
