"""What a rank of vLLM holds of a 16-bit checkpoint: most matrices are cut, some are kept whole by every rank.

https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/linear.py, …/vllm/model_executor/models/llama.py and its like;
Llama 3.2 Vision: https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/model_executor/models/mllama.py

What vLLM logs ("Model loading took") is a little more: the table of rotations too, and of each matrix of 10 MiB and more what PyTorch's allocator
leaves with it, which takes blocks of 2 MiB and splits nothing off that is not larger than 1 MiB.
"""

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

from runlocal.architectures import layout, towers
from runlocal.architectures.blocks.attention import Attention, CrossAttention
from runlocal.core.layout import Block
from runlocal.core.model import ModelSpec
from runlocal.core.tensor import Tensor
from runlocal.engines.vllm.parallel import padded, stages

_VALUE_BYTES = 2
_CHECKPOINTS = ("BF16", "F16")


class Cut(Enum):
    """How a tensor lies on tensor-parallel ranks.

    EVEN: cut into equal parts; KV_HEADS: by KV heads, each of which has as many ranks where there are fewer than ranks; QKV: queries, keys and
    values in one matrix; VOCABULARY: by padded rows; WHOLE: every rank has all of it
    """

    EVEN = auto()
    KV_HEADS = auto()
    QKV = auto()
    VOCABULARY = auto()
    WHOLE = auto()


_NORMS = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm", "output_norm")
_HEAD_NORMS = ("attn_q_norm", "attn_k_norm")  # whole where each head has the same; where not, classes of vLLM differ
_EXPERTS = ("ffn_up_exps", "ffn_gate_exps", "ffn_gate_up_exps", "ffn_down_exps", "ffn_up_shexp", "ffn_gate_shexp", "ffn_down_shexp")
_CUTS = {
    **dict.fromkeys(("token_embd", "output"), Cut.VOCABULARY),
    **dict.fromkeys(("attn_q", "attn_q.bias", "attn_output"), Cut.EVEN),
    **dict.fromkeys(("attn_k", "attn_k.bias", "attn_v", "attn_v.bias", "cross_attn_k_proj", "cross_attn_v_proj"), Cut.KV_HEADS),
    **dict.fromkeys(("attn_qkv", "attn_qkv.bias"), Cut.QKV),
    **dict.fromkeys(("ffn_up", "ffn_up.bias", "ffn_gate", "ffn_gate.bias", "ffn_down", *_EXPERTS, "cross_attn_q_proj", "cross_attn_o_proj"), Cut.EVEN),
    # A matrix whose columns are cut adds its bias on every rank's result once, so one rank uses it and all hold it.
    **dict.fromkeys(("attn_output.bias", "ffn_down.bias"), Cut.WHOLE),
    **dict.fromkeys(("ffn_gate_inp", "ffn_gate_inp_shexp"), Cut.WHOLE),
    **dict.fromkeys(("cross_attn_q_norm", "cross_attn_k_norm", "cross_attn_attn_gate", "cross_attn_mlp_gate"), Cut.WHOLE),
    **dict.fromkeys(_NORMS, Cut.WHOLE),
}
_TABLES = ("rope_",)  # made at the start, in no checkpoint
# Of Llama 3.2 Vision's tower: tables of positions, norms and gates are whole.
_TOWER = "mllama"
_TOWER_EVEN = ("v.patch_embd", "v.blk.attn_q", "v.blk.attn_k", "v.blk.attn_v", "v.blk.attn_out", "v.blk.ffn_up", "v.blk.ffn_up.bias", "v.blk.ffn_down")
_PROJECTOR_EVEN = ("mm.0", "mm.0.bias")


def rank_bytes(model: ModelSpec, *, tensor_parallel: int, pipeline_parallel: int, constants: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Bytes of weights that each rank of each pipeline stage holds, first stage first; all ranks of a stage hold as much.

    None where it is not known: no 16-bit checkpoint, a class that was not read, or a tensor whose rule is not known here. The sizes are those
    that `parallel.refuses` has nothing against. constants: `Facts.runtime` of vLLM
    """
    classes = constants["read_classes" if pipeline_parallel == 1 else "staged_classes"]
    if model.checkpoint_type not in _CHECKPOINTS or model.hf_architecture not in classes:
        return None
    vocabulary_multiple = constants["vocabulary_multiple"]
    laid = layout(model)
    dealt = stages(laid.layers, pipeline_parallel)
    elements = [0] * pipeline_parallel
    for tensor in laid.outer:
        if tensor.role.startswith(_TABLES):
            continue
        held = _held(tensor, None, tensor_parallel, vocabulary_multiple)
        if held is None:
            return None
        first = tensor.role == "token_embd"
        elements[0 if first else -1] += held
        if first and laid.tied and pipeline_parallel > 1:
            elements[-1] += held  # the output is the embedding, and lies on another stage
    for block, layers in laid.placed:
        for tensor in block.tensors(tuple(layer for layer in layers if layer < laid.layers)):
            if tensor.role.startswith(_TABLES) or not tensor.layers:
                continue
            held = _held(tensor, block, tensor_parallel, vocabulary_multiple)
            if held is None:
                return None
            for stage, own in enumerate(dealt):
                elements[stage] += held * sum(layer in own for layer in tensor.layers)
    if model.vision is not None:
        if model.vision.tower != _TOWER or pipeline_parallel > 1:
            return None
        elements[0] += sum(_tower(model, tensor_parallel))
    return tuple(_VALUE_BYTES * count for count in elements)


def _held(tensor: Tensor, block: Block | None, ranks: int, vocabulary_multiple: int) -> int | None:
    """Values of one tensor of the group that a rank holds; None where the rule is not known."""
    cut = _CUTS.get(tensor.role)
    if isinstance(block, Attention) and tensor.role in _HEAD_NORMS and (tensor.columns, tensor.rows) == (block.head_dim, 1):
        cut = Cut.WHOLE
    match cut:
        case None:
            return None
        case Cut.WHOLE:
            return tensor.elements
        case Cut.EVEN:
            return tensor.elements // ranks
        case Cut.VOCABULARY:
            return padded(tensor.rows, vocabulary_multiple) // ranks * tensor.columns
        case Cut.KV_HEADS | Cut.QKV:
            if not isinstance(block, Attention | CrossAttention):
                return None
            queries, keys = block.heads // ranks, max(1, block.kv_heads // ranks)
            if cut is Cut.KV_HEADS:
                return tensor.elements // block.kv_heads * keys
            return tensor.elements // (block.heads + 2 * block.kv_heads) * (queries + 2 * keys)


def _tower(model: ModelSpec, ranks: int) -> Iterator[int]:
    """Values of tower and projector that a rank holds."""
    if model.vision is None:
        return
    for tensor in towers.tensors(model.vision, model.text.hidden_size):
        values = tensor.elements * tensor.count
        yield values // ranks if tensor.role in (*_TOWER_EVEN, *_PROJECTOR_EVEN) else values
