"""Attention residuals (Kimi K3): each half of a layer reads a mixture of the residual stream as it was kept every so many layers."""

from collections.abc import Iterator

from runlocal.core.cache import Cache
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class AttentionResiduals(NamedTuple):
    """The scores of what was kept, one vector for each half of a layer; the converter makes it of a norm and a projection.

    block_layers: layers from one keeping to the next, behind which the stream starts anew
    """

    hidden_size: int
    block_layers: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for role in ("attn_res_score", "ffn_res_score"):
            yield Tensor(role=role, columns=self.hidden_size, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())
