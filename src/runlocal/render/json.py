"""The published JSON, version 1: compact, on one line, keys in the order of the contract. Schemas: docs/schema."""

from collections.abc import Iterator, Sequence
from json import dumps
from typing import TYPE_CHECKING, Any

from runlocal import __version__
from runlocal.core.errors import Problem
from runlocal.core.machine import Gpu
from runlocal.core.report import Cell, Check, MachineCheck, Spread
from runlocal.core.speed import Speed
from runlocal.core.verdict import best

if TYPE_CHECKING:
    from runlocal.core.listing import Listing, Page

CHECK, CHECKS, CELL, ERROR = "runlocal.check/1", "runlocal.checks/1", "runlocal.cell/1", "runlocal.error/1"

Object = dict[str, Any]
_NO_LINE = object()


def _text(value: Object) -> str:
    # ASCII only: an escape sequence from a stranger's file stays a string, and no terminal's encoding matters.
    return dumps(value, separators=(",", ":"))


def check_json(check: Check) -> str:
    """`runlocal check MODEL --json`."""
    return _text(_check(check))


def checks_json(checks: Sequence[Check]) -> str:
    """`runlocal check MODEL MODEL… --json`."""
    answers = [check.answer for check in checks if check.answer is not None]
    return _text({"schema": CHECKS, "answer": best(answers) if answers else None, "checks": [_check(check) for check in checks]})


def cell_json(id: object, model: str, cell: Cell) -> str:
    """An answer line of a batch. `id` is what the request gave, any JSON value, None where it gave none."""
    return _text({"id": id, "schema": CELL, "model": model, **_cell(cell)})


def error_json(problem: Problem, id: object = _NO_LINE) -> str:
    """An error; with `id`, even None, the error line of a batch."""
    line = {} if id is _NO_LINE else {"id": id}
    error = {"code": problem.code, "message": problem.message, "hint": problem.hint, "candidates": problem.candidates}
    return _text({**line, "schema": ERROR, "error": error})


def checks_ndjson(checks: Sequence[Check]) -> str:
    """Every cell of every check as a line of its own; `machine` tells lines of several machines apart."""
    return "\n".join(
        _text({"id": None, "schema": CELL, "model": check.model.id, "machine": found.machine.label, **_cell(cell)})
        for check in checks
        for found in check.machines
        for cell in found.cells
    )


def listing_json(listing: "Listing") -> str:
    """A listing with its rows' raw values."""
    return _text({"schema": f"runlocal.{listing.kind}/1", **_listing(listing), "notes": listing.notes})


def listing_ndjson(listing: "Listing") -> str:
    """A listing's rows, a line each."""
    return "\n".join(_text(row) for row in _rows(listing))


def page_json(page: "Page") -> str:
    """A page's facts in one object, then its listings by kind."""
    facts = {fact.key: fact.value for section in page.sections for fact in section.facts}
    tables = {key: rows for listing in page.listings for key, rows in _listing(listing).items()}
    return _text({"schema": f"runlocal.{page.kind}/1", **facts, **tables, "notes": page.notes})


def _listing(listing: "Listing") -> Object:
    return {listing.kind: list(_rows(listing))}


def _rows(listing: "Listing") -> Iterator[Object]:
    keys = listing.keys
    return ({key: row.get(key) for key in keys} for row in listing.rows)


def _check(check: Check) -> Object:
    model, license = check.model, check.license
    return {
        "schema": CHECK,
        "runlocal": __version__,
        "data": check.data,
        "answer": check.answer,
        "model": {
            "id": model.id,
            "name": model.name,
            "variant": model.variant,
            "architecture": model.architecture,
            "modalities": model.modalities,
            "parameters": check.parameters,
            "active_parameters": check.active_parameters,
            "layers": model.text.layers,
            "context_native_tokens": model.context.native_tokens,
            "context_extended_tokens": model.context.extended_tokens,
            "license": {
                "name": license.name,
                "commercial": license.commercial,
                "conditions": license.conditions,
                "gated": model.gated,
                "url": license.url,
                "checked": license.checked,
            },
            "sources": [source.url for source in model.sources],
        },
        "runtimes": [
            {"id": one.id, "loads": one.loads, "versions": one.versions, "newest_known": one.newest_known, "note": one.note, "source": one.source}
            for one in check.runtimes
        ],
        "machines": [_machine(found) for found in check.machines],
        "advice": [{"saves_bytes": one.saves_bytes, "change": one.change, "answer": one.answer, "command": one.command} for one in check.advice],
    }


def _machine(found: MachineCheck) -> Object:
    machine = found.machine
    return {
        "origin": machine.origin,
        "gpus": [_gpu(device) for device in machine.gpus],
        "host_memory_bytes": machine.host_bytes,
        "host_bandwidth_bytes": machine.host_bandwidth_bytes,
        "processes": [{"pid": one.pid, "name": one.name, "model": one.model, "bytes": one.bytes} for one in machine.holders],
        "cells": [_cell(cell) for cell in found.cells],
    }


def _gpu(device: Gpu) -> Object:
    return {
        "index": device.index,
        "id": device.id,
        "name": device.name,
        "memory_bytes": device.memory_bytes,
        "reserved_bytes": device.reserved_bytes,
        "in_use_bytes": device.in_use_bytes,
        "usable_bytes": device.usable_bytes,
    }


def _spread(spread: Spread | None) -> Object | None:
    if spread is None:
        return None
    return {
        "layers": [{"device": device, "first": first, "last": behind - 1} for device, first, behind in spread.ranges],
        "output": spread.output,
        "host_experts": spread.host_experts,
        "cache_on_host": spread.cache_on_host,
    }


def _speed(speed: Speed | None) -> Object | None:
    if speed is None:
        return None
    least, most = speed.rounded
    return {
        "tokens_per_second_least": least,
        "tokens_per_second_most": most,
        "basis": speed.basis,
        "because": speed.because,
    }


def _cell(cell: Cell) -> Object:
    # Key by key, though the nouns' fields have these names: a field added to a noun is not published by accident.
    return {
        "quant": cell.quant,
        "runtime": cell.runtime,
        "runtime_version": cell.runtime_version,
        "context_tokens": cell.context_tokens,
        "sequences": cell.sequences,
        "images": cell.images,
        "image_tokens": cell.image_tokens,
        "cache_type_k": cell.cache_type_k,
        "cache_type_v": cell.cache_type_v,
        "batch_tokens": cell.batch_tokens,
        "flash_attention": cell.flash_attention,
        "draft": cell.draft,
        "mtp": cell.mtp,
        "with": [
            {
                "model": one.model,
                "quant": one.quant,
                "runtime": one.runtime,
                "runtime_version": one.runtime_version,
                "context_tokens": one.context_tokens,
                "need_bytes": one.need_bytes,
                "host_need_bytes": one.host_need_bytes,
                "command": one.command,
            }
            for one in cell.beside
        ],
        "answer": cell.answer,
        "reason": cell.reason,
        "warnings": cell.warnings,
        "bits_per_weight": cell.bits_per_weight,
        "tensor_bytes": cell.tensor_bytes,
        "need_bytes": cell.need_bytes,
        "host_need_bytes": cell.host_need_bytes,
        "usable_bytes": cell.usable_bytes,
        "reserve_bytes": cell.reserve_bytes,
        "headroom_bytes": cell.headroom_bytes,
        "fits_context_tokens": cell.fits_context_tokens,
        "gpu_layers": cell.gpu_layers,
        "layers": cell.layers,
        "spread": _spread(cell.spread),
        "speed": _speed(cell.speed),
        "speed_unknown": cell.speed_unknown or None,
        "parts": [
            {
                "kind": part.kind,
                "label": part.label,
                "device": part.device,
                "bytes": part.bytes,
                "basis": part.basis,
                "because": part.because,
                "source": part.source,
                "most_bytes": part.bytes + part.margin_bytes,
            }
            for part in cell.parts
        ],
        "command": cell.command,
    }
