"""What the layers of Gemma 3n and Gemma 4 have beside attention and MLP."""

from collections.abc import Iterator

from runlocal.architectures.blocks.attention import Attention
from runlocal.core.cache import Cache
from runlocal.core.model import Text
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


class Streams(NamedTuple):
    """Several streams of hidden states, of which a layer predicts and corrects all but one, and a low-rank path beside attention (AltUp, LAuReL).

    inputs: streams
    laurel_rank: rank of that path
    """

    hidden_size: int
    inputs: int
    laurel_rank: int

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, count, rank = self.hidden_size, self.inputs, self.laurel_rank
        yield Tensor(role="altup_correct_coef", columns=count, rows=count, layers=layers, quantizable=False)
        yield Tensor(role="altup_predict_coef", columns=count, rows=count * count, layers=layers, quantizable=False)
        yield Tensor(role="altup_router", columns=d, rows=count, layers=layers, quantizable=False, source_type=KEPT)
        for role in ("altup_correct_scale", "altup_router_norm", "laurel_post_norm"):
            yield Tensor(role=role, columns=d, layers=layers, quantizable=False)
        yield Tensor(role="laurel_l", columns=d, rows=rank, layers=layers, quantizable=False, source_type=KEPT)
        yield Tensor(role="laurel_r", columns=rank, rows=d, layers=layers, quantizable=False, source_type=KEPT)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())


def stream_projections(hidden_size: int, inputs: int) -> Iterator[Tensor]:
    """What makes the further streams of the first, and takes them together in the end."""
    for role in ("altup_proj", "altup_unembd_proj"):
        yield Tensor(role=role, columns=hidden_size, rows=hidden_size, copies=inputs - 1, quantizable=False, source_type=KEPT)


def layer_inputs(hidden_size: int, size: int, layers: int, rows: int) -> Iterator[Tensor]:
    """The table of every layer's embedding, and the projection of a token's own embedding that is added to it.

    rows: of the table
    """
    yield Tensor(role="per_layer_token_embd", columns=size * layers, rows=rows)
    yield Tensor(role="per_layer_model_proj", columns=hidden_size, rows=size * layers, quantizable=False, source_type=KEPT)
    yield Tensor(role="per_layer_proj_norm", columns=size, quantizable=False)


def attentions(text: Text) -> Iterator[tuple[Attention, tuple[int, ...]]]:
    """Attention with and without a window, with and without a cache of its own."""
    window = text.window
    full = set(window.full_layers) if window else set(range(text.layers))
    owners = text.layers - text.shared_kv_layers
    everywhere = Attention(
        hidden_size=text.hidden_size,
        heads=text.heads,
        kv_heads=text.kv_heads,
        head_dim=text.head_dim,
        value_dim=text.head_dim,
        qk_norm=text.qk_norm,
        values=not text.k_eq_v,
    )
    kinds = [(everywhere, [layer for layer in range(text.layers) if layer in full])]
    if window:
        head_dim = window.head_dim or text.head_dim
        narrow = everywhere._replace(
            heads=window.heads or text.heads,
            kv_heads=window.kv_heads or text.kv_heads,
            head_dim=head_dim,
            value_dim=head_dim,
            window_tokens=window.tokens,
            values=True,
        )
        kinds.insert(0, (narrow, [layer for layer in range(text.layers) if layer not in full]))
    for block, layers in kinds:
        own = tuple(layer for layer in layers if layer < owners)
        if own:
            yield block, own
        if sharing := tuple(layer for layer in layers if layer >= owners):
            yield block._replace(reads=own[-1] if own else 0, idle=text.idle_kv), sharing
