"""What a model is asked to do."""

from runlocal.core.model import ModelSpec
from runlocal.core.noun import NamedTuple

MOST_RANKS = 1024
"""Ranks along one kind of parallelism that are looked at."""


class Workload(NamedTuple):
    """Contexts, sequences, cache types and the runtime's own knobs. None: the runtime's default.

    context_tokens: context of one sequence
    sequences: sequences at once, each with that context
    pool_tokens: llama.cpp's `-c`: the cells that all sequences share (unified) or divide; overrides context_tokens
    unified_kv: all sequences share one stream of cells
    images: images processed at once; 0: tower loaded, none processed
    image_size: pixels of each image, width and height; None: not known
    vision: False leaves tower, projector and image graph out
    mmproj_type: storage type of the projector file's matrices
    cache_type_k, cache_type_v: storage types of the cache
    batch_tokens: tokens per step (llama.cpp's ubatch)
    output_tokens: rows of logits reserved per step
    flash_attention: None: on wherever the runtime's kernels allow it
    kv_offload: the cache goes to the GPU
    gpu_layers: layers on the GPUs, the output layer counted as one; None: all that the machine holds
    cpu_moe: the experts stay on the host
    n_cpu_moe: those of the first so many layers do
    tensor_split: relative share of the layers of each GPU; None: the runtime's own
    swa_full: sliding-window layers keep the whole context
    tensor_parallel, pipeline_parallel: ranks
    drafting: the draft model that was opened beside this one guesses tokens ahead
    mtp: the model's own next-token layers do
    """

    context_tokens: int
    sequences: int = 1
    pool_tokens: int | None = None
    unified_kv: bool = False
    images: int = 1
    image_size: tuple[int, int] | None = None
    vision: bool = True
    mmproj_type: str = "F16"
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    batch_tokens: int | None = None
    output_tokens: int | None = None
    flash_attention: bool | None = None
    kv_offload: bool = True
    gpu_layers: int | None = None
    cpu_moe: bool = False
    n_cpu_moe: int = 0
    tensor_split: tuple[float, ...] | None = None
    swa_full: bool = False
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    drafting: bool = False
    mtp: bool = False

    def images_of(self, model: ModelSpec) -> int:
        """Images that the model really processes: none where it has no tower, or is to leave it out."""
        return self.images if model.vision is not None and self.vision else 0
