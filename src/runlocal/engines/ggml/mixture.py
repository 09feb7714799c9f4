"""A published file that no recipe gives: its size is known and the types of its tensors are not, so a device's share of it is a range.

The sum is what the file holds. What a device may get of it at most is counted there: everything less the least that the rest can be. Shares of
layers go by their values, and a device with few of them may have met the finer ones.
"""

from collections.abc import Iterable, Iterator, Mapping

from runlocal.core.model import PublishedFile
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.core.tensor import StorageType, Tensor
from runlocal.core.units import mib
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.weights import ALIGNMENT, COPY, EMBEDDING, EXPERTS, LAYERS, OUTPUT, ROW_PADDING, lay, measure
from runlocal.quants.gguf import Stored

_COARSEST, _COARSE, _FINE = "IQ1_S", "Q2_K", "BF16"  # of any matrix; of embedding and output; of either
_MATRICES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "BF16")
_PADDED = "Q8_0"  # the block that needs most where a row is no multiple of 512 values


class Share(NamedTuple):
    """What a device holds of a file.

    device: as in `Part`
    bytes: what it takes there, at most
    certain: it holds every matrix, so that nothing hangs on how they are divided
    embedding_only: it holds nothing else than what turns tokens into vectors
    """

    device: str
    bytes: int
    certain: bool
    embedding_only: bool


def tensor_bytes(file: PublishedFile) -> int:
    """Bytes of its tensors: the file less header and tokenizer where those are known."""
    return file.bytes - (file.metadata_bytes or 0)


def whole_because(file: PublishedFile) -> str:
    """Where the sum is from, in words."""
    size = f"{file.bytes / 1e9:.2f} GB of {file.quant} in {file.repo}"
    rounded = f", rounded, up to {half_a_digit(file) / 1e6:.0f} MB more" if file.rounded else ""
    return f"{size}{rounded}, " + (f"less {mib(file.metadata_bytes)} of header and tokenizer" if file.metadata_bytes else "header and tokenizer included")


def half_a_digit(file: PublishedFile) -> int:
    """How much more than it says a rounded size may be: half of its last digit."""
    return 0 if not file.rounded else 10 ** (len(str(file.bytes)) - len(str(file.bytes).rstrip("0"))) // 2


def type_at_least(bits_per_weight: float, types: Mapping[str, StorageType]) -> str:
    """The coarsest of the usual types with so many bits."""
    return next((name for name in _MATRICES if _bytes(8, types[name]) >= bits_per_weight), _MATRICES[-1])


def _bytes(elements: float, kind: StorageType) -> float:
    return elements * kind.block_bytes / kind.block_elements


def shares(
    tensors: tuple[Tensor, ...],
    file: PublishedFile,
    placement: Placement,
    types: Mapping[str, StorageType],
    *,
    tied: bool,
    twice: bool,
    margin_percent: int,
    one_memory: bool,
) -> Iterator[Share]:
    """The file on its devices.

    tied, twice: as `lay` wants them
    margin_percent: how much more than the mean a layer may take
    one_memory: host and GPU are the same
    """
    loaded = [tensor for tensor in tensors if not tensor.skipped]
    known = [Stored(tensor, types[tensor.source_type or "F32"]) for tensor in loaded if not tensor.quantizable]
    matrices = [Stored(tensor, types[_FINE]) for tensor in loaded if tensor.quantizable]
    whole = tensor_bytes(file) + half_a_digit(file) - sum(stored.tensor_bytes * stored.tensor.count for stored in known)
    everything = _laid(matrices, place(len(placement.layers), 0, ()), tied=False)[HOST]
    bounds = _Bounds(whole, _values(everything), types, margin_percent, apart=placement.host_experts > 0)
    spread, exact = _laid(matrices, placement, tied=tied, twice=twice), _laid(known, placement, tied=tied)
    padding = sum(_padding(stored.tensor, types) * stored.tensor.count for stored in matrices)
    for device in dict.fromkeys((*spread, *exact)):
        there = _values(spread.get(device, {}))
        copied, again = there.pop(COPY, 0), EMBEDDING in there
        there[EMBEDDING] = there.get(EMBEDDING, 0) or copied
        only = device == HOST and not any(count for group, count in there.items() if group != EMBEDDING)
        most, certain = bounds.most(there)
        if copied and again:
            most, certain = most + _bytes(copied, types[_FINE]), False
        if only and one_memory and not tied:
            most = bounds.least(there)  # what is counted here is not counted with the layers
        beside = sum(exact.get(device, {}).values())
        yield Share(device, int(most) + beside + (0 if device == HOST else padding), certain, only)


def _laid(stored: Iterable[Stored], placement: Placement, *, tied: bool, twice: bool = False) -> dict[str, dict[str, int]]:
    """Bytes of each group on each device."""
    found: dict[str, dict[str, int]] = {HOST: {}}
    for weight in lay(measure(tuple(stored)), placement, tied=tied, twice=twice):
        groups = found.setdefault(weight.device, {})
        groups[weight.group] = groups.get(weight.group, 0) + weight.bytes
    return {device: groups for device, groups in found.items() if groups or device == HOST}


def _values(groups: Mapping[str, int]) -> dict[str, int]:
    """How many values BF16 stores in so many bytes."""
    return {group: size // 2 for group, size in groups.items()}


def _padding(tensor: Tensor, types: Mapping[str, StorageType]) -> int:
    """The most that CUDA adds to one tensor, whatever its type."""
    over = tensor.columns % ROW_PADDING
    return ALIGNMENT + (types[_PADDED].row_bytes(ROW_PADDING - over) if over else 0)


class _Bounds:
    """Between which bytes some of the matrices lie, of `whole` bytes for all of them. apart: experts lie elsewhere than their layers."""

    def __init__(self, whole: int, values: Mapping[str, int], types: Mapping[str, StorageType], margin_percent: int, *, apart: bool) -> None:
        self._whole, self._values, self._types, self._margin, self._apart = whole, values, types, margin_percent / 100, apart

    def least(self, there: Mapping[str, int]) -> float:
        """Every matrix in the coarsest type that it may have."""
        return sum(_bytes(count, self._types[_COARSE if group in (EMBEDDING, OUTPUT) else _COARSEST]) for group, count in there.items())

    def most(self, there: Mapping[str, int]) -> tuple[float, bool]:
        """What matrices with so many values in each group take at most, and whether they are all there are."""
        elsewhere = {group: max(0, count - there.get(group, 0)) for group, count in self._values.items()}
        left = self._whole - self.least(elsewhere)
        if not any(elsewhere.values()):
            return left, True
        outside = sum(_bytes(there.get(group, 0), self._types[_FINE]) for group in (EMBEDDING, OUTPUT))
        inside = sum(self._layers(there, (group,)) for group in (LAYERS, EXPERTS)) if self._apart else self._layers(there, (LAYERS, EXPERTS))
        return min(left, outside + inside), False

    def _layers(self, there: Mapping[str, int], groups: tuple[str, ...]) -> float:
        """Matrices inside the layers: their share of the most that those of all layers can take."""
        count, total = (sum(held.get(group, 0) for group in groups) for held in (there, self._values))
        if not count:
            return 0
        share = min(1, count / total)
        most = self._whole - self.least({group: values for group, values in self._values.items() if group not in groups})
        return min(_bytes(count, self._types[_FINE]), most * share * (1 + self._margin * (1 - share)))
