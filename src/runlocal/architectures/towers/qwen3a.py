"""Qwen3-Omni's speech encoder: three convolutions in two dimensions, a ViT with Whisper's positions, and two matrices to the language model's width."""

from runlocal.architectures.towers.encoder import CHANNEL_WINDOW, SPEECH_POSITIONS, linear, norm, speech_blocks, table, vector
from runlocal.core.model import Audio
from runlocal.core.tensor import Tensor

HALVINGS = 3
"""Convolutions, each of which halves the bands and the frames."""


def tensors(audio: Audio, text_hidden_size: int) -> tuple[Tensor, ...]:
    d, channels = audio.hidden_size, audio.conv_channels
    bands = audio.mel_bins >> HALVINGS
    convolutions: list[Tensor] = []
    for number in range(HALVINGS):
        rows = CHANNEL_WINDOW * (channels if number else 1) * channels
        convolutions += [
            Tensor(role=f"a.conv2d.{number + 1}", columns=CHANNEL_WINDOW, rows=rows, source_type="F16"),
            vector(f"a.conv2d.{number + 1}.bias", channels),
        ]
    return (
        *convolutions,
        Tensor(role="a.conv_out", columns=channels * bands, rows=d, source_type="F16"),
        table("a.position_embd", d, SPEECH_POSITIONS),
        *speech_blocks(audio),
        *norm("a.post_ln", d),
        *linear("mm.a.mlp.1", d, d),
        *linear("mm.a.mlp.2", d, text_hidden_size),
    )
