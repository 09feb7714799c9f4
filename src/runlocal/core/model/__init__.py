"""What is known of a model: hyper-parameters only, nothing that can be computed from them.

Field names are those of config.json where it has one name for the thing, else GGUF's. The docstrings are the descriptions of the
published JSON Schema: one line `field: meaning` each. All of a model's nouns are imported from here.
"""

from runlocal.core.model.attention import Compressed, Cross, Indexer, Latent, Window
from runlocal.core.model.published import Alias, License, Loss, Parameters, PublishedFile, Score, Source
from runlocal.core.model.states import DeltaNet, KimiDelta, Lightning, Mamba, Rwkv, ShortConv
from runlocal.core.model.text import AltUp, Experts, NextTokens, Ngrams, Text
from runlocal.core.model.towers import Audio, Vision
from runlocal.core.noun import NamedTuple

__all__ = [
    "Alias",
    "AltUp",
    "Audio",
    "Compressed",
    "Context",
    "Cross",
    "DeltaNet",
    "Experts",
    "Indexer",
    "KimiDelta",
    "Latent",
    "License",
    "Lightning",
    "Loss",
    "Mamba",
    "ModelSpec",
    "NextTokens",
    "Ngrams",
    "Parameters",
    "PublishedFile",
    "Rwkv",
    "Score",
    "ShortConv",
    "Source",
    "Text",
    "Vision",
    "Window",
]


class Context(NamedTuple):
    """Context lengths, in tokens of one sequence.

    native_tokens: what config.json or the GGUF says and runtimes enforce
    extended_tokens: what the vendor documents with a setting, absent if none
    recommended_tokens: where the vendor advises less
    extension: the setting that reaches extended_tokens: `yarn`
    original_tokens: what that setting multiplies, where it is not native_tokens
    """

    native_tokens: int
    extended_tokens: int | None = None
    recommended_tokens: int | None = None
    extension: str | None = None
    original_tokens: int | None = None


class ModelSpec(NamedTuple):
    """A model: one file in data/models, whose path is its id.

    id: the file's name
    name: as its vendor writes it
    family: the vendor's series
    vendor: who made it
    released: the day it was published, YYYY-MM-DD or YYYY-MM
    variant: what this id's weights were trained to do: `instruct`, `base`, `reasoning`, `guard`, `embedding`
    architecture: llama.cpp's name of the architecture, else the family's own; a key of the architecture registry
    hf_architecture: the class named in config.json; empty where the checkpoint has no such file
    modalities: `text`, `vision`, `audio`
    checkpoint_type: storage type of the published checkpoint, `BF16`
    license: a key of data/licenses.toml
    gated: the official repository asks for consent before a download; absent where not known
    context: context lengths
    parameters: published counts
    text: the language model
    vision: the tower, absent in text models
    audio: the speech encoder, absent in models that do not hear
    text_twin: id of a model with the same text weights and no tower
    aliases: other names
    sources: where the shapes were read
    note: what a user should know, one sentence
    scores: results in benchmarks
    losses: what quantizations lost, where somebody measured it
    files: published files that no recipe gives
    """

    id: str
    name: str
    family: str
    vendor: str
    released: str
    variant: str
    architecture: str
    hf_architecture: str
    modalities: tuple[str, ...]
    checkpoint_type: str
    license: str
    context: Context
    parameters: Parameters
    text: Text
    aliases: tuple[Alias, ...]
    sources: tuple[Source, ...]
    gated: bool | None = None
    vision: Vision | None = None
    text_twin: str | None = None
    note: str | None = None
    scores: tuple[Score, ...] = ()
    losses: tuple[Loss, ...] = ()
    files: tuple[PublishedFile, ...] = ()
    audio: Audio | None = None

    @property
    def tower_parameters(self) -> int:
        """Parameters beside the language model: towers, encoders and their projectors."""
        seeing = self.vision.tower_parameters + self.vision.projector_parameters if self.vision else 0
        return seeing + (self.audio.parameters if self.audio else 0)
