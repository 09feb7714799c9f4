"""Windows as llama.cpp applies them to files: how long, in which layers."""

from runlocal.core.model import Window
from runlocal.core.noun import NamedTuple
from runlocal.sources.gguf.metadata import Metadata


class Rule(NamedTuple):
    """How llama.cpp applies a window (`load_arch_hparams` of src/models/<architecture>.cpp).

    pattern: the last of so many layers sees everything, where the file has no pattern of its own; 0: it has one, or none does
    tokens: length where the file does not say; None: without the field there is no window
    chunked: the window is a fixed chunk
    layers: the only number of layers with which it is applied, None for any
    first: the first of so many layers sees everything, not the last
    own_heads: layers with it may have other heads
    """

    pattern: int
    tokens: int | None = None
    chunked: bool = False
    layers: int | None = None
    first: bool = False
    own_heads: bool = False


# Architectures that are not named here keep every token, whatever the file says of a window.
WINDOWS = {
    "afmoe": Rule(pattern=4),
    "cohere2": Rule(pattern=4),
    "cohere2moe": Rule(pattern=4, first=True),
    "deepseek4": Rule(pattern=0),
    "exaone-moe": Rule(pattern=4),
    "exaone4": Rule(pattern=4, tokens=4096, layers=64),
    "gemma-embedding": Rule(pattern=6),
    "gemma2": Rule(pattern=2, tokens=4096),
    "gemma3": Rule(pattern=6),
    "gemma3n": Rule(pattern=5),
    "gemma4": Rule(pattern=6, own_heads=True),
    "gpt-oss": Rule(pattern=2),
    "laguna": Rule(pattern=4, first=True, own_heads=True),
    "llama4": Rule(pattern=4, tokens=8192, chunked=True),
    "mellum": Rule(pattern=4),
    "mimo2": Rule(pattern=0, own_heads=True),
    "muse-glimmer": Rule(pattern=4),
    "olmo2": Rule(pattern=4),
    "spark2_5": Rule(pattern=4),
    "step35": Rule(pattern=0, own_heads=True),
}


def window_of(fields: Metadata, layers: int) -> Window | None:
    """The window, None where there is none or llama.cpp applies none."""
    rule = WINDOWS.get(fields.architecture)
    if rule is None or (rule.layers is not None and layers != rule.layers):
        return None
    tokens = fields.optional("attention.sliding_window")
    if tokens == 0 or (tokens is None and rule.tokens is None):
        return None
    if rule.chunked:
        tokens = rule.tokens  # the loader takes its own length whatever the file says
    pattern = fields.flags("attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        full = tuple(layer for layer in range(layers) if not pattern[layer])
    else:
        every = rule.pattern if pattern is None else pattern
        full = tuple(range(0 if rule.first else every - 1, layers, every)) if every else ()
    return Window(tokens=tokens or rule.tokens or 0, full_layers=full, chunked=rule.chunked)
