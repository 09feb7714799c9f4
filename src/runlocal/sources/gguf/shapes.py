"""The tensors of a file by their roles: how large, and in which layers."""

from runlocal.core.noun import NamedTuple
from runlocal.sources.files import bad_file
from runlocal.sources.gguf import delta
from runlocal.sources.gguf.metadata import BROKEN, Metadata
from runlocal.sources.gguf.stored import matrices
from runlocal.sources.gguf.windows import WINDOWS

# What may differ between layers with and without a window.
_BY_HEADS = ("attn_q", "attn_k", "attn_v", "attn_output", "attn_gate")
# Layers of these have several shapes; their own modules, or a function here, tell them apart.
_VARYING = ("deci", "gemma4", *delta.KIMI)
_BY_RATIO = "attn_compressor_"  # beginning of the names of tensors whose shape follows the layer's ratio


class Shapes(NamedTuple):
    """Dimensions by role: of the first layer that has the tensor, and which layers have it."""

    dimensions: dict[str, tuple[int, ...]]
    layers: dict[str, tuple[int, ...]]

    def has(self, *roles: str) -> bool:
        return any(role in self.dimensions for role in roles)


def shapes_of(fields: Metadata) -> Shapes:
    """The tensors by role. Raises Problem where tensors of one role differ over the layers beyond what a window explains."""
    rule = WINDOWS.get(fields.architecture)
    varied = _BY_HEADS if rule and rule.own_heads else ()
    dimensions: dict[str, tuple[int, ...]] = {}
    layers: dict[str, list[int]] = {}
    for role, layer, shape in matrices(fields.header):
        known = role in varied or fields.architecture in _VARYING or role.startswith(_BY_RATIO)
        if dimensions.setdefault(role, shape) != shape and not known:
            raise fields.not_computed(f"the tensors {role} differ from layer to layer")
        if layer is not None:
            if layer >= fields.layers:
                raise bad_file(fields.path, f"a tensor stands in layer {layer}, but there are {fields.layers} layers", hint=BROKEN)
            layers.setdefault(role, []).append(layer)
    return Shapes(dimensions, {role: tuple(sorted(found)) for role, found in layers.items()})


def rows_of(fields: Metadata, shapes: Shapes, role: str) -> int:
    """Rows of the matrix of that role."""
    found = shapes.dimensions.get(role)
    if found is None or len(found) < 2:
        raise bad_file(fields.path, f"the matrix {role} is missing" if found is None else f"{role} is no matrix", hint=BROKEN)
    return found[1]


def table_rows_of(shapes: Shapes, role: str) -> int | None:
    """Rows of a table, None where the file has none; of one row the file keeps the row alone."""
    found = shapes.dimensions.get(role)
    return None if found is None else found[1] if len(found) > 1 else 1


def columns_of(fields: Metadata, shapes: Shapes, role: str) -> int:
    rows_of(fields, shapes, role)
    return shapes.dimensions[role][0]
