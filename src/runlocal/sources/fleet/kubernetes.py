"""Nodes as `kubectl get nodes -o json` prints them.

Labels: NVIDIA's GPU feature discovery (https://github.com/NVIDIA/k8s-device-plugin), AMD's node labeller (https://github.com/ROCm/k8s-device-plugin).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runlocal.core.fleet import Card, Node
from runlocal.core.machine import Backend
from runlocal.core.units import GIB, MIB
from runlocal.sources.fleet.texts import MOST_CARDS, cut_profile, mib, name_of, whole

Table = Mapping[str, Any]

_MIG = "nvidia.com/mig-"
_NVIDIA = ("nvidia.com/gpu", "nvidia.com/gpu.shared")
_AMD = "amd.com/gpu"
_INTEL = ("gpu.intel.com/xe", "gpu.intel.com/i915")
_GKE = "cloud.google.com/gke-accelerator"
_SHARED = "-SHARED"
_VRAM = re.compile(r"(\d{1,6})([MG])i?B?", re.IGNORECASE | re.ASCII)


def node(found: object) -> Node:
    """The node of one item. Raises ValueError with a sentence for people."""
    if not isinstance(found, Mapping):
        raise ValueError("an item is no object")
    kind = found.get("kind", "Node")
    metadata, status = _table(found, "metadata"), _table(found, "status")
    if kind != "Node" or not metadata:
        raise ValueError(f"an item is of kind {name_of(kind)!r}, not a node" if metadata else "an item has no metadata")
    name = name_of(metadata.get("name")) or "a node without a name"
    labels = _table(metadata, "labels")
    resources = _table(status, "allocatable") or _table(status, "capacity")
    try:
        cards = tuple(_cards(labels, resources))
        if len(cards) > MOST_CARDS:
            raise ValueError(f"more than {MOST_CARDS} GPUs")
    except ValueError as error:
        raise ValueError(f"node {name}: {error}") from None
    labelled = whole(labels.get("nvidia.com/gpu.count")) or 0
    problem = f"its labels count {labelled} GPUs, of which none can be allocated" if labelled and not cards else ""
    return Node(name, cards, down=_down(found, status), problem=problem)


def _table(found: Table, key: str) -> Table:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}


def _cards(labels: Table, resources: Table) -> Iterator[Card]:
    """The devices that pods can ask for."""
    product = _text(labels, "nvidia.com/gpu.product") or _text(labels, _GKE)
    replicas = (whole(labels.get("nvidia.com/gpu.replicas")) or 1) if product.endswith(_SHARED) or _NVIDIA[1] in resources else 1
    name, profile = cut_profile(product.removesuffix(_SHARED))
    count = sum(_count(resources, key) for key in _NVIDIA)
    if count:
        cards = -(-count // replicas)
        # Plugins that hand a card out in shares may count the shares; the label counts cards, and is not kept up to date for slices.
        labelled = whole(labels.get("nvidia.com/gpu.count")) or cards
        cards = cards if profile else min(cards, labelled)
        yield from [Card(_spaced(name), _mib(labels, "nvidia.com/gpu.memory"), profile=profile)] * cards
    for key in sorted(key for key in resources if isinstance(key, str) and key.startswith(_MIG)):
        slices = _count(resources, key)
        if slices:
            resource = key.removesuffix(".shared")
            shared = (whole(labels.get(f"{resource}.replicas")) or 1) if key != resource else 1
            _, of_key = cut_profile(resource.removeprefix("nvidia.com/"))
            if of_key is None:
                raise ValueError(f"{name_of(key)} names no MIG profile")
            yield from [Card(_spaced(name), _mib(labels, f"{resource}.memory"), profile=of_key)] * -(-slices // shared)
    if count := _count(resources, _AMD):
        yield from [Card(_spaced(_amd(labels, "product-name")), _vram(labels), nominal=True, backend=Backend.ROCM)] * count
    for key in _INTEL:
        yield from [Card("Intel GPU", backend=Backend.SYCL)] * _count(resources, key)


def _text(labels: Table, key: str) -> str:
    return name_of(labels.get(key))


def _spaced(name: str) -> str:
    """A label has no spaces: `NVIDIA-A100-SXM4-80GB` is `NVIDIA A100 SXM4 80GB`."""
    return name.replace("-", " ").replace("_", " ").strip()


def _count(resources: Table, key: str) -> int:
    if key not in resources:
        return 0
    found = whole(resources[key])
    if found is None:
        raise ValueError(f"allocatable {key} is {name_of(str(resources[key])[:80])!r}, which is no count")
    if found > MOST_CARDS:
        raise ValueError(f"allocatable {key} is {found:,}, more than the {MOST_CARDS} that are read of one node")
    return found


def _mib(labels: Table, key: str) -> int | None:
    if key not in labels:
        return None
    found = mib(labels[key])
    if found is None:
        raise ValueError(f"label {key} is {name_of(str(labels[key])[:80])!r}, which is no number of MiB")
    return found or None


def _amd(labels: Table, key: str) -> str:
    """A label of AMD's labeller: `amd.com/gpu.KEY = VALUE`, or `amd.com/gpu.KEY.VALUE = COUNT` where a node has several kinds."""
    for prefix in ("amd.com/gpu.", "beta.amd.com/gpu."):
        if found := _text(labels, prefix + key):
            return found
    for prefix in ("amd.com/gpu.", "beta.amd.com/gpu."):
        values = [one.removeprefix(f"{prefix}{key}.") for one in labels if isinstance(one, str) and one.startswith(f"{prefix}{key}.")]
        if len(values) == 1:
            return name_of(values[0])
    return ""


def _vram(labels: Table) -> int | None:
    """Bytes of `192G`, which the labeller rounds."""
    text = _amd(labels, "vram")
    if not text:
        return None
    found = _VRAM.fullmatch(text)
    if found is None:
        raise ValueError(f"label amd.com/gpu.vram is {text!r}, which is no size such as 192G")
    return int(found[1]) * (GIB if found[2].upper() == "G" else MIB) or None


def _down(found: Table, status: Table) -> bool:
    conditions = status.get("conditions")
    listed = conditions if isinstance(conditions, list) else []
    ready = next((one.get("status") for one in listed if isinstance(one, Mapping) and one.get("type") == "Ready"), "True")
    return ready != "True" or _table(found, "spec").get("unschedulable") is True
