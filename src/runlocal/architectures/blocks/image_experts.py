"""Experts of their own for image tokens (ERNIE 4.5 VL)."""

from collections.abc import Iterator

from runlocal.architectures.blocks.mlp import ExpertMlp
from runlocal.core.cache import Cache
from runlocal.core.layout import FOR_IMAGES
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class ImageExperts(NamedTuple):
    """A second router and its experts, which image tokens go through in place of the others and text tokens never.

    experts: router and routed experts, without shared ones
    """

    experts: ExpertMlp

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for tensor in self.experts.tensors(layers):
            yield tensor._replace(role=f"{FOR_IMAGES}{tensor.role}")

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return self.experts.caches(layers)
