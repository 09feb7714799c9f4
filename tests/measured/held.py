"""Every measured figure beside ours: what docs/accuracy.md shows and the tests assert."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from runlocal.architectures.towers import tensors
from runlocal.catalog.facts import facts, storage_types
from runlocal.catalog.models import bundled
from runlocal.core.model import Vision
from runlocal.engines.ggml.vision import image_buffer, weights_bytes
from runlocal.runtimes import Runtime, open_runtime

from .rows import FOLDER, GIB, MIB, TIB, Row, ask, label, read, request, summed

COMMIT = "0c1e57098"
TWO_DECIMALS = 0.005
KINDS = {"weights": {"weights"}, "cache and state": {"cache", "state"}, "compute buffer": {"compute_buffer"}}


@dataclass(frozen=True)
class Held:
    """One figure.

    quantity: what it is
    what: the question, short
    model: id of the model
    measured, ours: bytes
    source: address of a log; None for llama.cpp's own allocator
    exception: why ours is another, where it is
    rounded: how far the measured figure may be from what it was before it was printed, bytes
    """

    quantity: str
    what: str
    model: str
    measured: int
    ours: int
    source: str | None = None
    exception: str | None = None
    rounded: float = 0

    @property
    def deviation(self) -> float:
        """Ours less the measured one, as a share of it; 0 where both are the same in the digits that were printed."""
        if abs(self.ours - self.measured) <= self.rounded:
            return 0.0
        return (self.ours - self.measured) / self.measured if self.measured else 1.0


@cache
def _opened(model_id: str) -> Runtime:
    return open_runtime("llama.cpp", COMMIT, bundled(model_id), facts("llama.cpp", None))


def of_sizes() -> Iterator[Held]:
    for row in read("sizes.ndjson"):
        runtime = _opened(row["model"])
        ours = runtime.tensor_bytes(runtime.recipe(row["quant"], row["imatrix"]))
        yield Held("tensors of a file", f"{row['quant']}{', imatrix' if row['imatrix'] else ''}", row["model"], row["tensor_bytes"], ours)


def of_memory() -> Iterator[Held]:
    for row in read("memory.ndjson"):
        got = ask(memory_question(row))
        where = "one GPU" if row["group"] in ("grid", "ubatch_sweep", "compute_cap", "swa_full") else row["group"].replace("_", " ")
        for index, measured in enumerate(row.get("devices", ())):
            for (quantity, kinds), figure in zip(KINDS.items(), measured, strict=True):
                yield Held(f"{quantity}, {where}", label(row).removeprefix(f"{row['model']}-"), row["model"], figure, summed(got, kinds, f"gpu{index}"))


def of_logs() -> Iterator[Held]:
    for row in read("logs.ndjson"):
        got = ask(log_question(row))
        what = " ".join(str(row[key]) for key in ("runtime", "quant") if key in row) + (f", {row['pool_tokens']} tokens" if "pool_tokens" in row else "")
        source, why = row["source_url"], row.get("exception")
        if "cache_mib" in row:
            yield Held("logged cache", what, row["model"], round(row["cache_mib"] * MIB), logged_cache(row, got), source, why, TWO_DECIMALS * MIB)
        if "file_gib" in row:
            yield Held("logged file", what, row["model"], round(row["file_gib"] * GIB), got["tensor_bytes"], source, why, TWO_DECIMALS * GIB)
        if "compute_mib" in row:
            yield Held(
                "logged compute buffer", what, row["model"], round(row["compute_mib"] * MIB), on_gpus(got, {"compute_buffer"}), source, why, TWO_DECIMALS * MIB
            )


def of_towers() -> Iterator[Held]:
    types, engine = storage_types(), facts("llama.cpp", None).vision
    for model in tomllib.loads((FOLDER / "vision.toml").read_text(encoding="utf-8"))["model"]:
        vision = Vision(**{key: tuple(value) if isinstance(value, list) else value for key, value in model["vision"].items()})
        width = model["text_hidden_size"]
        for row in model["measured"]:
            what = f"{row['mmproj_type']} projector{'' if row['flash_attention'] else ', no flash attention'}"
            ours = weights_bytes(tensors(vision, width), row["mmproj_type"], types)
            yield Held("tower and projector", what, model["id"], row["weights_bytes"], ours, None, row.get("exception"))
            buffer = image_buffer(vision, width, row["flash_attention"] or False, 1, engine).bytes
            yield Held("image graph", f"{row['image_pixels']} pixels, {what}", model["id"], round(row["buffer_mib"] * MIB), buffer, rounded=TWO_DECIMALS * MIB)
        for row in model.get("images", ()):
            for key, flash in (("buffer_bytes", True), ("buffer_bytes_without_flash", False)):
                what = "{} × {} pixels{}".format(*row["size"], "" if flash else ", no flash attention")
                yield Held("image graph", what, model["id"], row[key], image_buffer(vision, width, flash, 1, engine, tuple(row["size"])).bytes)


def memory_question(row: Row) -> Row:
    """A row of memory.ndjson as a request."""
    machine = {"vram_bytes": 2 * TIB} if row["gpus"] else {}
    return request(row, runtime="llama.cpp", vision=False, ram_bytes=4 * TIB, **machine)


def log_question(row: Row) -> Row:
    """A row of logs.ndjson as a request: every log here is of a build that reserved a whole ubatch of logits, and whose sequences shared the cells."""
    several = row.get("sequences", 1) > 1
    asked = request(row) | {"runtime": "llama.cpp", "vision": False, "output_tokens": row.get("batch_tokens", 512), "unified_kv": several}
    return {"pool_tokens": 4096, "quant": "Q4_K_M"} | asked


def logged_cache(row: Row, got: Row) -> int:
    return on_gpus(got, {"cache", "state"} if row.get("with_state") else {"cache"})


def on_gpus(answer: Row, kinds: set[str]) -> int:
    """Bytes of the parts of those kinds on all GPUs."""
    return sum(part["bytes"] for part in answer["parts"] if part["kind"] in kinds and part["device"] != "host")


def everything() -> list[Held]:
    return [*of_sizes(), *of_memory(), *of_towers(), *of_logs()]
