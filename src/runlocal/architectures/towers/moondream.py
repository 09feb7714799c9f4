"""Moondream 2: SigLIP's blocks, the last of them twice, and an MLP, as the file that its authors made for llama.cpp.

Their script (create_gguf.py of https://github.com/vikhyat/moondream) writes every matrix in F16, the position table too. The graph of LLaVA leaves
the last block out, so a copy of it stands behind. The checkpoint's MLP reads the features of the whole image and of its crops side by side, the
file's those of one image; what points at things and finds them is in the checkpoint alone.
"""

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """A projector without a width of its own is four times as wide as the language model."""
    d, inner = vision.hidden_size, vision.projector_intermediate_size or 4 * text_hidden_size
    return (
        *patches(vision),
        Tensor(role="v.position_embd", columns=d, rows=grid(vision) ** 2, source_type="F16"),
        *blocks(vision, layers=vision.layers + 1),
        *norm("v.post_ln", d),
        *linear("mm.0", d, inner),
        *linear("mm.2", inner, text_hidden_size),
    )
