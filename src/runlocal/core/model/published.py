"""What others say of a model: its names and counts, its licence, what was measured of it, files that were made of it."""

from runlocal.core.noun import NamedTuple


class Parameters(NamedTuple):
    """Published parameter counts, which the count computed from the shapes is held against.

    source: where the total was read
    published: total of the checkpoint, without multi-token-prediction layers; absent where nobody published one
    next_tokens: parameters of the multi-token-prediction layers in the checkpoint
    exception: why the computed count differs, where it does
    """

    source: str
    published: int | None = None
    next_tokens: int | None = None
    exception: str | None = None


class Alias(NamedTuple):
    """Another name of the model.

    name: as people type it: a Hugging Face repo id, an Ollama tag
    kind: `huggingface`, `ollama` or `gguf`
    variant: `base`, `instruct`, `reasoning`, `guard`, `embedding`: what the weights behind that name were trained to do
    """

    name: str
    kind: str
    variant: str


class Score(NamedTuple):
    """What the model reached in a benchmark.

    benchmark: its name with the setting: `MMMU (val, 0-shot CoT)`
    value: the result
    unit: `%`, or what else it is counted in
    measured_by: who ran it
    date: when it was published, YYYY-MM-DD
    url: where it stands
    """

    benchmark: str
    value: float
    measured_by: str
    date: str
    url: str
    unit: str = "%"


class Loss(NamedTuple):
    """What a quantization lost, as somebody measured it; never computed from bits.

    quant: the quantization
    measure: `KL divergence` or `perplexity`
    value: the figure for that quantization
    unquantized: the same for the checkpoint, absent where the measure is a distance to it
    imatrix: the file was made with an importance matrix
    measured_by: who ran it
    date: when it was published, YYYY-MM-DD
    url: where it stands
    """

    quant: str
    measure: str
    value: float
    measured_by: str
    date: str
    url: str
    unquantized: float | None = None
    imatrix: bool = False


class PublishedFile(NamedTuple):
    """A file that a publisher made by a mixture of types of its own, which no recipe of llama.cpp's quantizer gives.

    quant: its quantization, as the file's name has it: `UD-Q4_K_XL`
    bytes: its size, all parts together
    repo: the repository on Hugging Face
    url: where the size stands: the repository, at a revision where that is known
    checked: the day it was read, YYYY-MM-DD
    metadata_bytes: header and tokenizer in it, as in a file of the same repository whose tensors are known; absent where there is none
    rounded: the size was read rounded: it may be half of its last digit more or less
    note: what to know of it
    """

    quant: str
    bytes: int
    repo: str
    url: str
    checked: str
    metadata_bytes: int | None = None
    rounded: bool = False
    note: str | None = None

    @property
    def publisher(self) -> str:
        """Whose repository it is."""
        return self.repo.partition("/")[0]


class Source(NamedTuple):
    """Where a fact was read.

    url: address of the page or file
    what: what it says
    checked: the day it was read, YYYY-MM-DD
    """

    url: str
    what: str
    checked: str


class License(NamedTuple):
    """The licence of the weights.

    name: as its text calls itself
    commercial: whether and when commercial use is allowed; `not read` where nobody read it
    conditions: what bites, most important first
    url: address of its text
    checked: the day it was read, YYYY-MM-DD
    """

    name: str
    commercial: str
    conditions: tuple[str, ...]
    url: str | None
    checked: str | None
