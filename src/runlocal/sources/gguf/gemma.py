"""What GGUF files of Gemma 3n and Gemma 4 say beyond what others do."""

from runlocal.architectures.gemma3n import OWNERS
from runlocal.core.model import AltUp, Text
from runlocal.sources.files import bad_file
from runlocal.sources.gguf.metadata import BROKEN, Metadata

Layers = dict[str, tuple[int, ...]]


def gemma4(fields: Metadata, layers: Layers, text: Text) -> Text:
    """`text` as read so far is that of the layers without a window.

    layers: which layers have the tensor of a role
    """
    window = text.window
    if window is None or not window.full_layers or not isinstance(fields.flags("attention.sliding_window_pattern"), tuple):
        raise fields.not_computed("it does not say which of its layers have a window")
    head_dim = fields.positive("attention.key_length_swa", text.head_dim)
    shared = fields.number("attention.shared_kv_layers", 0)
    if shared > text.layers - 2:
        raise bad_file(fields.path, f"{shared} layers cannot read the cache of others", hint=BROKEN)
    owners = text.layers - shared
    values = set(layers.get("attn_v", ()))
    wide = fields.header.fields.get(f"{fields.architecture}.feed_forward_length")
    return text._replace(
        rope_scaling=None,
        shared_kv_layers=shared,
        idle_kv=any(layer >= owners for layer in layers.get("attn_k", ())),
        double_wide_mlp=shared > 0 and isinstance(wide, tuple) and wide[owners : owners + 1] == (2 * text.intermediate_size,),
        k_eq_v=not values.intersection(window.full_layers),
        hidden_size_per_layer_input=fields.number("embedding_length_per_layer_input", 0),
        window=window._replace(head_dim=head_dim if head_dim != text.head_dim else None),
    )


def gemma3n(fields: Metadata, dimensions: dict[str, tuple[int, ...]], text: Text) -> Text:
    """`text` with its streams and the layers that have no cache of their own.

    dimensions: of the first tensor of a role
    """
    streams, low = dimensions.get("altup_proj", ()), dimensions.get("laurel_l", ())
    if len(streams) != 3 or len(low) != 2 or text.layers <= OWNERS:
        raise bad_file(fields.path, "its streams and layers contradict each other", hint=BROKEN)
    return text._replace(
        shared_kv_layers=text.layers - OWNERS,
        idle_kv=True,
        hidden_size_per_layer_input=fields.positive("embedding_length_per_layer_input"),
        altup=AltUp(inputs=streams[2] + 1, laurel_rank=low[1]),
    )
