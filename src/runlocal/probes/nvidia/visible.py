"""CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER: which devices a CUDA program started here sees, and in what order.

NVML ignores both. Rules: https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html, and for what
that page leaves open (repeated entries, numbers followed by letters, which kind the first entry sets) the behaviour that PyTorch
holds its own parser to: https://github.com/pytorch/pytorch/blob/main/test/test_cuda_nvml_based_avail.py. MIG:
https://docs.nvidia.com/datacenter/tesla/mig-user-guide/ (one process uses one slice).
"""

import re
from collections.abc import Mapping

from runlocal.probes.detected import DetectedGpu

_VARIABLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_LEADING_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


def number_visible(gpus: tuple[DetectedGpu, ...], environ: Mapping[str, str]) -> tuple[tuple[DetectedGpu, ...], tuple[str, ...]]:
    """`gpus` with `visible_index` set where a CUDA program sees the device, and what the reader should know."""
    setting = environ.get(_VARIABLE)
    places, notes = (list(range(len(gpus))), ()) if setting is None else _named(gpus, setting)
    chosen = [place for place in places if gpus[place].gpu is not None]
    chosen, slice_notes = _one_slice(gpus, chosen)
    notes += slice_notes
    if setting is not None:
        if any(gpu.gpu for gpu in gpus) and not chosen:
            shown = "is empty" if not setting.strip() else f"is {setting[:60]!r}"
            notes += (f"{_VARIABLE} {shown}: CUDA programs started here see no GPU.",)
        elif _by_number(setting) and _ambiguous(gpus, chosen, environ):
            cards = ", ".join(f"{gpu.name}: {gpu.uuid}" for gpu in gpus if gpu.uuid and not gpu.mig_slice)
            notes += (f"{_VARIABLE} is read in nvidia-smi's order, but CUDA may put its fastest card first: set {_ORDER}=PCI_BUS_ID or use UUIDs ({cards}).",)
    numbers = {place: number for number, place in enumerate(chosen)}
    return tuple(gpu._replace(visible_index=numbers.get(place)) for place, gpu in enumerate(gpus)), notes


def _by_number(setting: str) -> bool:
    return not setting.startswith(("GPU-", "MIG-"))


def _named(gpus: tuple[DetectedGpu, ...], setting: str) -> tuple[list[int], tuple[str, ...]]:
    """Places in `gpus` that the list names, up to its first invalid entry; none at all where it names one twice."""
    find = _by_index if _by_number(setting) else _by_uuid
    places: list[int] = []
    if not setting.strip():
        return places, ()
    entries = setting.split(",")
    for entry in entries:
        place = find(gpus, entry.strip(), setting[:4])
        if place is None:
            ignored = entry.strip()[:60]
            return places, (f"{_VARIABLE} stops counting at {ignored!r}, which names no GPU here.",) if places else ()
        if place in places:
            return [], (f"{_VARIABLE} names a GPU twice, which CUDA takes for none at all.",)
        places.append(place)
    return places, ()


def _by_index(gpus: tuple[DetectedGpu, ...], entry: str, _kind: str) -> int | None:
    """The card of that number; of a card cut into slices its first. CUDA reads `1gpu` as 1."""
    number = _LEADING_NUMBER.match(entry)
    return next((place for place, gpu in enumerate(gpus) if gpu.driver_index == int(number[0])), None) if number else None


def _by_uuid(gpus: tuple[DetectedGpu, ...], entry: str, kind: str) -> int | None:
    """The one device whose UUID begins so; the kind of the first entry is that of the list."""
    if not entry.startswith(kind):
        return None
    if kind == "GPU-":
        # A card that is cut into slices stands for the first of them.
        cards = {gpu.driver_index: place for place, gpu in reversed([*enumerate(gpus)]) if (gpu.card_uuid or "").startswith(entry)}
        return next(iter(cards.values())) if len(cards) == 1 else None
    names = [{gpu.uuid or "", _name_before_r470(gpu)} for gpu in gpus]
    # A name with instances is whole or nothing: `…/1/1` is no beginning of `…/1/10`.
    matches = [place for place, own in enumerate(names) if (entry in own if "/" in entry else any(name.startswith(entry) for name in own))]
    return matches[0] if len(matches) == 1 else None


def _name_before_r470(gpu: DetectedGpu) -> str:
    return f"MIG-{gpu.card_uuid}/{gpu.instances[0]}/{gpu.instances[1]}" if gpu.instances else ""


def _one_slice(gpus: tuple[DetectedGpu, ...], places: list[int]) -> tuple[list[int], tuple[str, ...]]:
    """A CUDA process uses one MIG slice at most, the first it sees, and none beside whole cards."""
    slices = [place for place in places if gpus[place].mig_slice]
    if not slices or len(places) == 1:
        return places, ()
    kept = [place for place in places if place not in slices] or slices[:1]
    return kept, (f"A CUDA program uses one MIG slice and never several: {gpus[kept[0]].name} is counted; name another with {_VARIABLE}=MIG-….",)


def _ambiguous(gpus: tuple[DetectedGpu, ...], chosen: list[int], environ: Mapping[str, str]) -> bool:
    """Numbers mean nvidia-smi's order only with PCI_BUS_ID; it matters where cards differ and not all of them are named."""
    usable = {place for place, gpu in enumerate(gpus) if gpu.gpu is not None}
    differ = len({(gpu.name, gpu.gpu.memory_bytes) for gpu in gpus if gpu.gpu is not None}) > 1
    return environ.get(_ORDER) != "PCI_BUS_ID" and differ and set(chosen) != usable
