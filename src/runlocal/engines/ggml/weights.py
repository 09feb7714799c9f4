"""Weights on their devices: what the file stores, plus CUDA's padding, plus the second copy of a tied embedding."""

from bisect import bisect_left
from collections.abc import Iterator

from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.core.units import pad
from runlocal.engines.ggml.placement import Placement, place
from runlocal.quants.gguf import Stored

ROW_PADDING = 512  # MATRIX_ROW_PADDING: CUDA pads the last row of a quantized tensor so that kernels may read past its end
ALIGNMENT = 128  # ggml_backend_cuda_buffer_type_get_alignment
HOST_ALIGNMENT = 32  # TENSOR_ALIGNMENT of ggml's CPU buffers
EMBEDDING, EXPERTS, LAYERS, OUTPUT = "token embedding", "experts", "repeating layers", "output"
COPY = f"{OUTPUT}: second copy of the tied embedding"
_INPUTS = ("token_embd", "per_layer_token_embd", "position_embd", "token_types")
# Outside of the layers by name, and loaded with the first of them.
_FIRST_LAYER = ("per_layer_model_proj", "per_layer_proj_norm", "token_embd_norm", "token_embd_norm.bias")
_EXPERTS = ("ffn_up_exps", "ffn_down_exps", "ffn_gate_exps", "ffn_gate_up_exps")  # what `--cpu-moe` names, biases included


class Weight(NamedTuple):
    """Tensors that lie on one device.

    device: `gpu0`, … or `host`
    bytes: all of them together, padding included
    largest_bytes: what the largest of them takes on a GPU
    group: what a reader calls them: `repeating layers`, `experts`, `output`, `token embedding`, `second copy of the tied embedding`
    """

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


class Band(NamedTuple):
    """Tensors that stand in the same layers and so go the same ways.

    layers: those layers
    group: as in `Weight`
    host_bytes, gpu_bytes: what one layer's take on the host and on a GPU
    largest_bytes: what the largest of them takes on a GPU
    """

    layers: tuple[int, ...]
    group: str
    host_bytes: int
    gpu_bytes: int
    largest_bytes: int


class Sized(NamedTuple):
    """A file's tensors, measured once for any placement: those of the layers in bands, and those outside."""

    bands: tuple[Band, ...]
    outer: tuple[Stored, ...]


def measure(weights: tuple[Stored, ...]) -> Sized:
    """The loaded tensors of a file."""
    bands: dict[tuple[tuple[int, ...], bool], Band] = {}
    loaded = [stored for stored in weights if not stored.tensor.skipped]
    for stored in loaded:
        if layers := stored.tensor.layers:
            is_expert = stored.tensor.role.startswith(_EXPERTS)
            host, padded = host_bytes(stored), cuda_bytes(stored)
            band = bands.get((layers, is_expert)) or Band(layers, EXPERTS if is_expert else LAYERS, 0, 0, 0)
            bands[layers, is_expert] = Band(layers, band.group, band.host_bytes + host, band.gpu_bytes + padded, max(band.largest_bytes, padded))
    return Sized(tuple(bands.values()), tuple(stored for stored in loaded if not stored.tensor.layers))


def lay(sized: Sized, placement: Placement, *, tied: bool, twice: bool = False) -> Iterator[Weight]:
    """Every loaded tensor on its device.

    The token embedding always stays on the host; where it is tied, the output's device holds a copy of it, if `twice` the host too.
    """
    for stored in sized.outer:
        yield from _outer(stored, placement, tied=tied, twice=twice)
    for band in sized.bands:
        layers = band.layers
        if band.group == EXPERTS and (kept := bisect_left(layers, placement.host_experts)):
            yield Weight(HOST, band.host_bytes * kept, band.largest_bytes, band.group)
            layers = layers[kept:]
        for device, count in placement.spread(layers).items():
            yield Weight(device, (band.host_bytes if device == HOST else band.gpu_bytes) * count, band.largest_bytes, band.group)


def layer_weights(sized: Sized, placement: Placement, *, tied: bool) -> list[int]:
    """Bytes of each layer's weights on a GPU, without experts that stay on the host; last those of the output layer."""
    sizes = [0] * (len(placement.layers) + 1)
    for band in sized.bands:
        for layer in band.layers:
            if band.group != EXPERTS or layer >= placement.host_experts:
                sizes[layer] += band.gpu_bytes
    whole = place(len(placement.layers), None, (1.0,))
    sizes[-1] = sum(weight.bytes for stored in sized.outer for weight in _outer(stored, whole, tied=tied, twice=False) if weight.group.startswith(OUTPUT))
    return sizes


def _outer(stored: Stored, placement: Placement, *, tied: bool, twice: bool) -> Iterator[Weight]:
    role, padded = stored.tensor.role, cuda_bytes(stored)
    if role in _INPUTS:
        yield Weight(HOST, host_bytes(stored), padded, EMBEDDING)
        if tied and role == "token_embd" and (twice or placement.output != HOST):
            size = host_bytes(stored) if placement.output == HOST else padded
            yield Weight(placement.output, size, padded, COPY)
    elif role.startswith("rope_"):
        # A rotary table is loaded once for every device that holds a layer which reads it.
        for device in placement.spread(stored.tensor.read_by or tuple(range(len(placement.layers)))):
            yield Weight(device, host_bytes(stored) if device == HOST else padded, padded, LAYERS)
    elif role in _FIRST_LAYER:
        device = placement.layers[0]
        yield Weight(device, host_bytes(stored) if device == HOST else padded, padded, LAYERS)
    else:
        yield Weight(placement.output, host_bytes(stored) if placement.output == HOST else padded, padded, OUTPUT)
