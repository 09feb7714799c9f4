"""What the layers of Gemma 3n and Gemma 4 have beside attention and MLP."""

from collections.abc import Iterator

from runlocal.core.cache import Cache
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor

KEPT = "BF16"  # what the converter writes of Google's checkpoints, and the quantizer leaves alone


class LayerInput(NamedTuple):
    """What brings a token's embedding of this layer into the residual stream: a gate, a projection back, a norm.

    size: width of that embedding
    """

    hidden_size: int
    size: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        yield Tensor(role="inp_gate", columns=self.hidden_size, rows=self.size, layers=layers)
        yield Tensor(role="proj", columns=self.size, rows=self.hidden_size, layers=layers)
        yield Tensor(role="post_norm", columns=self.hidden_size, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())


class OutputScale(NamedTuple):
    """One learned factor on all that a layer yields."""

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        yield Tensor(role="layer_output_scale", columns=1, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())


def layer_inputs(hidden_size: int, size: int, layers: int, rows: int) -> Iterator[Tensor]:
    """The table of every layer's embedding, and the projection of a token's own embedding that is added to it.

    rows: of the table
    """
    yield Tensor(role="per_layer_token_embd", columns=size * layers, rows=rows)
    yield Tensor(role="per_layer_model_proj", columns=hidden_size, rows=size * layers, quantizable=False, source_type=KEPT)
    yield Tensor(role="per_layer_proj_norm", columns=size, quantizable=False)
