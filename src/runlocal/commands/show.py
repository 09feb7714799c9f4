"""`runlocal show MODEL`: the catalogue page of one model: what it is, what it takes, what stands around it, and where each fact is from."""

from collections.abc import Iterator, Mapping

from runlocal.architectures import layout
from runlocal.catalog.facts import storage_types
from runlocal.catalog.models import bundled, index
from runlocal.catalog.runtimes import all_support
from runlocal.commands import machines
from runlocal.commands.check import open_model
from runlocal.commands.options import Options, read
from runlocal.commands.show_facts import sections
from runlocal.core.errors import Problem
from runlocal.core.listing import Column, Form, Listing, Page, Shown, Value
from runlocal.core.machine import Machine
from runlocal.core.model import Loss, ModelSpec
from runlocal.core.part import Basis
from runlocal.core.units import context_text
from runlocal.runtimes import Runtime, is_priced
from runlocal.solve.asked import HEADLINE_TOKENS, Asked
from runlocal.solve.grid import cells, headline
from runlocal.solve.opening import open_for
from runlocal.solve.ranks import ranks_in_vllm, source
from runlocal.solve.relatives import Relatives, relatives
from runlocal.solve.shelf import smallest_machine

Row = Mapping[str, Value]

_SITES = {"huggingface": "https://huggingface.co/", "gguf": "https://huggingface.co/", "ollama": "https://ollama.com/library/"}


def run(name: str, options: Options) -> Page:
    """The page of the model that `name` means, its verdicts on the machine of the options. Raises Problem."""
    opened = open_model(name)
    model, around = opened.model, relatives(opened.model)
    machine = machines.one_machine(options, "show").machine
    asked = read(options)._replace(contexts=(min(HEADLINE_TOKENS, model.context.native_tokens),))
    return Page(
        kind="model",
        title=model.name if model.name == model.id else f"{model.name} ({model.id})",
        sections=sections(model, around),
        listings=(
            *_sizes(model, asked, machine),
            *_files(model),
            *_ranks(model),
            *_comparisons(around, asked, machine),
            *_scores(model),
            _runtimes(model),
            _aliases(model),
            _sources(model),
        ),
        notes=opened.notes,
    )


def _sizes(model: ModelSpec, asked: Asked, machine: Machine) -> Iterator[Listing]:
    """The file in every usual quantization of the runtime that loads the model: its size, what it lost, what holds it; else the checkpoint."""
    try:
        runtime = open_for(model, asked.runtime, asked.version)
    except Problem:
        yield from _checkpoint(model, "nothing that is priced loads it")
        return
    if not is_priced(runtime.id):
        yield from _checkpoint(model, f"what {runtime.id} takes is not computed in this version")
        return
    found = cells(runtime, asked, machine)
    tokens = context_text(found[0].context_tokens)
    losses = {(loss.quant, loss.measure, loss.imatrix): loss for loss in model.losses}
    measures = tuple(dict.fromkeys(loss.measure for loss in model.losses))
    rows: list[dict[str, Value]] = []
    for cell in found:
        recipe = runtime.recipe(cell.quant, asked.imatrix)
        row: dict[str, Value] = {
            "quant": cell.quant,
            "bits_per_weight": round(runtime.bits_per_weight(recipe), 2),
            "tensor_bytes": cell.tensor_bytes,
            "need_bytes": cell.need_bytes,
            "answer": cell.answer,
            "fits_context_tokens": cell.fits_context_tokens,
            "speed": cell.speed.text if cell.speed else None,
            "tokens_per_second_least": cell.speed.rounded[0] if cell.speed else None,
            "tokens_per_second_most": cell.speed.rounded[1] if cell.speed else None,
            "smallest_machine": _smallest(runtime, asked, cell.quant),
        }
        for measure in measures:
            loss = losses.get((cell.quant, measure, recipe.imatrix)) or losses.get((cell.quant, measure, not recipe.imatrix))
            row[_key(measure)] = loss.value if loss else None
        rows.append(row)
    yield Listing(
        kind="sizes",
        title=f"Sizes of the language model's tensors ({runtime.id} {runtime.version}), at {tokens} context on {machine.label}",
        columns=(
            Column("quant", "quant"),
            Column("bits_per_weight", "bits/weight", Form.NUMBER, extra=True),
            Column("tensor_bytes", "download", Form.GB),
            Column("need_bytes", "needs", Form.GIB),
            Column("answer", "here", Form.ANSWER),
            Column("fits_context_tokens", "up to", Form.LONGEST),
            *((Column("speed", "est. t/s", Form.NUMBER, extra=True, on=Shown.SCREEN),) if any(cell.speed for cell in found) else ()),
            Column("tokens_per_second_least", "t/s at least", Form.NUMBER, on=Shown.DATA),
            Column("tokens_per_second_most", "t/s at most", Form.NUMBER, on=Shown.DATA),
            Column("smallest_machine", "smallest that holds it"),
            *(Column(_key(measure), measure, Form.NUMBER) for measure in measures),
        ),
        rows=tuple(rows),
        notes=tuple(dict.fromkeys(_measured_by(loss) for loss in model.losses)),
    )


def _checkpoint(model: ModelSpec, why: str) -> Iterator[Listing]:
    """The checkpoint in its own type, where that is one size for every value; its tensors, tower and projector together.

    why: it stands in place of what files take
    """
    stored = storage_types().get(model.checkpoint_type)
    if stored is None or stored.block_elements > 1:
        return
    row: Row = {"quant": model.checkpoint_type, "tensor_bytes": (layout(model).parameters() + model.tower_parameters) * stored.block_bytes}
    yield Listing(
        kind="sizes",
        title=f"Size of the checkpoint's tensors; {why}",
        columns=(Column("quant", "type"), Column("tensor_bytes", "download", Form.GB)),
        rows=(row,),
    )


def _files(model: ModelSpec) -> Iterator[Listing]:
    if not model.files:
        return
    rows = tuple(
        {"quant": file.quant, "file_bytes": file.bytes, "publisher": file.publisher, "url": file.url, "checked": file.checked, "note": file.note}
        for file in sorted(model.files, key=lambda file: -file.bytes)
    )
    yield Listing(
        kind="files",
        title="Published files that no recipe gives",
        columns=(
            Column("quant", "quant"),
            Column("file_bytes", "download", Form.GB),
            Column("publisher", "publisher"),
            Column("url", "where", extra=True),
            Column("checked", "read on", extra=True),
            *((Column("note", "note"),) if any(file.note for file in model.files) else ()),
        ),
        rows=rows,
    )


def _ranks(model: ModelSpec) -> Iterator[Listing]:
    """What a rank of vLLM holds of the weights, where that is known to the byte."""
    rows: tuple[Row, ...] = tuple(
        {"tensor_parallel": size.number, "weight_bytes": size.weight_bytes, "basis": Basis.EXACT, "source": source()}
        for size in ranks_in_vllm(model)
        if size.weight_bytes is not None
    )
    if rows:
        yield Listing(
            kind="ranks",
            title=f"Weights that each rank of vLLM holds of the checkpoint in {model.checkpoint_type}",
            columns=(
                Column("tensor_parallel", "--tp", Form.NUMBER),
                Column("weight_bytes", "weights", Form.GIB),
                Column("basis", "they are"),
                Column("source", "source", extra=True),
            ),
            rows=rows,
            notes=("Caches, activations, CUDA graphs and what communication takes are not computed in this version.",),
        )


def _smallest(runtime: Runtime, asked: Asked, quant: str) -> str | None:
    (tokens,) = asked.contexts or (HEADLINE_TOKENS,)
    workload = asked.workload._replace(context_tokens=tokens or HEADLINE_TOKENS)
    return smallest_machine(runtime, runtime.recipe(quant, asked.imatrix), workload, asked.reserve_bytes)


def _key(measure: str) -> str:
    return measure.lower().replace(" ", "_")


def _measured_by(loss: Loss) -> str:
    whole = "" if loss.unquantized is None else f"; unquantized {loss.unquantized:g}"
    return f"{loss.measure}: measured by {loss.measured_by}, {loss.date}{whole} ({loss.url})"


def _comparisons(around: Relatives, asked: Asked, machine: Machine) -> Iterator[Listing]:
    """Models as large, and a tier above and below, each with its verdict; those that no priced runtime loads are left out."""
    rows = []
    for one in around.compared:
        model = bundled(one.id)
        here = asked._replace(contexts=(min(HEADLINE_TOKENS, model.context.native_tokens),))
        try:
            runtime = open_for(model, asked.runtime, asked.version)
            if not is_priced(runtime.id):
                return
            best = headline(cells(runtime, here, machine), here, (HEADLINE_TOKENS,))
        except Problem:
            continue
        rows.append(
            {
                "id": one.id,
                "band": one.band,
                "parameters": index()[one.id]["parameters"],
                "released": model.released,
                "quant": best.quant,
                "need_bytes": best.need_bytes,
                "answer": best.answer,
                "fits_context_tokens": best.fits_context_tokens,
            }
        )
    if rows:
        yield Listing(
            kind="comparisons",
            title=f"Worth comparing, on {machine.label}",
            columns=(
                Column("id", "model"),
                Column("band", "it is"),
                Column("parameters", "size", Form.PARAMETERS),
                Column("released", "released", extra=True),
                Column("quant", "quant"),
                Column("need_bytes", "needs", Form.GIB, extra=True),
                Column("answer", "here", Form.ANSWER),
                Column("fits_context_tokens", "up to", Form.LONGEST),
            ),
            rows=tuple(rows),
        )


def _scores(model: ModelSpec) -> Iterator[Listing]:
    if not model.scores:
        return
    rows = tuple(
        {
            "benchmark": score.benchmark,
            "result": f"{score.value:g} {score.unit}",
            "measured_by": score.measured_by,
            "date": score.date,
            "url": score.url,
        }
        for score in model.scores
    )
    columns = (
        Column("benchmark", "benchmark"),
        Column("result", "result"),
        Column("measured_by", "measured by"),
        Column("date", "date"),
        Column("url", "where", extra=True),
    )
    yield Listing(kind="scores", title="Benchmarks", columns=columns, rows=rows)


def _runtimes(model: ModelSpec) -> Listing:
    words = {True: "yes", False: "no", None: "not known"}
    rows = [
        {"id": s.id, "loads": words[s.loads], "versions": s.versions, "newest_known": s.newest_known, "note": s.note, "said": s.note or "", "source": s.source}
        for s in all_support(model.architecture, model.hf_architecture, model.vision is not None)
    ]
    columns = (
        Column("id", "runtime"),
        Column("loads", "loads it today"),
        Column("versions", "versions"),
        Column("newest_known", "newest seen"),
        Column("note", "note", on=Shown.DATA),
        Column("said", "note", on=Shown.SCREEN),
    )
    return Listing(kind="runtimes", title="Runtimes", columns=columns, rows=tuple(rows))


def _aliases(model: ModelSpec) -> Listing:
    rows = tuple({"name": alias.name, "kind": alias.kind, "variant": alias.variant, "url": _SITES[alias.kind] + alias.name} for alias in model.aliases)
    columns = (Column("name", "name"), Column("kind", "kind"), Column("variant", "weights"), Column("url", "where", extra=True))
    return Listing(kind="aliases", title="Where to get it, and its other names", columns=columns, rows=rows)


def _sources(model: ModelSpec) -> Listing:
    rows: tuple[Mapping[str, Value], ...] = (
        {"url": model.parameters.source, "what": "published parameter count", "checked": None},
        *({"url": s.url, "what": s.what, "checked": s.checked} for s in model.sources),
    )
    return Listing(kind="sources", title="Sources", columns=(Column("url", "where"), Column("what", "what"), Column("checked", "read on")), rows=rows)
