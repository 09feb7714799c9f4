"""ERNIE 4.5 VL: Qwen2-VL's blocks behind a patch embedding of one frame, and a projector that merges space, then time (models/ernie4_5_vl_moe)."""

from collections.abc import Iterator

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    merged = merged_width(vision)
    return (
        *patches(vision, bias=False),
        *blocks(vision),
        *norm("v.post_ln", vision.hidden_size),
        *_merger("mm.spatial", merged, merged),
        *_merger("mm.temporal", merged * vision.temporal_patch_size, merged),
        *linear("mm.0", merged, text_hidden_size),
        *norm("mm.post_norm", text_hidden_size, bias=False),
    )


def _merger(role: str, columns: int, rows: int) -> Iterator[Tensor]:
    yield from linear(f"{role}.0", columns, rows)
    yield from linear(f"{role}.2", rows, rows)
    yield from norm(f"{role}.norm", rows)
