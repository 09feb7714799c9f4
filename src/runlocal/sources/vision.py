"""The vision tower that a config.json describes (`vision_config`).

Numbers that a key may leave out are transformers' own (`configuration_*.py` and `image_processing_*.py` of the class).
"""

from collections.abc import Callable
from math import isqrt

from runlocal.architectures.towers import is_projector, tensors
from runlocal.architectures.towers.gemma4 import POSITIONS as GEMMA4_POSITIONS
from runlocal.architectures.towers.gemma4_unified import POSITIONS as UNIFIED_POSITIONS
from runlocal.core.model import Vision
from runlocal.sources.keys import Keys

_PIXTRAL = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 1024, "patch_size": 16}
_IDEFICS = {"hidden_size": 1152, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 16, "image_size": 224, "patch_size": 32}
_GEMMA4 = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 16, "num_attention_heads": 12, "patch_size": 16}
_GEMMA4_TOKENS = 280
_MODEL_TYPES = {"clip_vision_model": "llava-clip", "pixtral": "pixtral", "siglip_vision_model": "llava-siglip"}
_LLAMA4_TILES = 16
_INTERNVL_TILES = 12
_MUSE_GRID, _MUSE_FRAMES = 32, 2
_MERGED = 2
_SAM = (768, 12, 12)  # width, layers, heads
_CLIP_FEATURE_LAYER = -2
_STEP3_RATIO = 8960 / 1536
_LFM2_TILE, _LFM2_PROJECTOR, _LFM2_POSITIONS = 512, 2560, 256
_STEP3_MERGED = 4
_STEP3_TILES = 36
_LARGEST_RATIO = 64
_LARGEST_IMAGE = 1 << 16
_LARGEST_LAYERS = 1024


def read(top: Keys, tower: str | None, text_hidden_size: int) -> Vision | None:
    """The tower, None where the file leaves it out.

    tower: key of the registry of towers, None where vision_config's model_type decides
    Raises Problem: bad_file naming a missing field, not_computed for a tower that this version does not lay out.
    """
    keys = top.inner("vision_config")
    if keys is None:
        return None
    kind = tower or _MODEL_TYPES.get(keys.text("model_type") or "")
    if kind is None:
        raise top.not_computed(f"its vision tower is {keys.text('model_type') or 'not named'}")
    vision = _READERS[kind](keys, top)._replace(tower=kind)
    deep = max(vision.layers, vision.global_layers) > _LARGEST_LAYERS
    if deep or (vision.heads and vision.hidden_size % vision.heads) or (vision.image_size and vision.image_size < vision.patch_size):
        raise top.not_computed("the numbers of its vision tower contradict each other")
    laid = tensors(vision, text_hidden_size)
    projector = sum(t.elements * t.count for t in laid if is_projector(t))
    return vision._replace(tower_parameters=sum(t.elements * t.count for t in laid) - projector, projector_parameters=projector)


def _plain(keys: Keys) -> Vision:
    """The numbers that most towers have, under the names that most have them."""
    return Vision(
        tower="",
        tower_parameters=0,
        projector_parameters=0,
        hidden_size=keys.number("hidden_size"),
        layers=keys.number("num_hidden_layers", "depth"),
        heads=keys.number("num_attention_heads", "num_heads", "attention_heads"),
        intermediate_size=keys.number("intermediate_size"),
        patch_size=keys.number("patch_size"),
        image_size=keys.maybe("image_size") or 0,
    )


def _patches(vision: Vision) -> int:
    return (vision.image_size // vision.patch_size) ** 2


def _siglip(keys: Keys, top: Keys) -> Vision:
    vision, tokens = _plain(keys), top.number("mm_tokens_per_image")
    return vision._replace(tokens_per_image=tokens, spatial_merge_size=max(1, isqrt(_patches(vision) // tokens)))


def _gemma4(keys: Keys, top: Keys) -> Vision:
    rows = keys.maybe("position_embedding_size")
    return _plain(keys._replace(defaults=_GEMMA4))._replace(
        tokens_per_image=_gemma_tokens(top),
        position_embeddings=rows if rows != GEMMA4_POSITIONS else None,
        standardized=keys.flag("standardize"),
    )


def _gemma4_unified(keys: Keys, top: Keys) -> Vision:
    rows = keys.maybe("mm_posemb_size")
    return Vision(
        tower="",
        tower_parameters=0,
        projector_parameters=0,
        hidden_size=keys.number("mm_embed_dim"),
        patch_size=keys.maybe("model_patch_size") or keys.number("patch_size") * keys.number("pooling_kernel_size"),
        tokens_per_image=_gemma_tokens(top),
        position_embeddings=rows if rows != UNIFIED_POSITIONS else None,
    )


def _gemma_tokens(top: Keys) -> int:
    return top.maybe("vision_soft_tokens_per_image") or _GEMMA4_TOKENS


def _deepencoder(keys: Keys, top: Keys) -> Vision:
    """Two towers in `width`; only one SAM is known."""
    both = keys.inner("width")
    clip, sam = (both.inner("clip-l-14-224"), both.inner("sam_vit_b")) if both else (None, None)
    if clip is None or sam is None or (sam.number("width"), sam.number("layers"), sam.number("heads")) != _SAM:
        raise top.not_computed("its vision tower is no CLIP behind SAM's ViT-B")
    width = clip.number("width")
    return Vision(
        tower="",
        tower_parameters=0,
        projector_parameters=0,
        hidden_size=width,
        layers=clip.number("layers"),
        heads=clip.number("heads"),
        intermediate_size=4 * width,
        patch_size=16,
        image_size=keys.number("image_size"),
        tokens_per_image=256,
        max_tiles=9,
        spatial_merge_size=4,
    )


def _clip(keys: Keys, top: Keys) -> Vision:
    vision = _plain(keys)
    layer = top.get("vision_feature_layer")
    feature = layer if isinstance(layer, int) and not isinstance(layer, bool) and -vision.layers <= layer < 0 else _CLIP_FEATURE_LAYER
    return vision._replace(tokens_per_image=_patches(vision), max_tiles=_pinpoints(top, vision.image_size), feature_layer=feature)


def _llava_siglip(keys: Keys, top: Keys) -> Vision:
    """Granite Vision: features of several layers, counted from the end, are joined."""
    vision, named = _plain(keys), top.items("vision_feature_layer")
    if not named or not all(isinstance(layer, int) and -vision.layers <= layer < 0 for layer in named):
        raise top.not_computed("it uses the features of one layer of SigLIP")
    joined = tuple(vision.layers + layer for layer in named)
    if joined[-1] != vision.layers - 1:
        raise top.not_computed("it leaves out layers of SigLIP")
    return vision._replace(tokens_per_image=_patches(vision), max_tiles=_pinpoints(top, vision.image_size), intermediate_layers=joined)


def _pinpoints(top: Keys, side: int) -> int:
    """Tiles of the largest arrangement and one for the whole image; 1 where images are not cut."""
    grids = top.items("image_grid_pinpoints")
    if not grids or not side:
        return 1
    most = 1
    for grid in grids:
        if not isinstance(grid, list) or len(grid) != 2 or not all(isinstance(edge, int) and 0 < edge <= _LARGEST_IMAGE for edge in grid):
            raise top.bad("image_grid_pinpoints", "is no list of pairs of pixels")
        most = max(most, (int(grid[0]) // side) * (int(grid[1]) // side))
    return most + 1


def _pixtral(keys: Keys, top: Keys) -> Vision:
    merges = top.maybe("spatial_merge_size") or (_MERGED if top.text("model_type") == "mistral3" else 1)
    return _plain(keys._replace(defaults=_PIXTRAL))._replace(spatial_merge_size=merges)


def _qwen2vl(keys: Keys, top: Keys) -> Vision:
    width = keys.number("embed_dim")
    table = {**keys.table, "hidden_size": width, "intermediate_size": width * (keys.maybe("mlp_ratio") or 4)}
    return _merging(keys._replace(table=table))


def _merging(keys: Keys) -> Vision:
    return _plain(keys)._replace(spatial_merge_size=keys.number("spatial_merge_size"), temporal_patch_size=keys.number("temporal_patch_size"))


def _qwen2_5vl(keys: Keys, top: Keys) -> Vision:
    vision = _merging(keys)
    full = keys.indices("fullatt_block_indexes", vision.layers) or ()
    return vision._replace(window_size=keys.number("window_size"), full_attention_layers=full)


def _qwen3vl(keys: Keys, top: Keys) -> Vision:
    vision = _merging(keys)
    deep = keys.indices("deepstack_visual_indexes", vision.layers) or ()
    return vision._replace(position_embeddings=keys.number("num_position_embeddings"), deepstack_layers=deep)


def _glm4v(keys: Keys, top: Keys) -> Vision:
    """The MLP of the blocks is as wide as the language model, `intermediate_size` is the projector's (modeling_glm4v.py)."""
    return _merging(keys)._replace(intermediate_size=keys.number("out_hidden_size"), projector_intermediate_size=keys.number("intermediate_size"))


def _glm5v(keys: Keys, top: Keys) -> Vision:
    return _merging(keys)._replace(projector_intermediate_size=keys.number("projection_intermediate_size"))


def _llama4(keys: Keys, top: Keys) -> Vision:
    vision, ratio = _plain(keys), keys.share("pixel_shuffle_ratio") or 0.5
    tokens = int(_patches(vision) * ratio**2)
    merged = round(1 / ratio)
    return vision._replace(tokens_per_image=tokens, max_tiles=_LLAMA4_TILES, spatial_merge_size=merged, output_dim=keys.maybe("vision_output_dim"))


def _mllama(keys: Keys, top: Keys) -> Vision:
    vision = _plain(keys)
    return vision._replace(
        tokens_per_image=_patches(vision) + 1,
        max_tiles=keys.number("max_num_tiles"),
        global_layers=keys.number("num_global_layers"),
        output_dim=keys.number("vision_output_dim"),
        intermediate_layers=keys.indices("intermediate_layers_indices", vision.layers) or (),
    )


def _internvl(keys: Keys, top: Keys) -> Vision:
    vision, ratio = _plain(keys), top.share("downsample_ratio") or 0.5
    vision = vision._replace(image_size=top.maybe("force_image_size") or vision.image_size, spatial_merge_size=round(1 / ratio))
    return vision._replace(tokens_per_image=int(_patches(vision) * ratio**2), max_tiles=top.maybe("max_dynamic_patch") or _INTERNVL_TILES)


def _idefics3(keys: Keys, top: Keys) -> Vision:
    vision, merged = _plain(keys._replace(defaults=_IDEFICS)), top.number("scale_factor")
    return vision._replace(spatial_merge_size=merged, tokens_per_image=_patches(vision) // merged**2)


def _moonvit(keys: Keys, top: Keys) -> Vision:
    """Kimi K2.5 writes most keys with `vt_` before them."""
    bare = {key.removeprefix("vt_"): value for key, value in keys.table.items()}
    merged = keys.items("merge_kernel_size")
    if not merged or not isinstance(merged[0], int):
        raise keys.bad("merge_kernel_size", "is missing" if merged is None else "is no pair of numbers")
    positions = keys.number("init_pos_emb_height") * keys.number("init_pos_emb_width")
    return _plain(keys._replace(table=bare))._replace(spatial_merge_size=merged[0], position_embeddings=positions)


def _minimax_m3(keys: Keys, top: Keys) -> Vision:
    merged = keys.inner("img_token_compression_config") or top.inner("img_token_compression_config")
    if merged is None:
        raise keys.bad("img_token_compression_config", "is missing")
    return _plain(keys)._replace(spatial_merge_size=merged.number("spatial_merge_size"), temporal_patch_size=merged.number("temporal_patch_size"))


def _step3vl(keys: Keys, top: Keys) -> Vision:
    """Perception Encoder, whose MLP is given as a ratio; images are cut as processing_step3.py cuts them: 504 pixels along the side, up to 3024."""
    if keys.flag("use_cls_token") or keys.flag("use_ln_post") or not keys.flag("use_ln_pre", True) or top.flag("projector_bias"):
        raise keys.not_computed("its vision tower is not built as Step 3's")
    width, ratio = keys.number("width"), keys.get("mlp_ratio")
    if ratio is not None and (isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < _LARGEST_RATIO):
        raise keys.bad("mlp_ratio", "is no sensible ratio")
    inner = round(width * (ratio or _STEP3_RATIO))
    table = {"hidden_size": width, "num_hidden_layers": keys.number("layers"), "num_attention_heads": keys.number("heads"), "intermediate_size": inner}
    return _plain(keys._replace(table={**keys.table, **table}))._replace(spatial_merge_size=_STEP3_MERGED, max_tiles=_STEP3_TILES)


def _muse(keys: Keys, top: Keys) -> Vision:
    """A position grid of the tower's own; llama.cpp's converter makes the nominal size of an image of it."""
    merged, side = keys.maybe("merge_size") or _MERGED, keys.maybe("pos_emb_height") or _MUSE_GRID
    patch = keys.number("patch_size")
    return _plain(keys)._replace(image_size=side * patch * merged, spatial_merge_size=merged, temporal_patch_size=keys.maybe("patch_temporal") or _MUSE_FRAMES)


def _lfm2(keys: Keys, top: Keys) -> Vision:
    """SigLIP 2 for tiles of 512 pixels; layers behind the one whose features are used are left out by the converter."""
    text, inner, used = top.inner("text_config"), top.maybe("projector_hidden_size") or _LFM2_PROJECTOR, top.get("vision_feature_layer")
    vision = _plain(keys)
    behind = -(used + 1) if isinstance(used, int) and not isinstance(used, bool) and -vision.layers <= used < 0 else 0
    positions = keys.maybe("num_patches")
    return vision._replace(
        layers=vision.layers - behind,
        image_size=top.maybe("tile_size") or _LFM2_TILE,
        spatial_merge_size=top.maybe("downsample_factor") or _MERGED,
        position_embeddings=positions if positions != _LFM2_POSITIONS else None,
        projector_intermediate_size=inner if text is None or inner != text.maybe("hidden_size") else None,
        projector_norm=top.flag("projector_use_layernorm", True),
    )


_READERS: dict[str, Callable[[Keys, Keys], Vision]] = {
    "deepseekocr": _deepencoder,
    "gemma4": _gemma4,
    "gemma4_unified": _gemma4_unified,
    "glm4v": _glm4v,
    "glm5v": _glm5v,
    "idefics3": _idefics3,
    "internvl": _internvl,
    "kimik25": _moonvit,
    "kimivl": _moonvit,
    "lfm2": _lfm2,
    "llama4": _llama4,
    "llava-clip": _clip,
    "llava-siglip": _llava_siglip,
    "minimax-m3": _minimax_m3,
    "mllama": _mllama,
    "muse": _muse,
    "pixtral": _pixtral,
    "qwen2_5vl": _qwen2_5vl,
    "qwen2vl": _qwen2vl,
    "qwen3vl": _qwen3vl,
    "siglip": _siglip,
    "step3vl": _step3vl,
}
