"""Weights as parts: a recipe's tensor by tensor, a published mixture's as shares of its file."""

from collections.abc import Iterable, Iterator

from runlocal.core.model import PublishedFile
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.engines.ggml.files import Files
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.weights import EMBEDDING, Weight
from runlocal.quants.gguf import Recipe


def weight_parts(files: Files, recipe: Recipe, weights: Iterable[Weight]) -> Iterator[Part]:
    """One part per device and group."""
    totals: dict[tuple[str, str], int] = {}
    for weight in weights:
        key = (weight.device, weight.group)
        totals[key] = totals.get(key, 0) + weight.bytes
    rule, source = files.origin(recipe)
    because = f"{rule}, {files.bits_per_weight(recipe):.2f} bits per weight over the file"
    for (device, group), size in totals.items():
        padded = "" if device == HOST else ", rows and tensors padded as CUDA pads them"
        yield Part(Kind.WEIGHTS, group, device, size, Basis.EXACT, because + padded, source)


def mixture_parts(files: Files, file: PublishedFile, placement: Placement, *, one_memory: bool) -> Iterator[Part]:
    """A published file on its devices, each at the most that it may get."""
    from runlocal.engines.ggml.mixture import shares, whole_because

    layout = files.layout
    found = shares(
        files.tensors,
        file,
        placement,
        files.facts.types,
        tied=layout.tied and not layout.single_embedding,
        twice=layout.two_embeddings,
        margin_percent=files.facts.ggml["mixture_layer_margin_percent"],
        one_memory=one_memory,
    )
    because = whole_because(file)
    for share in found:
        yield Part(
            kind=Kind.WEIGHTS,
            label=EMBEDDING if share.embedding_only else "tensors of the file",
            device=share.device,
            bytes=share.bytes,
            basis=Basis.MEASURED if share.certain else Basis.ESTIMATED,
            because=because + ("" if share.certain else "; which tensor has which type is not known: the most that this device may get of it"),
            source=file.url,
        )
