"""Inventories in the form in which kubectl, scontrol, nvidia-smi and `runlocal gpus` print them."""

import json
from typing import Any

Object = dict[str, Any]

# Labels of GPU feature discovery on an 8-card H100 node: https://github.com/NVIDIA/k8s-device-plugin/issues/1501
H100_LABELS = {
    "kubernetes.io/hostname": "gpu-01",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.deploy.driver": "true",
    "nvidia.com/gpu.family": "hopper",
    "nvidia.com/gpu.machine": "PowerEdge-XE9680",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.mode": "compute",
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.replicas": "1",
    "nvidia.com/mig.capable": "true",
}
# A card whose plugin has no device to offer: https://github.com/NVIDIA/gpu-operator/issues/442
A30_LABELS = {
    "nvidia.com/gpu.count": "1",
    "nvidia.com/gpu.memory": "24576",
    "nvidia.com/gpu.product": "NVIDIA-A30",
    "nvidia.com/gpu.replicas": "0",
}
# AMD's labeller: https://instinct.docs.amd.com/projects/k8s-device-plugin/en/latest/
MI300X_LABELS = {
    "amd.com/gpu.cu-count": "304",
    "amd.com/gpu.device-id": "74a1",
    "amd.com/gpu.family": "AI",
    "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM",
    "amd.com/gpu.simd-count": "1216",
    "amd.com/gpu.vram": "192G",
}
# Resources of a node with an H100 cut up by the mixed strategy: https://github.com/davidB/kubectl-view-allocations/issues/258
MIXED_MIG = {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.12gb": "2", "nvidia.com/mig-2g.24gb": "1", "nvidia.com/mig-3g.47gb": "1"}

# GRES of nodes: https://github.com/CLIP-HPC/SlurmCommander/issues/5, https://github.com/vpenso/prometheus-slurm-exporter/pull/83,
# https://slurm.schedmd.com/gres.html
GRES = {"sh03-12n09": "gpu:4(S:0-1)", "gpu-01": "gpu:tesla:4", "cpu-01": "(null)", "dgx": "gpu:a100:8(S:0-1)", "mig": "gpu:h100_1g.10gb:7(S:0),shard:8"}

WITH_HEADER = """index, name, memory.total [MiB], memory.used [MiB]
0, NVIDIA A100-SXM4-80GB, 81920 MiB, 4 MiB
1, NVIDIA A100-SXM4-80GB, 81920 MiB, 70000 MiB
"""


def kube_node(name: str, labels: Object | None = None, resources: Object | None = None, **changed: Any) -> Object:
    """A node as the API serves it, without what a GPU has no part in."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **(labels or {})}, "uid": "8c1f"},
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {
            "allocatable": {"cpu": "128", "memory": "2113504544Ki", "pods": "110", **(resources or {})},
            "capacity": {"cpu": "128"},
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
        },
    } | changed


def kubectl(*nodes: Object) -> str:
    """`kubectl get nodes -o json`."""
    return json.dumps({"apiVersion": "v1", "items": nodes, "kind": "List", "metadata": {"resourceVersion": ""}}, indent=4)


def slurm_node(name: str, gres: str, state: Any = ("IDLE",)) -> Object:
    """A node of `scontrol show nodes --json`."""
    return {"architecture": "x86_64", "name": name, "hostname": name, "gres": gres, "gres_used": "gpu:0", "state": state, "real_memory": 1031533}


def scontrol(*nodes: Object) -> str:
    """`scontrol show nodes --json` of Slurm 23.11."""
    meta = {"plugin": {"type": "openapi/slurmctld"}, "slurm": {"version": {"major": "23"}}}
    return json.dumps({"nodes": nodes, "last_update": {"set": True, "number": 1}, "meta": meta, "errors": [], "warnings": []}, indent=2)


def own_row(index: int, name: str = "NVIDIA H200", total: int | None = 150754820096, **changed: Any) -> Object:
    """A device of `runlocal gpus --json`."""
    sizes = {"memory_bytes": total, "reserved_bytes": 600 << 20, "in_use_bytes": 0, "usable_bytes": 1, "idle_usable_bytes": 1}
    return {"index": index, "name": name, **sizes, "found_by": "NVML"} | changed


def own(*rows: Object) -> str:
    """`runlocal gpus --json`."""
    return json.dumps({"schema": "runlocal.gpus/1", "gpus": rows, "notes": []}, separators=(",", ":"))
