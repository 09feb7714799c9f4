"""What the catalogue reads from data/ for the layers below it, which do no I/O themselves."""

from collections.abc import Mapping
from typing import Any

from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import StorageType


class Facts(NamedTuple):
    """Constants and rules of the runtimes, as the data files hold them.

    types: storage types by name
    quants: every quantization by name: `format`, `default_type`, `imatrix`, `usual`
    ggml: llama.cpp's defaults (data/engines/ggml.toml)
    vision: its image graphs (data/engines/ggml-vision.toml)
    runtime: values of the constants of the runtime asked about (data/runtimes/<id>.toml); `borrowed_classes`, which it loads with another one's code
    """

    types: Mapping[str, StorageType]
    quants: Mapping[str, Mapping[str, Any]]
    ggml: Mapping[str, Any]
    vision: Mapping[str, Any]
    runtime: Mapping[str, Any]
