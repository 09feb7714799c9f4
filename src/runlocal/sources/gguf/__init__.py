"""GGUF files: what they say of a model (`spec`) and what they store (`stored`)."""

from runlocal.sources.gguf.header import Header, TensorInfo, read_header
from runlocal.sources.gguf.spec import spec, warnings
from runlocal.sources.gguf.stored import missing_bytes, quantization, stored, tensor_bytes

__all__ = ["Header", "TensorInfo", "missing_bytes", "quantization", "read_header", "spec", "stored", "tensor_bytes", "warnings"]
