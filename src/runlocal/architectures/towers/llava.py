"""LLaVA 1.5 and 1.6: OpenAI's CLIP up to the layer whose features are used, and an MLP.

The position table counts as F32, as today's converter writes such tables; the script that made the published F16 files of 2023 and 2024
(tools/mtmd/legacy-models) wrote it in F16, 1.1 MiB less.
"""

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

LAST_LAYER = -1


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """Layers behind `feature_layer` are not in the file; models that cut an image into tiles have a learned newline."""
    d, feature = vision.hidden_size, LAST_LAYER if vision.feature_layer is None else vision.feature_layer
    return (
        *patches(vision, bias=False),
        vector("v.class_embd", d),
        table("v.position_embd", d, grid(vision) ** 2 + 1),
        *norm("v.pre_ln", d),
        *blocks(vision, layers=vision.layers + feature - LAST_LAYER),
        *norm("v.post_ln", d),
        *linear("mm.0", d, text_hidden_size),
        *linear("mm.2", text_hidden_size, text_hidden_size),
        *((vector("mm.image_newline", text_hidden_size),) if vision.max_tiles > 1 else ()),
    )
