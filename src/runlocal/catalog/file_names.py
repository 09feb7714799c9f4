"""What a program was given as its model: a file, a repository or a tag, by the name that the catalogue has for it."""

import re

from runlocal.catalog import bundle
from runlocal.catalog.names import normal

_LONGEST = 400
_SHARD = r"-\d{5}-of-\d{5}$"  # of a file in several parts
_QUANT = r"[-._](?:ud[-_])?(?:i?q\d\w*|tq\d_\d|bf16|fp?16|fp?32|mxfp4\w*|nvfp4\w*)$"


def model_named(text: str) -> str | None:
    """Id of the bundled model; None where the name means none, or several.

    text: `/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf`, `bartowski/Qwen_Qwen3-8B-GGUF:Q4_K_M`, `llama3.1:8b`
    """
    exact = bundle.read("names")
    typed = text.strip()[-_LONGEST:].lower()
    repository = re.sub(r"(?<=/)([^/:]+):[^/:]+$", r"\1", typed)  # without `:Q4_K_M`
    for name in (typed, repository):
        if known := exact.get(name):
            return str(known)
    last = re.split(r"[/\\]", repository)[-1]
    stem = re.sub(_QUANT, "", re.sub(_SHARD, "", last.removesuffix(".gguf")))
    # Some publishers write the owner of the weights in front: `Qwen_Qwen3-8B`.
    for name in (stem, stem.partition("_")[2]):
        found = _loose(normal(name))
        if found is not None:
            return found
    return None


def _loose(key: str) -> str | None:
    tables = bundle.read("loose_names")
    for table in ("ids", "loose"):
        found = tables[table].get(key, [])
        if found:
            return str(found[0]) if len(found) == 1 else None
    return None
