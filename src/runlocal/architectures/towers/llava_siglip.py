"""Granite Vision: SigLIP without its last norm and its pooling head, features of several layers joined, and LLaVA's MLP and newline.

The script that makes the file (tools/mtmd/legacy-models) writes every matrix in F16, the position table too.
"""

from runlocal.architectures.towers.encoder import blocks, grid, linear, patches, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, joined = vision.hidden_size, len(vision.intermediate_layers) or 1
    return (
        *patches(vision),
        Tensor(role="v.position_embd", columns=d, rows=grid(vision) ** 2, source_type="F16"),
        *blocks(vision),
        *linear("mm.0", joined * d, text_hidden_size),
        *linear("mm.2", text_hidden_size, text_hidden_size),
        vector("mm.image_newline", text_hidden_size),
    )
