"""What a speech encoder costs in llama.cpp: its weights in the projector file and the buffer of its graph, set up for the longest clip at once.

Rules of tools/mtmd/clip.cpp; per-family figures come as `facts` (data/engines/ggml-vision.toml, `encoders`).
"""

from collections.abc import Mapping

from runlocal.architectures import towers
from runlocal.core.model import Audio, ModelSpec
from runlocal.core.part import Basis, Kind, Part
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.core.workload import Workload
from runlocal.engines.ggml.vision import ALIGNMENT, F32_BYTES, Facts, weights_bytes

LOADED_TWICE = "v.patch_embd"
"""The loader of a speech encoder takes the tower's patch embedding too, although nothing in it uses that."""


def speech_parts(model: ModelSpec, workload: Workload, device: str, types: Mapping[str, StorageType], facts: Facts) -> tuple[Part, ...]:
    """Encoder, its projector and its graph on `device`; nothing for a model that does not hear or a workload without towers.

    Raises Problem (not_computed) for an encoder that is not laid out.
    """
    audio = model.audio
    if audio is None or not workload.vision:
        return ()
    stored, d = workload.mmproj_type, model.text.hidden_size
    encoder = towers.speech_tensors(audio, d)
    twice = tuple(t for t in towers.tensors(model.vision, d) if t.role.startswith(LOADED_TWICE)) if model.vision else ()
    because = f"{sum(t.elements * t.count for t in encoder):,} values, matrices {stored}; convolutions F16; norms, biases and positions F32"
    parts = [(Kind.VISION, "speech encoder", weights_bytes(encoder, stored, types), Basis.EXACT, because)]
    if twice:
        because = "the tower's patch embedding, which the loader of the speech encoder takes too"
        parts.append((Kind.VISION, "patch embedding again", weights_bytes(twice, stored, types), Basis.EXACT, because))
    graph, because = speech_buffer(audio, workload.flash_attention is not False, facts)
    parts.append((Kind.VISION_BUFFER, "speech graph", graph, Basis.MEASURED, because))
    return tuple(
        Part(kind=kind, label=label, device=device, bytes=size, basis=basis, because=why, source=facts["source"]) for kind, label, size, basis, why in parts
    )


def speech_buffer(audio: Audio, flash: bool, facts: Facts) -> tuple[int, str]:
    """Bytes of the buffer reserved at start: 4 bytes × positions × values per position, the largest of the encoder's forms, and how they come about.

    A longer clip goes through in pieces that are no longer, so it never grows.
    """
    family = facts["encoders"][audio.encoder]
    positions = facts["speech_frames"] // family["frames_per_position"]
    values = {
        "hidden": audio.hidden_size,
        "scores": audio.heads * positions,
        "bands": audio.mel_bins,
        "convolved": audio.mel_bins * audio.conv_channels // 4,
        "unrolled": audio.mel_bins * audio.conv_channels // 32,
    }
    forms = [{term: round(factor * values[term]) for term, factor in form.items()} for form in family["flash" if flash else "plain"]]
    largest = max(forms, key=lambda form: sum(form.values()))
    spelled = " + ".join(f"{size:,} ({term})" for term, size in largest.items())
    size = pad(F32_BYTES * positions * sum(largest.values()), ALIGNMENT)
    seconds = facts["speech_frames"] // facts["speech_frames_per_second"]
    because = f"4 bytes × {positions:,} positions × ({spelled}): reserved at start for {seconds} seconds, {'with' if flash else 'without'} flash attention"
    return size, f"{because}; a longer clip goes through in pieces"
