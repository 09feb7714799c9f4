"""What a path turned out to hold."""

from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple
from runlocal.sources.gguf.header import Header


class Found(NamedTuple):
    """A model read from a file or folder.

    spec: its shapes
    header: of a GGUF file, None elsewhere: `sources.gguf.stored` makes the real tensors of it
    quant: what a GGUF file calls its quantization, None elsewhere
    stored_bytes: bytes of all tensors in a folder's checkpoint, tower and multi-token-prediction layers included; None elsewhere
    warnings: what the reader should know, a sentence each
    """

    spec: ModelSpec
    header: Header | None = None
    quant: str | None = None
    stored_bytes: int | None = None
    warnings: tuple[str, ...] = ()
