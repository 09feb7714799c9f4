"""DeepSeek-OCR's DeepEncoder: SAM's ViT-B over windows, convolutions that make sixteen patches one, OpenAI's CLIP over those, and one projection.

`Vision` describes CLIP; SAM is always the same. CLIP's own patches are in the file, but SAM's take their place.
https://github.com/ggml-org/llama.cpp/blob/master/tools/mtmd/models/deepseekocr.cpp
"""

from collections.abc import Iterator

from runlocal.architectures.towers.encoder import CHANNELS, blocks, grid, linear, norm, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

_CLIP_PATCH, _CLIP_IMAGE = 14, 224
_SAM_WIDTH, _SAM_LAYERS, _SAM_MLP, _SAM_HEAD = 768, 12, 3072, 64
_SAM_WINDOW = 14
_SAM_GLOBAL = (2, 5, 8, 11)  # layers that see the whole image
_NECK = 256
_DOWNSAMPLED = (512, 1024)
_KERNEL = 9  # 3 x 3


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d = vision.hidden_size
    return (
        *_sam(vision),
        Tensor(role="v.patch_embd", columns=CHANNELS * _CLIP_PATCH**2, rows=d, quantizable=False),
        vector("v.class_embd", d),
        table("v.position_embd", d, (_CLIP_IMAGE // _CLIP_PATCH) ** 2 + 1),
        *norm("v.pre_ln", d),
        *blocks(vision, fused=True),
        *linear("mm.fc", d + _DOWNSAMPLED[-1], text_hidden_size),
        vector("mm.image_newline", text_hidden_size),
        vector("mm.view_seperator", text_hidden_size),
    )


def _sam(vision: Vision) -> Iterator[Tensor]:
    """Tables and convolutions behind the layers are always F32."""
    d, every = _SAM_WIDTH, tuple(range(_SAM_LAYERS))
    yield table("v.sam.pos_embd", d, grid(vision) ** 2)
    yield from linear("v.sam.patch_embd", CHANNELS * vision.patch_size**2, d)
    yield from norm("v.sam.blk.ln1", d, every)
    yield from linear("v.sam.blk.attn_qkv", d, 3 * d, every)
    yield from linear("v.sam.blk.attn_out", d, d, every)
    local = tuple(layer for layer in every if layer not in _SAM_GLOBAL)
    for name, layers, side in (("window", local, _SAM_WINDOW), ("image", _SAM_GLOBAL, grid(vision))):
        for axis in ("h", "w"):
            role = f"v.sam.blk.attn_rel_pos_{axis}.{name}"
            yield Tensor(role=role, columns=_SAM_HEAD, rows=2 * side - 1, layers=layers, quantizable=False)
    yield from norm("v.sam.blk.ln2", d, every)
    yield from linear("v.sam.blk.ffn_up", d, _SAM_MLP, every)
    yield from linear("v.sam.blk.ffn_down", _SAM_MLP, d, every)
    yield Tensor(role="v.sam.neck.0", columns=d, rows=_NECK, quantizable=False)
    yield from norm("v.sam.neck.1", _NECK)
    yield Tensor(role="v.sam.neck.2", columns=_NECK * _KERNEL, rows=_NECK, quantizable=False)
    yield from norm("v.sam.neck.3", _NECK)
    width = _NECK
    for number, wider in enumerate(_DOWNSAMPLED, start=2):
        yield Tensor(role=f"v.sam.net_{number}", columns=width * _KERNEL, rows=wider, quantizable=False)
        width = wider
