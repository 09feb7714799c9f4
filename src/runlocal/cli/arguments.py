"""What can be typed behind each command: every option once, with its help, and the group that it stands in."""

from typing import Annotated, Any, Optional

import typer
from typer.core import TyperCommand

_QUESTION, _MACHINE, _SETTINGS = "What is asked", "The machine", "The runtime's own settings"
_YES, _ANSWER, _MANY = "What counts as a yes", "The answer", "Many at once"
_MODELS, _HARDWARE = "Which models", "Which hardware"
FORMATS = "table, json, ndjson, csv, tsv, markdown or svg"

# Which model.
Models = Annotated[
    Optional[list[str]],
    typer.Argument(help="bundled ids, Hugging Face repo ids, Ollama tags, or paths to a .gguf, config.json or model folder", metavar="MODEL..."),
]
Model = Annotated[str, typer.Argument(help="a bundled id, a Hugging Face repo id, an Ollama tag, or a path", metavar="MODEL")]
KnownModel = Annotated[str, typer.Argument(help="a bundled id, a Hugging Face repo id or an Ollama tag", metavar="MODEL")]
ModelQuery = Annotated[Optional[list[str]], typer.Argument(help="words in an id, name, family, vendor or alias [default: every model]", metavar="QUERY")]
GpuQuery = Annotated[Optional[list[str]], typer.Argument(help="words in the name of a card of the catalogue", metavar="QUERY")]

# What is asked of it.
_Text = Optional[str]
Quants = Annotated[
    _Text,
    typer.Option("--quant", "-q", help="quantizations, comma-separated [default: the runtime's usual list]", metavar="Q[,Q...]", rich_help_panel=_QUESTION),
]
QuantsOfAll = Annotated[
    _Text, typer.Option("--quant", "-q", help="quantizations to choose from [default: the usual ones]", metavar="Q[,Q...]", rich_help_panel=_QUESTION)
]
Quant = Annotated[
    _Text,
    typer.Option("--quant", "-q", help="quantization [default: Q4_K_M where that is usual, or the file's own]", metavar="Q", rich_help_panel=_QUESTION),
]
Contexts = Annotated[
    _Text,
    typer.Option("--ctx", "-c", help="context of one sequence: 8192, 8k, 128k, max [default: 4k to 128k]", metavar="N[,N...]", rich_help_panel=_QUESTION),
]
Context = Annotated[
    _Text, typer.Option("--ctx", "-c", help="context of one sequence that has to fit: 32k, max [default: 8k]", metavar="N", rich_help_panel=_QUESTION)
]
Parallel = Annotated[int, typer.Option("--parallel", "-n", help="sequences at once, each with that context", metavar="N", rich_help_panel=_QUESTION)]
CacheTypes = Annotated[
    _Text,
    typer.Option(
        "--kv", "-k", help="cache types; `,` separates alternatives, K:V gives two types [default: f16]", metavar="TYPE[,TYPE]", rich_help_panel=_QUESTION
    ),
]
CacheType = Annotated[_Text, typer.Option("--kv", "-k", help="cache type; K:V gives two types [default: f16]", metavar="TYPE", rich_help_panel=_QUESTION)]
Runtime = Annotated[
    _Text,
    typer.Option(
        "--runtime",
        "-r",
        help="llama.cpp, ollama, ... with @VERSION if need be [default: what loads the model]",
        metavar="ID[@VERSION]",
        rich_help_panel=_QUESTION,
    ),
]
Images = Annotated[int, typer.Option("--images", help="images processed at once; 0: tower loaded, none processed", metavar="N", rich_help_panel=_QUESTION)]
ImageSize = Annotated[
    _Text,
    typer.Option("--image-size", help="pixels of each image, 1024x768 [default: what the runtime reserves for]", metavar="WxH", rich_help_panel=_QUESTION),
]
NoVision = Annotated[bool, typer.Option("--no-vision", help="leave tower, projector and image graph out", rich_help_panel=_QUESTION)]
Imatrix = Annotated[
    Optional[bool],
    typer.Option("--imatrix/--no-imatrix", help="files made with or without an importance matrix [default: as published]", rich_help_panel=_QUESTION),
]
Beside = Annotated[
    Optional[list[str]],
    typer.Option(
        "--with",
        help="a model that already runs beside it, in a process of its own; repeat for more",
        metavar="MODEL[@QUANT][@CTX]",
        rich_help_panel=_QUESTION,
    ),
]

# The machine.
Gpus = Annotated[
    Optional[list[str]],
    typer.Option(
        "--gpu",
        "-g",
        help='a machine you do not own: "RTX 4090", 2x3090, 5090+3090, m4-max-64, a100-80:1g.10gb; repeat to compare',
        metavar="SPEC",
        rich_help_panel=_MACHINE,
    ),
]
Gpu = Annotated[
    Optional[list[str]],
    typer.Option("--gpu", "-g", help='a machine you do not own: "RTX 4090", 2x3090, 5090+3090, m4-max-64', metavar="SPEC", rich_help_panel=_MACHINE),
]
Vram = Annotated[
    _Text, typer.Option("--vram", help="a budget instead of a card: 24, 24GB, 81559MiB, 2x24GB, 24GB+12GB", metavar="SIZE", rich_help_panel=_MACHINE)
]
Ram = Annotated[
    _Text, typer.Option("--ram", help="host memory for what does not go on the GPU [default: this computer's]", metavar="SIZE", rich_help_panel=_MACHINE)
]
RamBandwidth = Annotated[
    _Text,
    typer.Option(
        "--ram-bandwidth",
        help="what host memory delivers, for speeds where a token reads it: channels x 8 x GT/s, 96 for two of DDR5-6000",
        metavar="GB/S",
        rich_help_panel=_MACHINE,
    ),
]
Reserve = Annotated[
    _Text, typer.Option("--reserve", help="memory to leave free per GPU [default: what the runtime leaves]", metavar="SIZE", rich_help_panel=_MACHINE)
]
Idle = Annotated[bool, typer.Option("--idle", help="count memory that other processes hold as free", rich_help_panel=_MACHINE)]
IgnorePids = Annotated[
    Optional[list[int]],
    typer.Option("--ignore-pid", help="count memory that this process holds as free; repeat for more", metavar="N", rich_help_panel=_MACHINE),
]

# The runtime's own settings.
Ubatch = Annotated[Optional[int], typer.Option("--ubatch", help="tokens per step [default: the runtime's]", metavar="N", rich_help_panel=_SETTINGS)]
NoFlashAttention = Annotated[bool, typer.Option("--no-flash-attn", help="without flash attention", rich_help_panel=_SETTINGS)]
NoKvOffload = Annotated[bool, typer.Option("--no-kv-offload", help="keep the cache in host memory", rich_help_panel=_SETTINGS)]
CpuMoe = Annotated[bool, typer.Option("--cpu-moe", help="keep the experts in host memory", rich_help_panel=_SETTINGS)]
NCpuMoe = Annotated[int, typer.Option("--n-cpu-moe", help="keep the experts of the first N layers in host memory", metavar="N", rich_help_panel=_SETTINGS)]
TensorSplit = Annotated[
    _Text, typer.Option("--tensor-split", help="share of the layers of each GPU: 3,1 [default: what fits]", metavar="N[,N...]", rich_help_panel=_SETTINGS)
]
TensorParallel = Annotated[int, typer.Option("--tp", help="tensor parallel ranks", metavar="N", rich_help_panel=_SETTINGS)]
PipelineParallel = Annotated[int, typer.Option("--pp", help="pipeline parallel ranks", metavar="N", rich_help_panel=_SETTINGS)]
GpuLayers = Annotated[
    Optional[int],
    typer.Option("--gpu-layers", help="layers on the GPUs, the output layer counted as one [default: all that fit]", metavar="N", rich_help_panel=_SETTINGS),
]
Draft = Annotated[_Text, typer.Option("--draft", help="a draft model that guesses tokens ahead", metavar="MODEL[@QUANT]", rich_help_panel=_SETTINGS)]
Mtp = Annotated[bool, typer.Option("--mtp", help="the model's own next-token layers guess tokens ahead", rich_help_panel=_SETTINGS)]

# What counts as a yes.
Offload = Annotated[bool, typer.Option("--offload", help="with a part in host memory is a yes", rich_help_panel=_YES)]
Strict = Annotated[bool, typer.Option("--strict", help="with less than the reserve left free is a no", rich_help_panel=_YES)]
RequireGpu = Annotated[bool, typer.Option("--require-gpu", help="no GPU in this computer is an error", rich_help_panel=_YES)]

# Which models, of `fit`; which hardware, of `buy`.
Family = Annotated[_Text, typer.Option("--family", help="families: qwen3,gemma-3", metavar="NAME[,NAME...]", rich_help_panel=_MODELS)]
Variant = Annotated[
    _Text,
    typer.Option(
        "--variant",
        help="what they were trained to do: instruct, reasoning, base, embedding, guard",
        metavar="NAME[,NAME...]",
        rich_help_panel=_MODELS,
    ),
]
Vision = Annotated[bool, typer.Option("--vision", help="only models that see", rich_help_panel=_MODELS)]
Commercial = Annotated[bool, typer.Option("--commercial", help="only licences that allow commercial use, with conditions or without", rich_help_panel=_MODELS)]
_LEAST_SPEED = "tokens per second, by the slower end of the estimate"
MinSpeed = Annotated[Optional[float], typer.Option("--min-speed", help=_LEAST_SPEED, metavar="N", rich_help_panel=_MODELS)]
MinSpeedOfHardware = Annotated[Optional[float], typer.Option("--min-speed", help=_LEAST_SPEED, metavar="N", rich_help_panel=_HARDWARE)]
MaxPrice = Annotated[_Text, typer.Option("--max-price", help="US dollars for all cards, or the machine: 2500, 2.5k", metavar="USD", rich_help_panel=_HARDWARE)]
Vendors = Annotated[_Text, typer.Option("--vendor", help="of these alone: nvidia, amd, intel, apple", metavar="V[,V...]", rich_help_panel=_HARDWARE)]
Cards = Annotated[
    Optional[int], typer.Option("--cards", help="so many of a kind [default: the fewest of 1, 2, 4 and 8 that do]", metavar="N", rich_help_panel=_HARDWARE)
]
Compare = Annotated[
    _Text, typer.Option("--compare", help="these machines side by side: 4090,5090,m4-max-64,2x3090", metavar="SPEC,SPEC...", rich_help_panel=_HARDWARE)
]

# The answer.
Form = Annotated[str, typer.Option("--format", "-f", help=FORMATS, metavar="F", rich_help_panel=_ANSWER)]
AsJson = Annotated[bool, typer.Option("--json", help="same as --format json", rich_help_panel=_ANSWER)]
Explain = Annotated[bool, typer.Option("--explain", "-x", help="formula, certainty and source of each part", rich_help_panel=_ANSWER)]
Quiet = Annotated[bool, typer.Option("--quiet", help="print nothing, answer with the exit code", rich_help_panel=_ANSWER)]
AllModels = Annotated[bool, typer.Option("--all", help="every model that fits, not the first 25 alone", rich_help_panel=_ANSWER)]
Limit = Annotated[
    Optional[int],
    typer.Option("--limit", help="rows of the table; 0: all, as machine formats have them [default: 40]", metavar="N", rich_help_panel=_ANSWER),
]
AllGpus = Annotated[bool, typer.Option("--all", help="the whole catalogue", rich_help_panel=_QUESTION)]
Doctor = Annotated[bool, typer.Option("--doctor", help="what every way of asking this machine answers, raw, for a bug report", rich_help_panel=_QUESTION)]
Version = Annotated[bool, typer.Option("--version", help="print the version and the date of the data")]

# Many questions at once.
BatchFile = Annotated[
    _Text, typer.Option("--batch", help="one request per line (NDJSON), one answer per line; - reads standard input", metavar="FILE|-", rich_help_panel=_MANY)
]
NodesFile = Annotated[
    _Text,
    typer.Option(
        "--nodes",
        help="a fleet: the output of `kubectl get nodes -o json`, `scontrol show nodes --json`, CSV of nvidia-smi or `runlocal gpus --json`; "
        "- reads standard input",
        metavar="FILE|-",
        rich_help_panel=_MANY,
    ),
]

_EXAMPLES = {
    "check": (
        "llama-3.2-90b-vision",
        "qwen3-32b --gpu 2x3090 -c 32k",
        "qwen3-32b --gpu 3090 --gpu 4090",
        "llama-3.1-8b qwen3-8b -q Q4_K_M --vram 8GB",
        "gpt-oss-120b --gpu 4090 --ram 64GB --offload",
        "gpt-oss-20b --vram 16GB --json",
        "./model.gguf --explain",
    ),
    "fit": ("", "--gpu 3060-12gb -c 16k --min-speed 20", "qwen --vision --commercial --vram 24GB"),
    "buy": ("llama-3.3-70b", "qwen3-32b -q Q8_0 -c 32k --max-price 2500", "llama-3.3-70b --compare 4090,2x3090,m4-max-64"),
    "models": ("", "qwen3 8b", "--json"),
    "show": ("llama-3.2-90b-vision", "qwen3-32b --gpu 2x3090"),
    "gpus": ("", "4090", "--all", "--doctor"),
}


def examples(command: str) -> str:
    """What stands below the options, a line each; `\\b` keeps help from filling them into a paragraph."""
    return "\n".join(["\b", "Examples:", *(f"  runlocal {command} {words}".rstrip() for words in _EXAMPLES[command])])


class Command(TyperCommand):
    """A command whose help has its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """In the order in which the groups first occur."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)
