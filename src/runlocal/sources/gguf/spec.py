"""GGUF header to `ModelSpec`. What enters a tensor's shape is read from the tensors; the fields say only what no shape can."""

from collections.abc import Iterator

from runlocal.architectures import ARCHITECTURES, layout
from runlocal.core.errors import Code, Problem
from runlocal.core.model import ModelSpec
from runlocal.sources.files import bad_file, identifier, label
from runlocal.sources.gguf import delta, gemma, states
from runlocal.sources.gguf.header import Header, stem
from runlocal.sources.gguf.metadata import BROKEN, LARGEST_LAYERS, Metadata
from runlocal.sources.gguf.origin import BY_NAME_ONLY, hugging_face_name
from runlocal.sources.gguf.shapes import shapes_of
from runlocal.sources.gguf.stored import matrices, quantization
from runlocal.sources.gguf.text import read_text, searched
from runlocal.sources.stranger import UNKNOWN, stranger

_BEGINNINGS = {
    "clip": "a projector (mmproj), which is only half of a model",
    "adapter": "an adapter (LoRA), which changes a model but is none",
    "imatrix": "an importance matrix, not a model",
}
_VARIANTS = {"instruct": "instruct", "it": "instruct", "chat": "instruct", "base": "base", "pt": "base"}
_TOWER = ("v.", "mm.")


def spec(header: Header, path: str) -> ModelSpec:
    """The model that the file holds.

    Raises Problem: bad_file where a field is missing or contradicts the tensors, not_computed where it is no language model, or one that
    `architectures` does not lay out.
    """
    kind, architecture = header.fields.get("general.type"), header.fields.get("general.architecture")
    if kind == "mmproj":
        kind = "clip"
    if what := _BEGINNINGS.get(str(kind)) or _BEGINNINGS.get(str(architecture)):
        raise Problem(Code.NOT_COMPUTED, f"{label(path)} is {what}", hint="give the model's own .gguf file")
    if not isinstance(architecture, str):
        raise bad_file(path, "the field general.architecture is missing", hint="convert the model again with today's llama.cpp")
    if architecture not in ARCHITECTURES or architecture in BY_NAME_ONLY:
        raise Problem(
            Code.NOT_COMPUTED,
            f"{label(path)} is of the architecture {architecture!r}, which this version does not read from a file",
            hint="runlocal check llama-3.2-11b-vision" if architecture == "mllama" else "`runlocal models` lists the models that are known by name",
        )
    if not header.tensors:
        raise bad_file(path, "holds no tensors, only a vocabulary", hint="give the model's own .gguf file")
    block_count = Metadata(header, architecture, path, 0).positive("block_count")
    if block_count > LARGEST_LAYERS:
        raise bad_file(path, f"{block_count:,} layers are more than any model has", hint=BROKEN)
    fields = Metadata(header, architecture, path, block_count)
    if architecture == "deci":
        fields = fields.without_zeros("attention.head_count", "attention.head_count_kv")
    fields = delta.tidied(states.tidied(fields))
    shapes = shapes_of(fields)
    text = read_text(fields, shapes)
    if architecture == "gemma4":
        text = gemma.gemma4(fields, shapes.layers, text)
    elif architecture == "gemma3n":
        text = gemma.gemma3n(fields, shapes.dimensions, text)
    elif architecture == "deci":
        text = searched(fields, shapes, text)
    elif architecture in states.PURE + states.HYBRID:
        text = states.stateful(fields, shapes.dimensions, shapes.layers, text)
    elif architecture in delta.KIMI:
        text = delta.with_delta(fields, shapes.dimensions, shapes.layers, text)
    elif architecture in delta.STREAMED:
        text = delta.with_streams(fields, shapes.dimensions, shapes.layers, text)
    return stranger(
        path,
        model_id=identifier(stem(path)),
        name=fields.text("name"),
        vendor=fields.text("organization"),
        variant=_variant(fields),
        architecture=architecture,
        hf_architecture=hugging_face_name(architecture) or UNKNOWN,
        checkpoint_type=(quantization(header) or UNKNOWN).removesuffix("_MOE"),
        context_tokens=fields.positive("context_length"),
        text=text,
        what="metadata and tensor shapes of the file itself",
    )


def warnings(header: Header, model: ModelSpec) -> Iterator[str]:
    """What the reader of an answer about the file should know, a sentence each."""
    for number, (start, size) in enumerate(zip(header.data_offset_bytes, header.file_bytes, strict=True)):
        last = max((tensor.offset for tensor in header.tensors if tensor.part == number), default=-1)
        if start + last >= size:
            yield "The file ends before its tensors do: the download did not finish."
            break
    computed = layout(model).tensors()
    shaped = {(t.role, t.columns, t.rows, t.copies, layer) for t in computed for layer in t.layers or (None,)}
    if any(tensor.name.startswith(_TOWER) for tensor in header.tensors):
        yield "The file holds a vision tower too: its tensors count as weights, the buffers that an image needs are not counted."
    stored = {(role, *(*shape, 1, 1, 1)[:3], layer) for role, layer, shape in matrices(header) if not role.startswith(_TOWER)}
    if odd := sorted({str(entry[0]) for entry in shaped ^ stored}):
        yield f"Its tensors are not quite those of a {model.architecture} model: {', '.join(odd[:5])}."


def _variant(fields: Metadata) -> str | None:
    """What the weights were trained to do, where the file says it in a word that is known."""
    return _VARIANTS.get((fields.text("finetune") or "").lower())
