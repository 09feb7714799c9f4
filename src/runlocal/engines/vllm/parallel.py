"""Over how many ranks vLLM shares a model out: tensor parallelism cuts every layer, pipeline parallelism deals layers out.

https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py (verify_with_parallel_config), …/vllm/model_executor/layers/linear.py
(QKVParallelLinear, MergedColumnParallelLinear, RowParallelLinear), …/layers/vocab_parallel_embedding.py, …/vllm/distributed/utils.py (get_pp_indices)
"""

from collections.abc import Iterator, Mapping
from typing import Any

from runlocal.architectures import layout
from runlocal.architectures.blocks.attention import Attention, CrossAttention, LatentAttention, NoAttention
from runlocal.architectures.blocks.mlp import DenseMlp, ExpertMlp, NextTokenHead, Norms
from runlocal.core.layout import Block, Layout
from runlocal.core.model import ModelSpec

_ALIKE = "vLLM cuts every layer into equal parts"


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
    rows = padded(laid.vocabulary_size, multiple)
    if rows % ranks:
        return f"{_ALIKE}: the vocabulary, padded to a multiple of {multiple}, of {rows:,} is not divisible by {ranks}"
    if not _is_own(model, constants):
        return None
    for heads, kv_heads in _kv_heads(laid):
        if heads % ranks:
            return f"{_ALIKE}: {heads} attention heads are not divisible by {ranks}"
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
    heads = model.text.heads
    known = _is_own(model, constants) and all(_is_known(placed.block) for placed in layout(model).placed)
    if not known or heads < 1:
        return None
    return tuple(ranks for ranks in range(1, heads + 1) if refuses(model, ranks, constants) is None)


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
    return isinstance(block, Attention | LatentAttention | CrossAttention | NoAttention | DenseMlp | ExpertMlp | Norms | NextTokenHead)


def _kv_heads(laid: Layout) -> Iterator[tuple[int, int]]:
    """(heads, KV heads) of every kind of attention; latent attention has no KV heads, its queries alone are cut."""
    for block, _ in laid.placed:
        if isinstance(block, Attention | CrossAttention):
            yield block.heads, block.kv_heads
        elif isinstance(block, LatentAttention):
            yield block.heads, block.heads


def _widths(laid: Layout) -> Iterator[tuple[str, int]]:
    for block, _ in laid.placed:
        if isinstance(block, DenseMlp):
            yield "an MLP's width", block.intermediate_size
        elif isinstance(block, ExpertMlp):
            yield "an expert's width", block.intermediate_size
            yield "the shared experts' width", block.shared_size
