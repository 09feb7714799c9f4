"""What llama.cpp makes of an image before the tower sees it: resized, or cut into tiles, by the family's preprocessing.

Rules of tools/mtmd/mtmd-image.cpp, with its single precision where a rounding hangs on it; limits and grids come from the family's facts
(data/engines/ggml-vision.toml). The words and marks that the prompt puts around an image are no part of it.
"""

from collections.abc import Callable, Mapping
from math import ceil, floor, inf, log, sqrt
from struct import Struct
from typing import Any

from runlocal.architectures.towers.encoder import merge_size
from runlocal.core.model import Vision
from runlocal.core.noun import NamedTuple

Family = Mapping[str, Any]
Size = tuple[int, int]
"""Pixels: width, height."""

_SINGLE = Struct("f")
_MAX_SLICES = 9
"""Slices of MiniCPM-V (max_slice_nums)."""

_LFM2_TILES = (2, 10)
_LFM2_TOLERANCE = 2
_LFM2_TILE = 512

_STEP3_TILE = 504
_STEP3_WIDE = 4.0
_STEP3_SMALL = 1.5
_STEP3_ROUND_UP = 0.2
_STEP3_NARROW = 32


class Piece(NamedTuple):
    """Images of one size that go through the tower.

    width, height: pixels
    many: how many of them
    tokens: embeddings that each becomes
    """

    width: int
    height: int
    many: int
    tokens: int


def pieces(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...] | None:
    """What becomes of an image of that size; None where the family's preprocessing is not known."""
    rule = family.get("preprocess")
    return None if rule is None else _RULES[rule](vision, family, size)


def tokens_range(vision: Vision, family: Family) -> tuple[int, int] | None:
    """The fewest and the most tokens of an image whose size is not known, where it is cut into tiles; else None."""
    rule, tile = family.get("preprocess"), family.get("tile_tokens")
    if rule == "longest_edge":
        across: int = family["longest_edge_tiles"]
        one = _tokens(vision, family, (vision.image_size, vision.image_size))
        return one * (across + 1), one * (across**2 + 1)
    if rule == "lfm2":
        return family["warmup_tokens"], family["most_tokens"] + _LFM2_TILES[1] * tile if tile else family["most_tokens"]
    if rule == "grids" and (grids := _grids(vision, family)):
        one = _tokens(vision, family, (vision.image_size, vision.image_size))
        return one, one * (max(x * y for x, y in grids) + 1)
    return None


def _piece(vision: Vision, family: Family, size: Size, count: int = 1) -> Piece:
    return Piece(*size, many=count, tokens=_tokens(vision, family, size))


def _merge(vision: Vision, family: Family) -> int:
    return int(family.get("merge") or merge_size(vision))


def _tokens(vision: Vision, family: Family, size: Size) -> int:
    """Embeddings that one piece becomes."""
    if family.get("preprocess") == "slices" and vision.tokens_per_image:
        return vision.tokens_per_image  # a resampler: so many whatever the size
    side = vision.patch_size * _merge(vision, family)
    columns, rows = size[0] // side, size[1] // side
    return columns * rows + (rows - 1 if family.get("row_breaks") else 0)


def _fixed(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """One square, whatever the size."""
    return (_piece(vision, family, (vision.image_size, vision.image_size)),)


def _dynamic(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """Its own size, rounded to whole tokens and kept between the least and the most tokens."""
    return (_piece(vision, family, _resized(vision, family, size)),)


def _resized(vision: Vision, family: Family, size: Size) -> Size:
    """calc_size_preserved_ratio."""
    side = vision.patch_size * _merge(vision, family)
    least, most = family["least_tokens"] * side**2, family["most_tokens"] * side**2
    width, height = size
    w, h = (max(side, _nearest(_f(pixels / side)) * side) for pixels in size)
    if w * h > most:
        beta = _f(sqrt(_f(_f(float(height) * width) / most)))
        w, h = (max(side, floor(_f(_f(pixels / beta) / side)) * side) for pixels in size)
    elif w * h < least:
        beta = _f(sqrt(_f(least / _f(float(height) * width))))
        w, h = (ceil(_f(_f(pixels * beta) / side)) * side for pixels in size)
    return w, h


def _canvas(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """The next whole tokens in both directions; the tallest canvas of its shape that holds no more than the most tokens where that is too many."""
    side = vision.patch_size * _merge(vision, family)
    least, most = family["least_tokens"] * side**2, family["most_tokens"] * side**2
    width, height = size
    w, h = (_aligned(pixels, side) for pixels in size)
    if w * h < least:
        scale = sqrt(least / (height * width))
        w, h = (_aligned(max(1, ceil(pixels * scale)), side) for pixels in size)
    if w * h > most:
        w, h = side, side
        low, high = 1, height
        while low <= high:
            middle = (low + high) // 2
            across, down = _aligned(max(1, width * middle // height), side), _aligned(middle, side)
            if across * down <= most:
                w, h, low = across, down, middle + 1
            else:
                high = middle - 1
    return (_piece(vision, family, (w, h)),)


def _aligned(pixels: int, side: int) -> int:
    return -(-pixels // side) * side


def _aspect(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """The grid of whole tokens nearest its shape, the larger of two that are as near; made smaller where it is above the most."""
    side, most = vision.patch_size * _merge(vision, family), family["most_tokens"]
    columns, rows = (pixels / side for pixels in size)
    if rows * columns > most:
        ratio = columns / rows
        rows = sqrt(most / ratio)
        columns = rows * ratio
    grids = [(w, h) for h in (floor(rows), ceil(rows)) for w in (floor(columns), ceil(columns)) if min(w, h) >= 1 and w * h <= most]
    shape = size[1] / size[0]
    best = min(grids, key=lambda grid: (abs(grid[1] / grid[0] - shape), -grid[0] * grid[1]), default=None)
    w, h = best or (max(1, _nearest(columns)), max(1, _nearest(rows)))
    return (_piece(vision, family, (w * side, h * side)),)


def _tiled_by_grid(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """An overview, and where the image is larger than a tile the tiles of the grid that wastes the least of it."""
    side, grids = vision.image_size, _grids(vision, family)
    if not grids or max(size) <= side:
        return _fixed(vision, family, size)
    best, effective, wasted = (1, 1), 0, inf
    for x, y in grids:
        scale = min(_f(x * side / size[0]), _f(y * side / size[1]))
        kept = min(int(_f(size[0] * scale)) * int(_f(size[1] * scale)), size[0] * size[1])
        waste = x * y * side**2 - kept
        if kept > effective or (kept == effective and waste < wasted):
            best, effective, wasted = (x, y), kept, waste
    return (_piece(vision, family, (side, side), best[0] * best[1] + 1),)


def _grids(vision: Vision, family: Family) -> tuple[Size, ...]:
    """Grids of tiles, width and height: those listed, all up to so many a side, or all of at most max_tiles tiles; none for one tile."""
    if vision.max_tiles == 1:
        return ()
    if listed := family.get("grids"):
        return tuple((x, y) for x, y in listed)
    if side := family.get("grid_side"):
        return tuple((x, y) for x in range(1, side + 1) for y in range(1, side + 1) if (x, y) != (1, 1))
    most = family.get("most_tiles", vision.max_tiles)
    return tuple((x, y) for x in range(1, most + 1) for y in range(1, most // x + 1))


def _longest_edge(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """The longer side becomes so many tiles, smaller images too; both sides go up to whole tiles; and an overview."""
    tile, (width, height) = vision.image_size, size
    edge = tile * family["longest_edge_tiles"]
    if width >= height:
        w, h = edge, int(edge / (width / height))
        h += h % 2
    else:
        w, h = int(edge * (width / height)), edge
        w += w % 2
    return (_piece(vision, family, (tile, tile), -(-w // tile) * -(-h // tile) + 1),)


def _sliced(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """An overview of its own shape and up to nine slices of about the tower's area (LLaVA-UHD, as MiniCPM-V has it)."""
    side, (width, height) = vision.image_size, size
    whole = vision.patch_size * vision.spatial_merge_size
    if max(size) <= side:
        return _fixed(vision, family, size)
    overview = _best_resize(size, side, whole, enlarge=False)
    multiple = min(ceil(_f(_f(float(width) * height) / side**2)), _MAX_SLICES)
    grid = _best_grid(multiple, _f(log(_f(width / height))))
    cell = tuple(_divisible(pixels, parts) // parts for pixels, parts in zip(size, grid, strict=True))
    piece = _best_resize((cell[0], cell[1]), side, whole, enlarge=True)
    return _piece(vision, family, overview), _piece(vision, family, piece, grid[0] * grid[1])


def _best_resize(size: Size, side: int, patch: int, *, enlarge: bool) -> Size:
    width, height = size
    if width * height > side**2 or enlarge:
        ratio = _f(width / height)
        height = int(_f(side / _f(sqrt(ratio))))
        width = int(_f(height * ratio))
    return _divisible(width, patch), _divisible(height, patch)


def _divisible(length: int, parts: int) -> int:
    """The nearest multiple, at least one."""
    return max(_nearest(_f(length / parts)) * parts, parts)


def _best_grid(multiple: int, log_ratio: float) -> Size:
    best, least = (1, 1), inf
    for slices in (multiple - 1, multiple, multiple + 1):
        if slices == 1 or slices > _MAX_SLICES:
            continue
        for columns in range(1, slices + 1):
            if slices % columns == 0:
                error = _f(abs(log_ratio - log(columns / (slices // columns))))
                if error < least:
                    best, least = (columns, slices // columns), error
    return best


def _lfm2(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """Its own size up to twice the most pixels; beyond, tiles of 512 pixels in the grid nearest its shape, and a thumbnail."""
    overview = _piece(vision, family, _resized(vision, family, size))
    side = vision.patch_size * _merge(vision, family)
    area = 1
    for pixels in size:
        area *= max(vision.patch_size, round(pixels / side) * side)
    if area <= family["most_tokens"] * side**2 * _LFM2_TOLERANCE:
        return (overview,)
    least, most = _LFM2_TILES
    grids = [(x, y) for n in range(least, most + 1) for x in range(1, n + 1) for y in range(1, n + 1) if least <= x * y <= most]
    best, distance = (1, 1), inf
    for x, y in sorted(dict.fromkeys(grids), key=lambda grid: grid[0] * grid[1]):
        off = _f(abs(_f(_f(size[0] / size[1]) - _f(x / y))))
        if off < distance or (off == distance and _f(size[0] * size[1]) > _f(_f(_LFM2_TILE**2 * x * y) / 2)):
            best, distance = (x, y), off
    return overview, _piece(vision, family, (_LFM2_TILE, _LFM2_TILE), best[0] * best[1])


def _step3(vision: Vision, family: Family, size: Size) -> tuple[Piece, ...]:
    """The whole image as a square, and where it is large or long windows of it, each made 504 pixels wide."""
    overview = _piece(vision, family, (vision.image_size, vision.image_size))
    ratio = _f(size[0] / size[1])
    if min(size) < _STEP3_NARROW and (ratio > _STEP3_WIDE or ratio < 1 / _STEP3_WIDE):
        size = (max(size), max(size))
    longest = family["longest_edge"]
    if max(size) > longest:
        scale = _f(longest / max(size))
        size = (max(1, int(_f(size[0] * scale))), max(1, int(_f(size[1] * scale))))
    longer, shorter = max(size), min(size)
    elongation = _f(longer / shorter)
    if longer <= vision.image_size:
        window = shorter if elongation > _STEP3_SMALL else 0
    else:
        window = min(shorter, _STEP3_TILE) if elongation > _STEP3_WIDE else _STEP3_TILE
    if not window:
        return (overview,)
    windows = 1
    for pixels in size:
        extent = pixels
        if (times := _f(pixels / window)) >= 1:
            extent = window * (floor(times) + (times - floor(times) > _f(_STEP3_ROUND_UP)))
        windows *= 1 if extent <= window else ceil(_f(_f((extent - window) / window) + 1))
    return overview, _piece(vision, family, (_STEP3_TILE, _STEP3_TILE), windows)


def _f(value: float) -> float:
    """The nearest value in single precision."""
    rounded: float = _SINGLE.unpack(_SINGLE.pack(value))[0]
    return rounded


def _nearest(value: float) -> int:
    """The nearest whole number, halves away from zero."""
    return floor(value + 0.5)


_RULES: dict[str, Callable[[Vision, Family, Size], tuple[Piece, ...]]] = {
    "aspect": _aspect,
    "canvas": _canvas,
    "fixed": _fixed,
    "dynamic": _dynamic,
    "grids": _tiled_by_grid,
    "longest_edge": _longest_edge,
    "slices": _sliced,
    "lfm2": _lfm2,
    "step3": _step3,
}
