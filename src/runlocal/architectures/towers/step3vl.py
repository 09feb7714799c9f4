"""Step 3's perception encoder: a ViT with a position table beside rotary positions and layer scales, two strided convolutions, a matrix."""

from runlocal.architectures.towers.encoder import CONVOLUTION, blocks, grid, linear, norm, patches, table, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor

KERNEL = 3
WIDENING = 2
"""Each of the two convolutions halves the sides and doubles the width."""


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, every = vision.hidden_size, tuple(range(vision.layers))
    once, twice = WIDENING * d, WIDENING**2 * d
    return (
        *patches(vision, bias=False),
        table("v.position_embd", d, grid(vision) ** 2),
        *norm("v.pre_ln", d),
        *blocks(vision, fused=True),
        vector("v.blk.ls1", d, every),
        vector("v.blk.ls2", d, every),
        *linear("mm.0", KERNEL**2 * d, once, source_type=CONVOLUTION),
        *linear("mm.1", KERNEL**2 * once, twice, source_type=CONVOLUTION),
        *linear("mm.model.fc", twice, text_hidden_size, bias=False),
    )
