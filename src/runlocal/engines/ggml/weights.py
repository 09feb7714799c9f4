"""Weights on their devices: what the file stores, plus CUDA's padding, plus the second copy of a tied embedding."""

from collections.abc import Iterator

from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.core.units import pad
from runlocal.engines.ggml.placement import Placement
from runlocal.quants.gguf import Stored

ROW_PADDING = 512  # MATRIX_ROW_PADDING: CUDA pads the last row of a quantized tensor so that kernels may read past its end
ALIGNMENT = 128  # ggml_backend_cuda_buffer_type_get_alignment
HOST_ALIGNMENT = 32  # TENSOR_ALIGNMENT of ggml's CPU buffers
INPUTS = ("token_embd", "per_layer_token_embd")
_EXPERTS = ("ffn_up_exps", "ffn_down_exps", "ffn_gate_exps", "ffn_gate_up_exps")  # what `--cpu-moe` names, biases included


class Weight(NamedTuple):
    """Tensors that lie on one device.

    role: as in `Tensor`
    device: `gpu0`, … or `host`
    bytes: all of them together, padding included
    largest_bytes: the largest of them
    group: what a reader calls them: `repeating layers`, `experts`, `output`, `token embedding`, `second copy of the tied embedding`
    """

    role: str
    device: str
    bytes: int
    largest_bytes: int
    group: str


def cuda_bytes(stored: Stored) -> int:
    """Bytes that one tensor takes in a CUDA buffer (`ggml_backend_cuda_buffer_type_get_alloc_size`)."""
    size, over = stored.tensor_bytes, stored.tensor.columns % ROW_PADDING
    if stored.type.block_elements > 1 and over:
        size += stored.type.row_bytes(ROW_PADDING - over)
    return pad(size, ALIGNMENT)


def host_bytes(stored: Stored) -> int:
    """Bytes that one tensor takes in a buffer of the host."""
    return pad(stored.tensor_bytes, HOST_ALIGNMENT)


def lay(weights: tuple[Stored, ...], placement: Placement, *, tied: bool) -> Iterator[Weight]:
    """Every loaded tensor on its device.

    The token embedding always stays on the host; where it is tied, the output's device holds a copy of it.
    """
    for stored in weights:
        tensor = stored.tensor
        if tensor.skipped:
            continue
        role = tensor.role
        if not tensor.layers:
            yield from _outer(stored, placement, tied=tied)
            continue
        is_expert = role.startswith(_EXPERTS)
        group = "experts" if is_expert else "repeating layers"
        padded = cuda_bytes(stored)
        if placement.experts_on_host and is_expert:
            yield Weight(role, HOST, host_bytes(stored) * tensor.count, padded, group)
            continue
        for device, count in placement.spread(tensor.layers).items():
            yield Weight(role, device, (host_bytes(stored) if device == HOST else padded) * count, padded, group)


def _outer(stored: Stored, placement: Placement, *, tied: bool) -> Iterator[Weight]:
    role, padded = stored.tensor.role, cuda_bytes(stored)
    if role in INPUTS:
        yield Weight(role, HOST, host_bytes(stored), padded, "token embedding")
        if tied and role == "token_embd" and placement.output != HOST:
            yield Weight(role, placement.output, padded, padded, "output: second copy of the tied embedding")
    elif role.startswith("rope_"):
        # A rotary table is loaded once for every device that holds a layer.
        for device in dict.fromkeys(placement.layers):
            yield Weight(role, device, host_bytes(stored) if device == HOST else padded, padded, "repeating layers")
    else:
        yield Weight(role, placement.output, host_bytes(stored) if placement.output == HOST else padded, padded, "output")
