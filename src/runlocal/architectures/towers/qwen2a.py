"""Qwen2.5-Omni's speech encoder: Whisper's, whose positions the converter computes and stores, and one matrix to the language model's width."""

from runlocal.architectures.towers.encoder import CHANNEL_WINDOW, SPEECH_POSITIONS, linear, norm, speech_blocks, table, vector
from runlocal.core.model import Audio
from runlocal.core.tensor import Tensor


def tensors(audio: Audio, text_hidden_size: int) -> tuple[Tensor, ...]:
    d = audio.hidden_size
    return (
        Tensor(role="a.conv1d.1", columns=CHANNEL_WINDOW, rows=audio.mel_bins * d, source_type="F16"),
        vector("a.conv1d.1.bias", d),
        Tensor(role="a.conv1d.2", columns=CHANNEL_WINDOW, rows=d * d, source_type="F16"),
        vector("a.conv1d.2.bias", d),
        table("a.position_embd", d, SPEECH_POSITIONS),
        *speech_blocks(audio, key_bias=False),
        *norm("a.post_ln", d),
        *linear("mm.a.fc", d, text_hidden_size),
    )
