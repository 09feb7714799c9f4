"""`runlocal check MODEL --nodes`: which nodes of an inventory run a model, and how many processes of it each holds."""

from collections.abc import Sequence
from typing import BinaryIO

from runlocal.commands.check import open_model
from runlocal.commands.options import Options, read
from runlocal.core.errors import Code, Exit, Problem
from runlocal.core.fleet import Node
from runlocal.core.listing import Column, Fact, Form, Listing, Page, Section, Value
from runlocal.core.noun import NamedTuple
from runlocal.core.verdict import best
from runlocal.solve.fleet import FleetJudge, Held
from runlocal.solve.opening import open_for
from runlocal.sources import fleet as inventories

_NODES_SHOWN = 20
_KINDS_SHOWN = 40
_NOTES = 12

_KINDS = (
    Column("gpus", "GPUs"),
    Column("nodes", "nodes", Form.COUNT),
    Column("answer", "answer", Form.ANSWER),
    Column("quant", "quant"),
    Column("gpus_per_replica", "GPUs each", Form.NUMBER),
    Column("nodes_yes", "run it", Form.COUNT),
    Column("replicas", "replicas", Form.COUNT),
    Column("reason", "why not", extra=True),
)
_NODES = (
    Column("node", "node"),
    Column("gpus", "GPUs"),
    Column("answer", "answer", Form.ANSWER),
    Column("quant", "quant", extra=True),
    Column("replicas", "replicas", Form.COUNT),
    Column("gpus_per_replica", "GPUs each", Form.NUMBER),
    Column("most_gpus_per_replica", "at most", Form.NUMBER, extra=True),
    Column("down", "down", Form.YES_NO, extra=True),
    Column("reason", "why not", extra=True),
)
_OFF_THE_GPUS = ("ram", "offload", "cpu_moe", "n_cpu_moe", "gpu_layers", "kv_offload", "tensor_split")  # or deals layers out by hand


class Found(NamedTuple):
    """The report: `page` for people, every kind and node in `whole`; the nodes alone, for tables; the answer as an exit code."""

    page: Page
    whole: Page
    nodes: Listing
    exit: Exit


def run(names: Sequence[str], options: Options, source: str, stream: BinaryIO | None = None) -> Found:
    """source: the inventory's path; stream: it is standard input. Raises Problem."""
    _check_options(names, options)
    asked = read(options)
    for option, values in (("--ctx", asked.contexts), ("--kv", asked.caches)):
        if values is not None and len(values) > 1:
            raise Problem(Code.BAD_VALUE, f"{option}: a fleet is asked about one value", hint="ask once per value")
    opened = open_model(names[0])
    judge = FleetJudge(open_for(opened.model, asked.runtime, asked.version, opened.own), asked, idle=options.idle)
    if stream is not None:
        fleet = inventories.read(stream, "standard input")
    else:
        with inventories.open_inventory(source) as file:
            fleet = inventories.read(file, inventories.label(source))
    judged = [(node, judge.held(node)) for node in fleet.nodes]
    if options.require_gpu and not any(node.cards for node in fleet.nodes):
        raise Problem(Code.NO_GPU, "no node of this inventory has a GPU")
    yes = any(held.sizes for _, held in judged)
    notes = (*opened.notes, *fleet.notes, *_notes(judge, judged, idle=options.idle))
    return Found(
        page=_blanked(_page(judge, judged, notes, _KINDS_SHOWN, _NODES_SHOWN)),
        whole=_page(judge, judged, notes, len(judged), len(judged)),
        nodes=_nodes(judged, notes, len(judged)),
        exit=Exit.YES if yes else Exit.NO,
    )


def _check_options(names: Sequence[str], options: Options) -> None:
    if len(names) != 1:
        raise Problem(Code.BAD_VALUE, "--nodes takes one model", hint="ask once per model")
    if options.gpu or options.vram is not None:
        raise Problem(Code.BAD_VALUE, "--nodes says itself which machines there are", hint="leave --gpu and --vram out")
    if options.beside or options.draft or options.ignore_pid:
        hint = "leave --with, --draft and --ignore-pid out"
        raise Problem(Code.BAD_VALUE, "--nodes asks about one model on every node, whoever holds the memory", hint=hint)
    if any(getattr(options, field) != Options._field_defaults[field] for field in _OFF_THE_GPUS):
        raise Problem(
            Code.BAD_VALUE,
            "--nodes asks what the GPUs of each node hold alone",
            hint="leave --ram, --offload, --tensor-split and what moves a part off the GPU out",
        )


def _page(judge: FleetJudge, judged: Sequence[tuple[Node, Held]], notes: tuple[str, ...], kinds_shown: int, nodes_shown: int) -> Page:
    runtime = judge.runtime
    answers = [held.answer for _, held in judged if held.answer is not None]
    without = sum(not node.cards for node, _ in judged)
    yes = sum(bool(held.sizes) for _, held in judged)
    unknown = sum(bool(node.cards) and held.answer is None for node, held in judged)
    replicas = sum(len(held.sizes) for _, held in judged)
    model, tokens = runtime.model, judge.workload.context_tokens
    facts = (
        Fact("model", "model", model.id),
        Fact("runtime", "runtime", runtime.id),
        Fact("runtime_version", "version", runtime.version),
        Fact("context_tokens", "context", tokens, Form.TOKENS),
        Fact("sequences", "sequences", judge.workload.sequences, Form.COUNT),
        Fact("answer", "answer", best(answers) if answers else None, Form.ANSWER),
        Fact("replicas", "replicas", replicas, Form.COUNT),
        Fact("nodes_read", "nodes", len(judged), Form.COUNT),
        Fact("nodes_yes", "run it", yes, Form.COUNT),
        Fact("nodes_no", "do not run it", len(judged) - yes - without - unknown, Form.COUNT),
        Fact("nodes_unknown", "GPUs of unknown memory", unknown, Form.COUNT),
        Fact("nodes_without_gpu", "without GPU", without, Form.COUNT),
        Fact("nodes_down", "down, and counted", sum(node.down for node, _ in judged), Form.COUNT),
        Fact("gpus_read", "GPUs and slices", sum(len(node.cards) for node, _ in judged), Form.COUNT),
    )
    return Page(
        kind="fleet",
        title=f"{model.name}: {yes:,} of {len(judged):,} node{'' if len(judged) == 1 else 's'} run{'s' if len(judged) == 1 else ''} it, "
        f"{replicas:,} replica{'' if replicas == 1 else 's'}",
        sections=(Section("fleet", facts),),
        listings=(_kinds(judged, kinds_shown), _nodes(judged, (), nodes_shown)),
        notes=notes,
    )


def _blanked(page: Page) -> Page:
    """Numbers that do not apply are blank for people, not unknown."""
    return page._replace(
        listings=tuple(
            listing._replace(rows=tuple({key: "" if value is None and key != "answer" else value for key, value in row.items()} for row in listing.rows))
            for listing in page.listings
        )
    )


def _kinds(judged: Sequence[tuple[Node, Held]], most: int) -> Listing:
    """A row per kind of node, the most replicas first."""
    by_label: dict[str, list[Held]] = {}
    for _, held in judged:
        by_label.setdefault(held.label, []).append(held)
    rows = [_kind(label, helds) for label, helds in by_label.items() if label]
    rows.sort(key=lambda row: (-row[1], row[0]))
    shown = tuple(row for _, _, row in rows[:most])
    return Listing("types", "By kind of node", _KINDS, shown, (f"{len(rows) - most:,} more kinds: --json lists them all.",) if len(rows) > most else ())


def _kind(label: str, helds: Sequence[Held]) -> tuple[str, int, dict[str, Value]]:
    answers = [held.answer for held in helds if held.answer is not None]
    yes = [held for held in helds if held.sizes]
    replicas = sum(len(held.sizes) for held in helds)
    row: dict[str, Value] = {
        "gpus": label,
        "nodes": len(helds),
        "answer": best(answers) if answers else None,
        "quant": ", ".join(dict.fromkeys(held.quant for held in yes or helds)) or None,
        "gpus_per_replica": min((held.sizes[0] for held in yes), default=None),
        "nodes_yes": len(yes),
        "replicas": replicas,
        "reason": "" if yes else helds[0].reason,
    }
    return label, replicas, row


def _nodes(judged: Sequence[tuple[Node, Held]], notes: tuple[str, ...], most: int) -> Listing:
    """A row per node, in the order of the inventory."""
    rows = tuple(_node(node, held) for node, held in judged[:most])
    more = (f"{len(judged) - most:,} more nodes: --json and --format csv list them all.",) if len(judged) > most else ()
    return Listing("nodes", "By node", _NODES, rows, (*notes, *more))


def _node(node: Node, held: Held) -> dict[str, Value]:
    return {
        "node": node.name,
        "gpus": held.label or "none",
        "answer": held.answer,
        "quant": held.quant or None,
        "replicas": len(held.sizes),
        "gpus_per_replica": held.sizes[0] if held.sizes else None,
        "most_gpus_per_replica": held.sizes[-1] if held.sizes else None,
        "down": node.down,
        "reason": node.problem or held.reason,
    }


def _notes(judge: FleetJudge, judged: Sequence[tuple[Node, Held]], *, idle: bool) -> list[str]:
    notes = ["A replica is one process; each takes the fewest GPUs that hold it, and each GPU has one. Host memory is not judged."]
    if judge.asked.quants is None:
        notes.append("Per kind of node: the finest quantization of those that need the fewest GPUs.")
    if not idle and not any(card.in_use_bytes is not None for node, _ in judged for card in node.cards):
        notes.append("What jobs and pods hold now is not counted: every GPU counts as free.")
    if judge.rounded:
        notes.append("Where a process takes several GPUs that others use, each counts as full as the fullest, rounded up to a 64th of its memory.")
    down = sum(node.down for node, _ in judged)
    if down:
        notes.append(f"Down, drained, cordoned or not ready: {down:,} of the nodes, counted as if they were up.")
    cards = list(judge.notes)
    return notes + cards[:_NOTES] + ([f"{len(cards) - _NOTES:,} more remarks on GPUs are left out."] if len(cards) > _NOTES else [])
