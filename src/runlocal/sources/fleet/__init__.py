"""Inventories of many machines, in the form of the tools that people already run. Nothing is contacted."""

import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from runlocal.core.errors import Code, Problem
from runlocal.core.fleet import Fleet, Node
from runlocal.sources.files import bad_file, clean, label, unreadable
from runlocal.sources.fleet import kubernetes, nvidia_smi, own, slurm
from runlocal.sources.fleet.reader import MOST_BYTES, Reader, documents
from runlocal.sources.fleet.texts import MOST_CARDS, name_of

__all__ = ["MOST_NODES", "label", "open_inventory", "read"]

MOST_NODES = 200_000

_HINT = "kubectl get nodes -o json; scontrol show nodes --json; runlocal gpus --json; nvidia-smi --query-gpu=index,name,memory.total --format=csv"


def read(stream: BinaryIO, called: str) -> Fleet:
    """The fleet of an inventory, whose form is told by what stands in it. Raises Problem (bad_file) with the line where it is wrong.

    called: what the inventory is called in messages
    """
    reader = Reader(stream, called)
    first = reader.peek()
    if not first:
        raise Problem(Code.BAD_FILE, f"{called} holds nothing", hint=_HINT)
    if first not in "{[":
        return nvidia_smi.read(reader)
    nodes: list[Node] = []
    try:
        for node in _nodes(reader):
            nodes.append(node)
            if len(nodes) > MOST_NODES:
                raise ValueError(f"more than {MOST_NODES:,} nodes are not read")
    except ValueError as error:
        raise reader.wrong(str(error), _HINT) from None
    return Fleet(tuple(nodes), ("The machines are numbered in the order of the text, which does not name them.",) if _numbered(nodes) else ())


def open_inventory(path: str) -> BinaryIO:
    """The file, or what a shell hands over as `<(command)`. Raises Problem (bad_file)."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise bad_file(path, "is a folder, not an inventory")
        if stat.S_ISREG(status.st_mode) and status.st_size > MOST_BYTES:
            raise bad_file(path, f"is larger than the {MOST_BYTES >> 20} MiB that an inventory may have", "ask about some of the nodes at a time")
        return open(path, "rb")
    except FileNotFoundError:
        raise Problem(Code.BAD_FILE, f"there is no file {clean(path)}", hint="--nodes takes a file, or - for standard input") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _numbered(nodes: list[Node]) -> bool:
    return any(node.name.startswith("machine ") for node in nodes)


def _nodes(reader: Reader) -> Iterator[Node]:
    """The nodes of every document, as they come."""
    machines = 0
    rows: list[Any] = []
    for document in documents(reader):
        alone: Any = next(document.values) if not document.key else None
        is_row = own.is_row(alone)
        if rows and not (is_row and own.goes_on(rows[-1], alone)):
            machines += 1
            yield own.machine(machines, rows)
            rows = []
        if is_row:
            rows.append(alone)
            if len(rows) > MOST_CARDS:
                raise ValueError(f"one machine has more than {MOST_CARDS} GPUs")
        elif not document.key:
            yield _alone(alone)
        elif document.key == "gpus":
            machines += 1
            yield own.machine(machines, document.values)
        else:
            yield from map(kubernetes.node if document.key == "items" else slurm.node, document.values)
    if rows:
        yield own.machine(machines + 1, rows)


def _alone(found: object) -> Node:
    """The node of an object that holds no list."""
    if isinstance(found, dict):
        if found.get("kind") == "Node":
            return kubernetes.node(found)
        if "gres" in found:
            return slurm.node(found)
        if found.get("schema") == "runlocal.error/1":
            raise ValueError("runlocal gpus had no answer there, but an error")
        raise ValueError(f"an object of {', '.join(map(repr, map(name_of, list(found)[:4]))) or 'nothing'} is no node that is known here")
    raise ValueError("this is no node that is known here")
