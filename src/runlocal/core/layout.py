"""A model laid out: which blocks stand in which layers, and from them its tensors and caches."""

from collections.abc import Iterator
from typing import Protocol

from runlocal.core.cache import Cache, CacheKind
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class Block(Protocol):
    """A piece of a layer, as shapes."""

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        """The block's tensors in `layers`."""

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        """What the block keeps per sequence in `layers`."""


_NO_PARAMETERS = ("rope_", "ffn_gate_tid2eid")  # beginnings of the names of tables that the converter or a hash makes
FOR_IMAGES = "image."
"""The names of experts for image tokens alone begin so; a text token reads none of them."""

_NOT_READ = (*_NO_PARAMETERS, "enc.", FOR_IMAGES)  # and of an encoder's tensors, which read the input and no token of the answer

CHOSEN = ".lora_of_"
"""In the names of adapters that images or speech choose; a text token reads none of them."""


class Placed(NamedTuple):
    """A block and the layers it stands in."""

    block: Block
    layers: tuple[int, ...]


class Layout(NamedTuple):
    """A model as tensors and caches.

    architecture: llama.cpp's name, which decides the name-keyed rules of its quantizer
    hidden_size: width of the residual stream
    vocabulary_size: rows of the output matrix
    layers: layers that run
    stored_layers: layers in the file, multi-token-prediction layers included
    outer: tensors outside the layers
    placed: the blocks of the layers
    tied: the output matrix is the embedding
    kv_group: query heads per KV head of layer 0, 0 where that layer has no attention
    experts: routed experts per layer, 0 if none
    loaded_ahead: beginnings of the names of tensors that the loader does not skip behind the layers that run
    pooling: how an embedding model makes one vector of many
    encoder: every token sees those behind it too, so a text goes through in one step, and there are no logits
    single_embedding: no device gets a second copy of a tied embedding
    two_embeddings: the second copy is made first, so the host holds both where the output stays there
    deepstack: images bring features of the tower's deeper layers, where the architecture takes any
    """

    architecture: str
    hidden_size: int
    vocabulary_size: int
    layers: int
    stored_layers: int
    outer: tuple[Tensor, ...]
    placed: tuple[Placed, ...]
    tied: bool
    kv_group: int
    experts: int
    loaded_ahead: tuple[str, ...] = ()
    pooling: str | None = None
    encoder: bool = False
    single_embedding: bool = False
    two_embeddings: bool = False
    deepstack: bool = True

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor of the file, those that a loader skips included."""
        inner = (
            tensor._replace(layers=part, skipped=skipped and not tensor.role.startswith(self.loaded_ahead))
            for block, layers in self.placed
            for part, skipped in self._loaded_and_skipped(layers)
            for tensor in block.tensors(part)
        )
        return (*self.outer, *inner)

    def caches(self) -> tuple[Cache, ...]:
        """The caches of the layers that run."""
        running = ((block, layers if layers[-1] < self.layers else tuple(layer for layer in layers if layer < self.layers)) for block, layers in self.placed)
        return tuple(cache for block, layers in running if layers for cache in block.caches(layers))

    def _loaded_and_skipped(self, layers: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], bool]]:
        if layers[-1] < self.layers:
            yield layers, False
            return
        if run := tuple(layer for layer in layers if layer < self.layers):
            yield run, False
        yield tuple(layer for layer in layers if layer >= self.layers), True

    def runs(self, tensor: Tensor) -> bool:
        """Whether the tensor belongs to what runs: not to a layer behind the last."""
        return not tensor.layers or tensor.layers[-1] < self.layers

    def parameters(self) -> int:
        """Parameters of the layers that run, with embedding and output; tables and copies do not count."""
        return sum(t.elements * t.count for t in self.tensors() if self.runs(t) and not t.repeated and not t.role.startswith(_NO_PARAMETERS))

    def idle_layers(self) -> frozenset[int]:
        """Layers that a text token passes by: those of cross-attention, where there is no image."""
        return frozenset(layer for cache in self.caches() if cache.kind is CacheKind.CROSS for layer in cache.layers)

    def reads(self, tensor: Tensor) -> bool:
        """Whether a text token reads the tensor, in the layers that are not idle: it runs, is no table that a row is looked up in, no part of an
        encoder, no expert for image tokens, and no adapter that images or speech choose."""
        looked_up = tensor.role == "per_layer_token_embd" or (tensor.role == "token_embd" and not self.tied)
        return self.runs(tensor) and not (tensor.repeated or tensor.role.startswith(_NOT_READ) or looked_up or CHOSEN in tensor.role)

    def active_parameters(self, experts_used: int) -> int:
        """Parameters read for one text token: no embedding lookup, no cross-attention layers (idle without an image), no encoder,
        no adapters for images or speech, only the chosen experts."""
        idle = self.idle_layers()
        total = 0
        for tensor in filter(self.reads, self.tensors()):
            read = tensor.elements * (len([layer for layer in tensor.layers if layer not in idle]) if tensor.layers else 1)
            total += read * experts_used // self.experts if is_expert(tensor) else read
        return total


def is_expert(tensor: Tensor) -> bool:
    """Whether the tensor stacks experts, of which a token reads those that are chosen for it."""
    return "_exps" in tensor.role
