"""What sees and hears beside the language model."""

from runlocal.core.noun import NamedTuple


class Vision(NamedTuple):
    """The vision tower and its projector.

    tower: the family of the tower, a key of the vision registry
    hidden_size: width of the tower
    layers: transformer blocks
    heads: attention heads
    intermediate_size: width of the MLP
    patch_size: pixels along the side of a patch
    image_size: pixels along the side of the image or tile the tower was made for
    tower_parameters: parameters of the tower as published
    projector_parameters: parameters of the projector as published
    tokens_per_image: embeddings that one image (or tile) becomes; absent where it follows the image's size
    max_tiles: tiles an image is cut into at most
    spatial_merge_size: patches along the side that become one token
    temporal_patch_size: frames per patch
    position_embeddings: rows of the learned position table where they are not one per patch
    head_dim: width of a head where it is not hidden_size / heads
    feature_layer: the layer whose output is used, counted from the end where negative
    deepstack_layers: layers whose output also goes to the language model
    window_size: pixels along the side of an attention window
    full_attention_layers: layers without that window
    global_layers: gated blocks behind the local ones (mllama)
    output_dim: width of the features handed to the projector
    intermediate_layers: layers whose outputs are joined to the features (mllama)
    kv_heads: key and value heads where they are fewer
    projector_intermediate_size: width of the projector's MLP where it has a width of its own
    projector_norm: the projector begins with a layer norm (LFM2-VL)
    standardized: features are shifted and scaled before the projector (Gemma 4)
    stages: pairs of blocks in each stage, whose width is twice that of the one before (DaViT); the other widths are the last stage's
    """

    tower: str
    tower_parameters: int
    projector_parameters: int
    hidden_size: int = 0
    layers: int = 0
    heads: int = 0
    intermediate_size: int = 0
    patch_size: int = 0
    image_size: int = 0
    tokens_per_image: int | None = None
    max_tiles: int = 1
    spatial_merge_size: int = 1
    temporal_patch_size: int = 1
    position_embeddings: int | None = None
    head_dim: int | None = None
    feature_layer: int | None = None
    deepstack_layers: tuple[int, ...] = ()
    window_size: int | None = None
    full_attention_layers: tuple[int, ...] = ()
    global_layers: int = 0
    output_dim: int | None = None
    intermediate_layers: tuple[int, ...] = ()
    kv_heads: int | None = None
    projector_intermediate_size: int | None = None
    projector_norm: bool = True
    standardized: bool = False
    stages: tuple[int, ...] = ()


class Audio(NamedTuple):
    """The speech encoder and its projectors. Where there are no shapes, it is a count alone: no runtime that is priced loads it.

    encoder: the family of the encoder, a key of the registry of encoders where it has shapes
    parameters: parameters of all of it as published
    hidden_size: width of the encoder
    layers: transformer blocks
    heads: attention heads
    intermediate_size: width of the MLP
    mel_bins: bands of the spectrogram
    conv_channels: channels of its convolutions where they are not the width of the encoder
    """

    encoder: str
    parameters: int
    hidden_size: int = 0
    layers: int = 0
    heads: int = 0
    intermediate_size: int = 0
    mel_bins: int = 0
    conv_channels: int = 0
