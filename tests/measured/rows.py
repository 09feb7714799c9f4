"""The measured rows, and our answers to the questions they stand for."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from runlocal.commands.batch import Batch
from runlocal.commands.options import Options

Row = dict[str, Any]

FOLDER = Path(__file__).parent
MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
ANSWERED = ("group", "devices", "host", "source_url", "date", "with_state", "cache_mib", "file_gib", "compute_mib", "exception")


def read(name: str) -> list[Row]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def request(row: Row, **more: Any) -> Row:
    """The question of a row: every key of it that is none of the measured figures is a key of a request."""
    return {key: value for key, value in row.items() if key not in ANSWERED} | more


@cache
def _asked(line: str) -> Row:
    answer: Row = json.loads(next(iter(Batch(Options()).answers([line]))))
    assert "error" not in answer, answer
    return answer


def ask(question: Row) -> Row:
    return _asked(json.dumps(question))


def summed(answer: Row, kinds: set[str], device: str) -> int:
    """Bytes of the parts of those kinds on one device (`gpu0`, `host`)."""
    return sum(part["bytes"] for part in answer["parts"] if part["kind"] in kinds and part["device"] == device)


def label(row: Row) -> str:
    """A row's name: model, then whatever makes it differ from llama-server's defaults."""
    words = [row["model"], f"c{row['pool_tokens']}", f"ub{row['batch_tokens']}"]
    if row["cache_type_k"] != "f16" or row["cache_type_v"] != "f16":
        words.append(f"{row['cache_type_k']}:{row['cache_type_v']}")
    if not row["flash_attention"]:
        words.append("auto" if row["flash_attention"] is None else "plain")
    if row["sequences"] > 1:
        words.append(f"n{row['sequences']}{'u' if row.get('unified_kv') else ''}")
    if row["output_tokens"] not in (None, row["sequences"]):
        words.append(f"out{row['output_tokens']}")
    words += [f"draft-{row['draft']}-{row['draft_quant']}"] if "draft" in row else []
    words += [f"{key.replace('_', '')}{row[key]}" for key in ("gpu_layers", "n_cpu_moe", "compute_capability") if key in row]
    words += [f"ts{':'.join(map(str, row['tensor_split']))}"] if "tensor_split" in row else []
    words += [key.replace("_", "") for key in ("swa_full", "cpu_moe", "mtp") if row.get(key)]
    return "-".join([*words, f"{row['gpus']}gpus", row["quant"]])
