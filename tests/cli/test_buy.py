"""`buy` as it is typed: the whole output, the formats, the exit codes."""

import csv
import io
import json

from .conftest import Runner

TABLE = """\
Llama 3.3 70B at Q4_K_M, 8k context: 12 machines run it with headroom. Smallest:
2 × RTX 3090. Cheapest: 2 × RTX 3090, $1,200-1,600 used 2026-06.

llama.cpp 0c1e57098 · Q4_K_M · 8k context · 1 sequence · cache f16

machine                memory     left  fits at  est. t/s  price
2 × RTX 3090         48.0 GiB  2.1 GiB       8k     13-19  $1,200-1,600 used
                                                           2026-06
2 × RTX 3090 Ti      48.0 GiB  1.7 GiB       8k     14-20  $1,400-2,000 used
                                                           2026-05
2 × RTX 4090 D       48.0 GiB  1.7 GiB       8k     14-20  $3,198 launch 2023
2 × RTX 4090         48.0 GiB  1.9 GiB       8k     14-20  $4,400-5,600 new
                                                           2026-02
RTX PRO 5000         47.8 GiB  4.4 GiB      16k     18-27  $4,500 launch 2025
Blackwell 48GB

7 more: --limit 0 shows them all.
No quantization was named: Q4_K_M is the usual one.
Left out: 61 whose price is not known.
Left out: 1 whose speed is not known.
fits at: the longest of the usual contexts; left: of the fullest card, the
runtime's reserve included; t/s: of one sequence, its context full, estimated
from bandwidth and measured runs.
"""


def test_the_table_at_80_columns(run: Runner) -> None:
    ran = run("buy", "llama-3.3-70b", "--vendor", "nvidia", "--max-price", "9000", "--min-speed", "12", "--limit", "5")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == TABLE


COMPARED = """\
Llama 3.3 70B at Q4_K_M, 8k context: 2 of 3 run it.

llama.cpp 0c1e57098 · Q4_K_M · 8k context · 1 sequence · cache f16

machine       answer                 left  up to  est. t/s  price
RTX 4090       ✗ does not fit   -18.7 GiB   none         ?  $2,200-2,800 new
                                                            2026-02
2 × RTX 3090   ✓ fits             2.1 GiB    13k     13-19  $1,200-1,600 used
                                                            2026-06
M4 Max 64 GB   ✓ fits             9.5 GiB    34k    4.7-11  $2,699 launch 2025

RTX 4090: short of 18.7 GiB.
left: of the fullest card, the runtime's reserve included; t/s: of one sequence,
its context full, estimated from bandwidth and measured runs.
No quantization was named: Q4_K_M is the usual one.
M4 Max 64 GB: macOS lets the GPU use 51.8 GiB by default since macOS 26; `sysctl
iogpu.wired_limit_mb` changes it.
"""


def test_side_by_side(run: Runner) -> None:
    ran = run("buy", "llama-3.3-70b", "--compare", "4090,2x3090,m4-max-64")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == COMPARED


def test_json_is_one_object_with_every_row(run: Runner) -> None:
    ran = run("buy", "llama-3.3-70b", "--limit", "1", "--json")
    assert ran.code == 0
    assert list(ran.answer)[:4] == ["schema", "data", "model", "runtime"]
    assert (ran.answer["schema"], ran.answer["quant"], ran.answer["context_tokens"]) == ("runlocal.buy/1", "Q4_K_M", 8192)
    row = ran.answer["machines"][0]
    assert list(row)[:4] == ["machine", "spec", "cards", "vendor"]
    assert not {"price", "speed"} & set(row)
    assert len(ran.answer["machines"]) > 100
    assert {one["tokens_per_second_basis"] for one in ran.answer["machines"]} == {"estimated", None}


def test_lines_for_tables_and_streams(run: Runner) -> None:
    separated = list(csv.DictReader(io.StringIO(run("buy", "llama-3.3-70b", "--vendor", "apple", "-f", "csv").out)))
    streamed = [json.loads(line) for line in run("buy", "llama-3.3-70b", "--vendor", "apple", "-f", "ndjson").out.splitlines()]
    assert [row["spec"] for row in separated] == [row["spec"] for row in streamed]
    assert {row["vendor"] for row in separated} == {"apple"}
    assert list(separated[0]) == list(streamed[0])


def test_exit_codes(run: Runner) -> None:
    assert run("buy", "llama-3.3-70b", "--quiet") == (0, "", "")
    assert run("buy", "llama-3.3-70b", "--max-price", "10", "--quiet") == (1, "", "")
    assert run("buy", "llama-3.3-70b", "--compare", "4090", "--quiet") == (1, "", "")
    assert run("buy", "llama-3.3-70b", "--vendor", "voodoo").code == 2
    assert run("buy").code == 2
    assert run("buy", "no-such-model").code == 3
    assert run("buy", "llama-3.3-70b", "--compare", "rtx 9999").code == 3
    assert run("buy", "llama-3.3-70b", "-r", "vllm").code == 3
