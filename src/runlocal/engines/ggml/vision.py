"""What an image costs in llama.cpp: the projector file's weights, the image graph's buffer, the tokens in the context.

Rules of tools/mtmd/clip.cpp and of the converter (conversion/base.py); per-family figures come as `facts`
(data/engines/ggml-vision.toml). The graph of mllama is that of Ollama's own engine.
"""

from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any

from runlocal.architectures import towers
from runlocal.architectures.towers.encoder import CHANNELS, CONVOLUTION, grid, merge_size
from runlocal.core.errors import Code, Problem
from runlocal.core.model import ModelSpec, Vision
from runlocal.core.noun import NamedTuple
from runlocal.core.part import Basis, Kind, Part
from runlocal.core.tensor import StorageType, Tensor
from runlocal.core.units import mib, pad
from runlocal.core.workload import Workload
from runlocal.engines.ggml.image_size import Piece, pieces, tokens_range

Facts = Mapping[str, Any]

FOLLOWS_F16 = frozenset({"v.patch_embd", "v.sam.patch_embd", "v.patch_embd.1", "mm.patch_merger"})
"""Convolutions: F16 in an F16 file, F32 in every other (MmprojModel.tensor_force_quant)."""

F32_BYTES = 4
ALIGNMENT = 128
"""CUDA buffers are a multiple of it."""

MLPS_IN_MASK = 3
"""Outputs of the MLP's matrices that go where the mask of window attention lay, once its copy in F16 is made."""

QUERIES_IN_ACTIVATIONS = 4
"""The resampler's queries lie where a part of the tower's activations lay: one in so many."""

MLLAMA_TILE_PADDING = 8
MLLAMA_TILE_EMBEDDINGS = 9


class ImageBuffer(NamedTuple):
    """The image graph's activations.

    bytes: on the device that holds the tower
    basis: measured with this family of towers, or estimated
    because: the formula with its numbers and the range
    """

    bytes: int
    basis: Basis
    because: str


class ImageTokens(NamedTuple):
    """Tokens of the context that images take.

    least: at one tile or at the size of the image at start-up
    most: at the largest size or the most tiles that are let through; equal to `least` where the size of the images is known
    """

    least: int
    most: int


def storage_name(tensor: Tensor, mmproj_type: str, types: Mapping[str, StorageType]) -> str:
    """The type in which a projector file of `mmproj_type` stores the tensor.

    Rows that are no whole number of the type's blocks are F16, as the converter falls back.
    """
    if tensor.source_type == CONVOLUTION:
        return "F16" if mmproj_type == "F16" else "F32"
    if tensor.source_type is not None:
        return tensor.source_type
    if not tensor.quantizable:
        return "F32"
    if tensor.role in FOLLOWS_F16:
        return "F16" if mmproj_type == "F16" else "F32"
    return mmproj_type if tensor.columns % types[mmproj_type].block_elements == 0 else "F16"


def weights_bytes(tensors: Iterable[Tensor], mmproj_type: str, types: Mapping[str, StorageType]) -> int:
    """Bytes of the tensors in a projector file of `mmproj_type`.

    Raises Problem (bad_value) for a type that is no storage type.
    """
    if mmproj_type not in types:
        raise Problem(
            Code.BAD_VALUE, f"{mmproj_type} is no storage type of a projector file", hint="F16, BF16 and Q8_0 are", candidates=("F16", "BF16", "Q8_0")
        )
    return sum(types[storage_name(t, mmproj_type, types)].row_bytes(t.columns) * t.rows * t.copies * t.count for t in tensors)


def vision_parts(model: ModelSpec, workload: Workload, device: str, types: Mapping[str, StorageType], facts: Facts) -> tuple[Part, ...]:
    """Tower, projector and image graph on `device`; nothing for a text model or a workload without vision.

    Raises Problem (not_computed) for a tower that is not laid out or whose graph is not known.
    """
    vision = model.vision
    if vision is None or not workload.vision:
        return ()
    d = model.text.hidden_size
    mllama = vision.tower == "mllama"
    stored = "F16" if mllama else workload.mmproj_type
    tensors = towers.tensors(vision, d)
    parts = []
    for label, wanted in (("vision tower", False), ("projector", True)):
        group = tuple(t for t in tensors if towers.is_projector(t) is wanted)
        because = f"{sum(t.elements * t.count for t in group):,} values, matrices {stored}; norms, biases and position tables F32"
        size = weights_bytes(group, stored, types)
        parts.append(Part(kind=Kind.VISION, label=label, device=device, bytes=size, basis=Basis.EXACT, because=because, source=facts["source_weights"]))
    if workload.images:
        buffer = mllama_image_graph(vision) if mllama else image_buffer(vision, d, workload.flash_attention, workload.images, facts, workload.image_size)
        source = facts["source_mllama" if mllama else "source"]
        parts.append(
            Part(kind=Kind.VISION_BUFFER, label="image graph", device=device, bytes=buffer.bytes, basis=buffer.basis, because=buffer.because, source=source)
        )
    return tuple(parts)


def image_buffer(
    vision: Vision, text_hidden_size: int, flash_attention: bool | None, images: int, facts: Facts, image_size: tuple[int, int] | None = None
) -> ImageBuffer:
    """The buffer that llama.cpp reserves with one square image when it starts, grown to what an image of `image_size` pixels needs.

    4 bytes × positions × values per position, the largest of the family's forms; without flash attention the scores of all heads
    (heads × positions² values) are among them.
    """
    family = _family(vision, facts)
    side = _warmup_side(vision, family)
    flash = flash_attention is not False and flash_available(vision, facts)
    graph = _graph(vision, text_hidden_size, family, (side, side), 1, flash=flash)
    made = pieces(vision, family, image_size) if image_size else None
    for piece in made or ():
        together = min(piece.many * images, max(1, family.get("batch_tokens", 0) // piece.tokens))
        graph = max(graph, _graph(vision, text_hidden_size, family, (piece.width, piece.height), together, flash=flash), key=lambda one: one[0])
    size, because = graph
    because += f", {'with' if flash else 'without'} flash attention"
    if family.get("row_breaks"):
        because += f"; row breaks of {text_hidden_size:,} values"
    basis, residual = Basis(family["basis"]), family["residual"]
    if basis is Basis.ESTIMATED:
        size = int(size * (1 + residual))
        because += f" + {residual:.0%}, since the form is a neighbouring family's: between this less {2 * residual:.0%} and this"
    else:
        because += f"; within {residual:.1%} of what was measured"
    most = family.get("most_tokens", 0) * _merge(vision, family) ** 2
    if image_size is not None:
        because += f"; an image of {image_size[0]:,} × {image_size[1]:,} goes in as {_spelled(made)}" if made else "; other sizes are not known"
    elif most > (side // vision.patch_size) ** 2:
        because += f"; a larger image (up to {most:,} patches) makes it grow with the patches{'' if flash else ', the scores with their square'}"
    if images > 1 and " at once" not in because:
        if image_size is None and (batch := family.get("batch_tokens")):
            because += f"; images of one size go through together up to {batch:,} tokens, which counts where their size is given"
        else:
            because += f"; {images} images go through one after another: they take context, not a larger buffer"
    return ImageBuffer(bytes=pad(size, ALIGNMENT), basis=basis, because=because)


def _graph(vision: Vision, text_hidden_size: int, family: dict[str, Any], pixels: tuple[int, int], together: int, *, flash: bool) -> tuple[int, str]:
    """Bytes of the graph of so many images of one size at once, and the form they come from."""
    columns, rows = (side // vision.patch_size for side in pixels)
    positions = columns * rows + family.get("class_token", False)
    values = _term_values(vision, text_hidden_size, positions)
    forms: list[dict[str, float]] = family["flash" if flash else "plain"]
    form = max(forms, key=lambda terms: sum(factor * values[name] for name, factor in terms.items()))
    size = int(F32_BYTES * together * positions * sum(factor * values[name] for name, factor in form.items()))
    spelled = " + ".join(f"{factor:g} × {values[name]:,} {name}" for name, factor in form.items())
    images = f"a {pixels[0]} × {pixels[1]} image" if together == 1 else f"{together} images of {pixels[0]} × {pixels[1]} at once"
    if family.get("row_breaks"):
        size += F32_BYTES * (rows // _merge(vision, family)) * text_hidden_size
    return size, f"4 bytes × {together * positions:,} positions of {images} × ({spelled})"


def _spelled(made: tuple[Piece, ...]) -> str:
    """`4 of 448 × 448 and 1 of 336 × 588`; a single piece is its size."""
    several = len(made) > 1 or made[0].many > 1
    return " and ".join(f"{f'{piece.many} of ' if several else ''}{piece.width:,} × {piece.height:,}" for piece in made)


def flash_available(vision: Vision, facts: Facts) -> bool:
    """Whether CUDA's flash attention takes the width of the tower's heads (a tower without heads needs none)."""
    if not vision.heads:
        return True
    width = vision.head_dim or vision.hidden_size // vision.heads
    return [width, width] in facts["flash_attention_head_dims"]


def image_tokens(vision: Vision, images: int, facts: Facts, image_size: tuple[int, int] | None = None) -> ImageTokens:
    """Tokens of the context that `images` images take; none in mllama, whose image cache is no part of the context.

    image_size: pixels of each, width and height; where it is not given, or what becomes of it is not known, a range
    """
    if vision.tower == "mllama":
        return ImageTokens(least=0, most=0)
    family = _family(vision, facts)
    if image_size and (made := pieces(vision, family, image_size)):
        exact = images * sum(piece.tokens * piece.many for piece in made)
        return ImageTokens(least=exact, most=exact)
    if cut := tokens_range(vision, family):
        return ImageTokens(least=cut[0] * images, most=cut[1] * images)
    least, most = family.get("warmup_tokens"), family.get("most_tokens")
    if least is None or most is None:
        least = vision.tokens_per_image or (grid(vision) // merge_size(vision)) ** 2
        most = family.get("tile_tokens", least) * vision.max_tiles + (least if family.get("overview") and vision.max_tiles > 1 else 0)
    if family.get("row_breaks"):
        least, most = (tokens + isqrt(tokens) - 1 for tokens in (least, most))
    return ImageTokens(least=least * images, most=most * images)


def mllama_image_graph(vision: Vision) -> ImageBuffer:
    """The image graph of mllama as Ollama's loader estimated it (VisionGraphSize in fs/ggml/ggml.go, until November 2025).

    4 bytes × (8 + side² × 3 × tiles + width × patches × tiles + 9 × width × padded × tiles + (padded × tiles)² × heads), where
    `patches` are those of a tile, and `padded` is one more (the class token) rounded up to a multiple of 8.
    """
    side, tiles, d, heads = vision.image_size, vision.max_tiles, vision.hidden_size, vision.heads
    patches = grid(vision) ** 2
    padded = pad(patches + 1, MLLAMA_TILE_PADDING)
    scores = (padded * tiles) ** 2 * heads
    inputs = 8 + side**2 * CHANNELS * tiles + d * patches * tiles
    size = F32_BYTES * (inputs + MLLAMA_TILE_EMBEDDINGS * d * padded * tiles + scores)
    because = (
        f"4 bytes × (8 + {side}² × 3 × {tiles} + {d:,} × {patches:,} × {tiles} + 9 × {d:,} × {padded:,} × {tiles} + ({padded:,} × {tiles})² × {heads} heads): "
        f"what Ollama's loader set aside for an image of {tiles} tiles, {mib(F32_BYTES * scores)} of it attention scores; "
        f"between {mib(size - F32_BYTES * scores)} (scores never held at once) and this"
    )
    return ImageBuffer(bytes=size, basis=Basis.ESTIMATED, because=because)


def _family(vision: Vision, facts: Facts) -> dict[str, Any]:
    family: dict[str, Any] | None = facts["towers"].get(vision.tower)
    if family is None:
        raise Problem(
            Code.NOT_COMPUTED,
            f"the image graph of the vision tower {vision.tower!r} is not known in this version",
            hint="--no-vision prices the language model alone",
        )
    least = facts.get("image_least_tokens")
    return family if least is None else {**family, "least_tokens": least}


def _merge(vision: Vision, family: dict[str, Any]) -> int:
    return int(family.get("merge") or merge_size(vision))


def _warmup_side(vision: Vision, family: dict[str, Any]) -> int:
    """Pixels along the side of the image that llama.cpp reserves for."""
    tokens = family.get("warmup_tokens")
    return vision.image_size if tokens is None else isqrt(tokens) * vision.patch_size * _merge(vision, family)


def _term_values(vision: Vision, text_hidden_size: int, positions: int) -> dict[str, int]:
    """The terms of a form, in values per position."""
    mlp = vision.intermediate_size
    queries = (vision.tokens_per_image or 0) * text_hidden_size // positions
    crowded = queries > vision.hidden_size // QUERIES_IN_ACTIVATIONS
    return {
        "hidden": vision.hidden_size,
        "intermediate": mlp,
        "pixels": CHANNELS * vision.patch_size**2,
        "text": text_hidden_size,
        "projected": text_hidden_size // merge_size(vision) ** 2,
        "deepstack": text_hidden_size * len(vision.deepstack_layers) // merge_size(vision) ** 2,
        "scores": vision.heads * positions,
        "mask": positions,
        "beside_mask": max(0, MLPS_IN_MASK * mlp - positions // mlp * mlp) if mlp else 0,
        "queries": queries if crowded else 0,
        "beside_queries": vision.hidden_size if crowded else 0,
        "one": 1,
    }
