"""A VRAM site's list of hardware for Llama 3.2 90B Vision at Q4_K_M, row by row, against the catalogue and our own verdict.

The page lists what has at least the 50.8 GB that it takes the model for. Its memory is held here against the catalogue's, its bandwidth where it was
written down from the page. In Ollama 0.24 (the newest that loads the model), with an image and 8,192 tokens of context,
the need is 58.4 GiB on a card: the file is 55 GB, not 50.8, and a file is not all.
"""

from typing import NamedTuple

import pytest

from runlocal.catalog.gpus import entry
from runlocal.catalog.machines import parse_machine
from runlocal.catalog.models import bundled
from runlocal.core.units import GIB
from runlocal.core.verdict import Answer
from runlocal.core.workload import Workload
from runlocal.solve.buy import Offer, Question, compare, offers
from runlocal.solve.opening import open_for

GB_S = 10**9
MACOS_LIMIT = "macOS lets the GPU of a 64 GB Mac keep 51.8 GiB: more takes `sysctl iogpu.wired_limit_mb`, and leaves little to the system"
ONE_DIE = "the page has one of the two dies"
SEVERAL = "the page's name is a family: the MI210 has 64 GB, the MI250 two GPUs of 64 GB"
NOT_SOLD = "made for one supercomputer, or not sold: no row of `buy`"
ALONE = "as long as the system keeps to its 4 GiB"


class Row(NamedTuple):
    """A row of the page and ours beside it.

    page, page_gb, page_gb_s: its name, memory and bandwidth (None: not written down)
    id, memory_gb, gb_s: ours; gb_s None: not known
    answer: our verdict
    differs: why ours is another, or what to know
    """

    page: str
    page_gb: int
    id: str
    memory_gb: int
    gb_s: float | None
    answer: Answer
    differs: str = ""
    page_gb_s: float | None = None


NO, YES = Answer.DOES_NOT_FIT, Answer.FITS
ROWS = (
    Row("M1 Ultra", 64, "m1-ultra-64", 64, 800, NO, MACOS_LIMIT),
    Row("M2 Ultra", 64, "m2-ultra-64", 64, 800, NO, MACOS_LIMIT),
    Row("M2 Max", 64, "m2-max-64", 64, 400, NO, MACOS_LIMIT),
    Row("M3 Max", 64, "m3-max-64", 64, 400, NO, MACOS_LIMIT),
    Row("M4 Max", 64, "m4-max-64", 64, 546, NO, MACOS_LIMIT),
    Row("M4 Pro", 64, "m4-pro-64", 64, 273, NO, MACOS_LIMIT),
    Row("MI200", 64, "mi210", 64, 1638, YES, SEVERAL),
    Row("MI210", 64, "mi210", 64, 1638, YES),
    Row("Jetson AGX Orin 64GB", 64, "jetson-agx-orin-64gb", 64, 204.8, YES, ALONE),
    Row("Jetson T4000", 64, "jetson-thor-t4000", 64, 273, YES, ALONE),
    Row("H100 SXM5 64 GB", 64, "h100-64gb-sxm", 64, None, YES, NOT_SOLD),
    Row("RTX PRO 5000 72 GB", 72, "rtx-pro-5000-72gb", 72, 1344, YES),
    Row("A100 PCIe 80 GB", 80, "a100-80gb-pcie", 80, 1935, YES),
    Row("A100 SXM4 80 GB", 80, "a100-80gb-sxm", 80, 2039, YES),
    Row("A100X", 80, "a100x", 80, 2039, YES),
    Row("A800 PCIe 80 GB", 80, "a800-80gb-pcie", 80, 1935, YES),
    Row("A800 SXM4 80 GB", 80, "a800-80gb-sxm", 80, 2039, YES),
    Row("H100 PCIe 80 GB", 80, "h100-80gb-pcie", 80, 2000, YES),
    Row("H100 SXM5 80 GB", 80, "h100-80gb-sxm", 80, 3350, YES, page_gb_s=3350),
    Row("H100 CNX", 80, "h100-cnx", 80, 2039, YES),
    Row("H800 PCIe 80 GB", 80, "h800-80gb-pcie", 80, 2000, YES),
    Row("H800 SXM5 80 GB", 80, "h800-80gb-sxm", 80, 3350, YES),
    Row("RTX 6000D", 84, "rtx-6000d", 84, 1568, YES),
    Row("B200", 90, "b200", 192, 7700, YES, ONE_DIE, page_gb_s=4100),
    Row("H100 NVL 94 GB", 94, "h100-nvl", 94, 3938, YES),
    Row("H100 SXM5 94 GB", 94, "h100-94gb-sxm", 94, None, YES, NOT_SOLD),
)
rows = pytest.mark.parametrize("row", ROWS, ids=[row.page for row in ROWS])


@pytest.fixture(scope="module")
def question() -> Question:
    runtime = open_for(bundled("llama-3.2-90b-vision"), None, None)
    assert (runtime.id, runtime.version) == ("ollama", "0.24.0")
    return Question(runtime, runtime.recipe("Q4_K_M", None), Workload(8192))


def ours(question: Question, row: Row) -> Offer:
    return compare(question, [(parse_machine(row.id), ((entry(row.id), 1),))])[0]


@rows
def test_its_memory_and_bandwidth(row: Row) -> None:
    board = entry(row.id)
    assert (board.memory_gb, board.devices) == (row.memory_gb, 1)
    assert board.bandwidth_bytes == (None if row.gb_s is None else row.gb_s * GB_S)
    same = row.page_gb == row.memory_gb and row.page_gb_s in (None, row.gb_s)
    assert same is (row.differs != ONE_DIE)


@rows
def test_its_verdict_is_yes_everywhere_and_ours_not(question: Question, row: Row) -> None:
    offer = ours(question, row)
    assert offer.answer is row.answer
    if row.answer is NO:
        # 58.29 GiB (no driver's context is counted on a Mac) of 51.84: the 64 GB at 81 %, as macOS 26 has it.
        assert round((offer.need_bytes or 0) / GIB, 2) == 58.29
        assert round(offer.usable_bytes / GIB, 2) == 51.84
        assert offer.reason == "short of 6.5 GiB"
        assert row.differs == MACOS_LIMIT
    elif row.differs == ALONE:
        # Of 64 GiB, 59.8 are taken to be the GPU's.
        assert round(offer.usable_bytes / GIB, 1) == 59.8
        assert round(offer.headroom_bytes[0] / GIB, 2) == 0.86
    else:
        # The need less its part that goes by the card: the driver's context.
        assert 58.3 < (offer.need_bytes or 0) / GIB < 58.5
        assert offer.headroom_bytes[0] > 4 * GIB


def test_what_it_lists_and_is_sold_is_offered_but_for_the_macs(question: Question) -> None:
    offered = {offer.boards[0][0].id for offer in offers(question) if offer.boards[0][1] == 1}
    for row in ROWS:
        assert (row.id in offered) is (row.answer is YES and row.differs != NOT_SOLD), row.page


def test_what_it_leaves_out(question: Question) -> None:
    """Pairs of 32 GB and fours of 20 GB, Macs from 96 GB on: the page has single devices of 64 to 94 GB alone."""
    offered = {(offer.boards[0][0].id, offer.boards[0][1]) for offer in offers(question)}
    assert {("rtx-5090", 2), ("rtx-3090", 4), ("m2-max-96", 1), ("m4-max-128", 1), ("m3-ultra-96", 1), ("dgx-spark", 1), ("strix-halo-128", 1)} <= offered
