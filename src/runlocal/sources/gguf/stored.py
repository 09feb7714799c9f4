"""What a GGUF file really stores: its tensors in groups, each with the type it has in the file."""

import re
from collections.abc import Iterator, Mapping

from runlocal.core.errors import Code, Problem
from runlocal.core.tensor import StorageType, Tensor
from runlocal.quants.gguf import Stored
from runlocal.sources.files import clean
from runlocal.sources.gguf.header import Header, TensorInfo

# Numbers of `enum ggml_type`, https://github.com/ggml-org/ggml/blob/master/include/ggml.h. Types that no model's weights are stored in
# (integers but I32, intermediate results) and types that were removed are left out.
TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 26: "I32", 29: "IQ1_M",
    30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
}  # fmt: skip

# Numbers of `enum llama_ftype`, https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S",
    15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S",
    25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
_GUESSED = 1024
"""Added to a file type that the loader, not the file, made up."""

_LAYER = re.compile(r"blk\.(\d{1,6})\.(.+)")

Types = Mapping[str, StorageType]


def role_and_layer(name: str) -> tuple[str, int | None]:
    """The tensor's role and layer: `blk.3.attn_q.weight` is `attn_q` of layer 3, `output.weight` is `output` of none."""
    match = _LAYER.fullmatch(name)
    return (match[2] if match else name).removesuffix(".weight"), int(match[1]) if match else None


def _named(header: Header, name: str) -> tuple[str, int | None]:
    """The same, with the role that the tensor has: LFM2's output norm is called after the embedding."""
    role, layer = role_and_layer(name)
    return "output_norm" if role == "token_embd_norm" and header.fields.get("general.architecture") in ("lfm2", "lfm2moe") else role, layer


def quantization(header: Header) -> str | None:
    """What the file calls its quantization, else the type that most values are stored in; None where no tensor has a known type."""
    declared = header.fields.get("general.file_type")
    if isinstance(declared, int) and (name := FILE_TYPES.get(declared & ~_GUESSED)):
        return name
    values: dict[str, int] = {}
    for tensor in header.tensors:
        if name := TYPES.get(tensor.type):
            values[name] = values.get(name, 0) + _elements(tensor)
    return max(values, key=values.__getitem__) if values else None


def stored(header: Header, types: Types, running_layers: int | None = None, loaded_ahead: tuple[str, ...] = ()) -> tuple[Stored, ...]:
    """Every tensor of the file with its type, equal tensors of several layers as one group.

    types: storage types by name
    running_layers: layers that run; tensors of layers behind them are marked as skipped
    loaded_ahead: beginnings of the names of those that are loaded all the same
    Raises Problem: not_computed for a type whose size is not known, bad_file where a row is no whole number of blocks.
    """
    layers: dict[tuple[str, tuple[int, ...], int, bool], list[int]] = {}
    for tensor in header.tensors:
        role, layer = _named(header, tensor.name)
        skipped = layer is not None and running_layers is not None and layer >= running_layers and not role.startswith(loaded_ahead)
        group = layers.setdefault((role, tensor.dimensions, tensor.type, skipped), [])
        if layer is not None:
            group.append(layer)
    return tuple(
        Stored(_tensor(role, dimensions, tuple(sorted(where)), skipped), _type(role, dimensions, number, types))
        for (role, dimensions, number, skipped), where in layers.items()
    )


def tensor_bytes(header: Header, types: Types) -> int:
    """Bytes of all tensors as the file stores them, without header and padding. Raises Problem as `stored` does."""
    return sum(_type(t.name, t.dimensions, t.type, types).row_bytes(t.dimensions[0]) * (_elements(t) // t.dimensions[0]) for t in header.tensors)


def missing_bytes(header: Header, types: Types) -> int:
    """Bytes of tensors that the file should have and does not: the download did not finish. 0 where it is whole."""
    ends = list(header.data_offset_bytes)
    for tensor in header.tensors:
        rows = _elements(tensor) // tensor.dimensions[0]
        size = _type(tensor.name, tensor.dimensions, tensor.type, types).row_bytes(tensor.dimensions[0]) * rows
        ends[tensor.part] = max(ends[tensor.part], header.data_offset_bytes[tensor.part] + tensor.offset + size)
    return sum(max(0, end - size) for end, size in zip(ends, header.file_bytes, strict=True)) if header.tensors else 0


_SHORT = "ssm_conv1d_"


def matrices(header: Header) -> Iterator[tuple[str, int | None, tuple[int, ...]]]:
    """Role, layer and dimensions of every tensor."""
    for tensor in header.tensors:
        role, layer = _named(header, tensor.name)
        # Convolutions of Kimi delta attention are written with dimensions of one between length and width, and behind them.
        short = role.startswith(_SHORT)
        yield role, layer, tuple(length for length in tensor.dimensions if length > 1) if short else tensor.dimensions


def _elements(tensor: TensorInfo) -> int:
    elements = 1
    for length in tensor.dimensions:
        elements *= length
    return elements


def _tensor(role: str, dimensions: tuple[int, ...], layers: tuple[int, ...], skipped: bool) -> Tensor:
    columns, rows, *stacked = (*dimensions, 1)[: max(2, len(dimensions))]
    copies = 1
    for length in stacked:
        copies *= length
    return Tensor(role=role, columns=columns, rows=rows, copies=copies, layers=layers, quantizable=rows > 1, skipped=skipped)


def _type(role: str, dimensions: tuple[int, ...], number: int, types: Types) -> StorageType:
    known = types.get(TYPES.get(number, ""))
    if known is None:
        raise Problem(
            Code.NOT_COMPUTED,
            f"the tensor {clean(role)} is stored in ggml's type {number}, whose size this version does not know",
            hint="a file made with another quantization, or `runlocal check` by the model's name",
        )
    if dimensions[0] % known.block_elements:
        what = f"the tensor {clean(role)} has rows of {dimensions[0]} values, no whole number of {known.name}'s blocks"
        raise Problem(Code.BAD_FILE, what, hint="download or convert it again")
    return known
