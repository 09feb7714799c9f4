"""The data files as the layers below read them."""

from functools import cache
from typing import Any

from runlocal.catalog import bundle
from runlocal.catalog.runtimes import borrowed_classes, constants
from runlocal.core.facts import Facts
from runlocal.core.tensor import StorageType


def facts(runtime_id: str, version: str | None) -> Facts:
    """Rules and constants for one version of a runtime (None: the newest known)."""
    engines = bundle.read("engines")
    return Facts(
        types=storage_types(),
        quants=quants(),
        ggml=engines["ggml"],
        # Kernels take a width of heads whatever they are used for.
        vision={**engines["ggml-vision"], "flash_attention_head_dims": engines["ggml"]["flash_attention_head_dims"]},
        runtime={name: constant.value for name, constant in constants(runtime_id, version).items()} | {"borrowed_classes": borrowed_classes(runtime_id)},
    )


@cache
def storage_types() -> dict[str, StorageType]:
    """Storage types by name."""
    return {name: StorageType(name, *sizes) for name, sizes in bundle.read("dtypes").items()}


@cache
def quants() -> dict[str, dict[str, Any]]:
    """Every quantization by name, with its format and source."""
    return {
        name: {"format": form, "source": next(iter(table["sources"].values()))["url"], **recipe}
        for form, table in bundle.read("quants").items()
        for name, recipe in table["recipes"].items()
    }
