"""Ollama's store: `blobs/sha256-…` holds a model's file, and `manifests/REGISTRY/OWNER/MODEL/TAG` says which tag it belongs to.

https://github.com/ollama/ollama/blob/main/manifest/paths.go
"""

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from runlocal.probes.text import read_text

_OFFICIAL = ("registry.ollama.ai", "library")
_DEPTH = 4  # registry, owner, model, tag
_MOST_ENTRIES = 4096
_LONGEST_MANIFEST = 1 << 16


def tags(blob: Path) -> tuple[str, ...]:
    """What Ollama calls the model of that file: `llama3.1:8b`, `owner/model:tag`, `hf.co/owner/repository:Q4_K_M`; empty where its store cannot be read."""
    digest = re.fullmatch(r"sha256-([0-9a-f]{64})", blob.name)
    if digest is None:
        return ()
    root = blob.parent.parent / "manifests"
    wanted = f'"sha256:{digest[1]}"'
    # The path is a stranger's: a pipe would never end.
    files = (path for path in _manifests(root) if os.path.isfile(path))
    return tuple(_tag(path.relative_to(root).parts) for path in files if wanted in (read_text(path, _LONGEST_MANIFEST) or ""))


def _manifests(root: Path) -> Iterator[Path]:
    """Everything that lies as deep as tags do, of the first so many entries of each folder."""
    folders = [root]
    for _ in range(_DEPTH):
        folders = list(islice((folder / name for folder in folders for name in _names(folder)), _MOST_ENTRIES))
    yield from folders


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, _MOST_ENTRIES) if not entry.is_symlink())
    except (OSError, ValueError):
        return []


def _tag(parts: tuple[str, ...]) -> str:
    registry, owner, model, tag = parts
    if (registry, owner) == _OFFICIAL:
        return f"{model}:{tag}"
    return f"{owner}/{model}:{tag}" if registry == _OFFICIAL[0] else f"{registry}/{owner}/{model}:{tag}"
