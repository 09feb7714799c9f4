"""SigLIP with Gemma 3's projector: pooled features, one norm, one matrix."""

from collections.abc import Iterator

from runlocal.architectures.towers.encoder import blocks, grid, linear, norm, patches, table
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tower(vision: Vision) -> Iterator[Tensor]:
    """SigLIP as its checkpoints name it: patch embedding and position table are F32 in every file."""
    yield from patches(vision, float32=True)
    yield table("v.position_embd", vision.hidden_size, vision.position_embeddings or grid(vision) ** 2)
    yield from blocks(vision)
    yield from norm("v.post_ln", vision.hidden_size)


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """The projection is F16 whatever the file's type (conversion/gemma.py)."""
    return (
        *tower(vision),
        *norm("mm.soft_emb_norm", vision.hidden_size, bias=False),
        *linear("mm.input_projection", vision.hidden_size, text_hidden_size, bias=False, source_type="F16"),
    )
