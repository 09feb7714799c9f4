"""Pixtral: a ViT with rotary positions and gated MLPs; from Mistral Small 3.1 on with a patch merger before the projector."""

from runlocal.architectures.towers.encoder import blocks, linear, merged_width, norm, patches, vector
from runlocal.core.model import Vision
from runlocal.core.tensor import Tensor


def tensors(vision: Vision, text_hidden_size: int) -> tuple[Tensor, ...]:
    """The language model's embedding of [IMG_BREAK] is copied into the projector file."""
    d = vision.hidden_size
    merges = vision.spatial_merge_size > 1
    merger = (*norm("mm.input_norm", d, bias=False), *linear("mm.patch_merger", merged_width(vision), d, bias=False)) if merges else ()
    return (
        *patches(vision, bias=False),
        *norm("v.pre_ln", d, bias=False),
        *blocks(vision, gated=True, attention_bias=False, output_bias=False, mlp_bias=False, norm_bias=False),
        *merger,
        *linear("mm.1", d, text_hidden_size, bias=not merges),
        *linear("mm.2", text_hidden_size, text_hidden_size, bias=not merges),
        vector("v.token_embd.img_break", text_hidden_size),
    )
