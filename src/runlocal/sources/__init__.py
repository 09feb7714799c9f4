"""A stranger's file to `ModelSpec`: a .gguf, a config.json, a model folder.

Where a change to the reading of config.json belongs: a class's row in `families`, one that sets a tower before another in `wrappers`; keys by
other names in `renamed`; what all models have in `text`, `windows` and `mixtures`; layers that only some have in `states`, `linear`, `delta`,
`gemma`, `searched`; towers in `vision`. `gguf` has files of the same names for the same things.
"""

import os

from runlocal.core.errors import Code, Problem
from runlocal.sources.found import Found

__all__ = ["Found", "is_path", "read"]

_ENDINGS = (".gguf", ".json", ".safetensors")
_BEGINNINGS = (".", "~", os.sep)


def is_path(text: str) -> bool:
    """Whether a MODEL means a file or folder: it ends like one, begins like a path, or exists here.

    `meta-llama/Llama-3.1-8B` alone means the repository unless a folder of that name is here.
    """
    separators = text.count(os.sep) + (text.count(os.altsep) if os.altsep else 0)
    return text.lower().endswith(_ENDINGS) or text.startswith(_BEGINNINGS) or separators > 1 or (bool(text) and os.path.exists(text))


def read(path: str) -> Found:
    """The model in the .gguf file, config.json or model folder at `path`.

    Raises Problem: bad_file where there is nothing to read, or it is cut short, malformed or something else; not_computed where it is a kind
    of model that this version does not lay out.
    """
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        from runlocal.sources.folder import read_folder

        return read_folder(path)
    name = os.path.basename(path).lower()
    if name.endswith((".safetensors", ".safetensors.index.json")):
        from runlocal.sources.files import label

        raise Problem(Code.BAD_FILE, f"{label(path)} holds tensors, but not what they are", hint="give the folder that it lies in, with its config.json")
    if name.endswith(".json"):
        from runlocal.sources.config import read_config

        return Found(spec=read_config(path))
    return _read_gguf(path)


def _read_gguf(path: str) -> Found:
    from runlocal.sources import gguf

    header = gguf.read_header(path)
    spec = gguf.spec(header, path)
    return Found(spec=spec, header=header, quant=gguf.quantization(header), warnings=tuple(gguf.warnings(header, spec)))
