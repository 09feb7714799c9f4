"""The answer for people: what stands first, what is never lost, what cannot do harm."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.core.listing import Listing, Page
from runlocal.core.machine import Gpu, Machine, Origin
from runlocal.core.part import HOST, Basis, Kind, Part
from runlocal.core.report import Check, MachineCheck
from runlocal.core.speed import Speed
from runlocal.core.units import GIB, MIB
from runlocal.core.verdict import Answer
from runlocal.render.formats import Format, checks_as, listing_as, page_as
from runlocal.render.layout import width_of, wrap
from runlocal.render.phrases import answer_sentence, of_usable_text
from runlocal.render.style import Style, clean

ANSWERS = ["fits", "tight", "spills", "does_not_fit", "cannot_run", "no_gpu", "unlimited", "two_machines"]
SGR = re.compile(r"\x1b\[[0-9;]*m")


def table(check: Check, style: Style, *, explain: bool = False) -> str:
    return checks_as(Format.TABLE, [check], style, explain=explain)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("fits", "✓ llama-3.2-11b-vision fits RTX 3090 with ollama 0.24.0: Q8_0 at 8k context needs 13.7 GiB of 23.6 usable"),
        ("tight", "! llama-3.2-11b-vision fits this computer's RTX 3090 with ollama 0.24.0, but tightly: Q8_0 at 128k context needs 22.3 GiB of 22.6 usable"),
        (
            "spills",
            "◐ llama-3.2-11b-vision fits this computer's RTX 3090 with ollama 0.24.0 only by using host memory: Q4_K_M at 8k context needs ",
        ),
        ("does_not_fit", "✗ llama-3.2-90b-vision does not fit 2 × RTX 3090 with ollama 0.24.0: Q4_K_M at 8k context needs 58.0 GiB of 2 × 23.6 usable"),
        ("cannot_run", "– llama-3.2-90b-vision cannot run on RTX 3090 with llama.cpp b10488 (Q4_K_M at 8k context): llama.cpp does not load mllama"),
        ("unlimited", "llama-3.2-90b-vision needs 57.8 GiB with ollama 0.24.0: Q4_K_M at 8k context"),
        ("two_machines", "✓ llama-3.2-90b-vision fits 1 of 2 machines with ollama 0.24.0: 2 × RTX 3090"),
    ],
)
def test_the_first_line_is_the_answer(name: str, start: str, checks: dict[str, Check]) -> None:
    assert table(checks[name], Style(width=300)).splitlines()[0].startswith(start)


@pytest.mark.parametrize("name", ANSWERS)
def test_runtime_and_version_stand_on_the_first_line_at_80_columns(name: str, checks: dict[str, Check]) -> None:
    cell = checks[name].machines[0].headline
    assert f"{cell.runtime} {cell.runtime_version}" in table(checks[name], Style()).splitlines()[0]


def test_that_the_usual_runtimes_do_not_load_it_stands_in_the_first_lines(checks: dict[str, Check]) -> None:
    first = " ".join(table(checks["does_not_fit"], Style()).split("\n\n")[0].split())
    assert "llama.cpp does not load this model (checked up to b10488)" in first
    assert "Ollama loads it in 0.4.0 to 0.24.0 only, not in 0.34.1, the newest. Loads it today: SGLang." in first
    assert "does not load" not in table(checks["fits"], Style())


@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize("width", [40, 50, 64, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ANSWERS)
def test_no_line_is_longer_than_the_terminal_but_for_a_word(name: str, width: int, explain: bool, checks: dict[str, Check]) -> None:
    for line in table(checks[name], Style(width=width), explain=explain).splitlines():
        assert width_of(line) <= width or line.strip().startswith("https://")


@pytest.mark.parametrize("width", [40, 64, 80, 120])
def test_every_need_of_the_grid_is_there_at_every_width(width: int, checks: dict[str, Check]) -> None:
    check = checks["does_not_fit"]
    text = table(check, Style(width=width))
    for cell in check.machines[0].cells:
        assert cell.need_bytes is not None
        assert f"{cell.need_bytes / GIB:.1f} {'✓' if cell.answer is Answer.FITS else '✗'}" in text


@pytest.mark.parametrize("name", ANSWERS)
def test_colour_changes_nothing_but_colour(name: str, checks: dict[str, Check]) -> None:
    def letters(text: str) -> str:
        return re.sub(r"[WKSVICR ]+", " ", SGR.sub("", text))

    coloured = table(checks[name], Style(colour=True))
    assert coloured != SGR.sub("", coloured)
    assert letters(coloured).split() == letters(table(checks[name], Style())).split()


@pytest.mark.parametrize("name", [*ANSWERS, "hostile"])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_ascii_is_ascii(name: str, width: int, checks: dict[str, Check]) -> None:
    text = table(checks[name], Style(width=width, unicode=False), explain=True)
    assert text.isascii()
    assert "?" not in text.replace(" ? ", "").replace("? TensorRT", "").replace("? ]0", "")


@pytest.mark.parametrize("form", [Format.TABLE, Format.CSV, Format.TSV, Format.MARKDOWN, Format.SVG])
@pytest.mark.parametrize("style", [Style(), Style(unicode=False), Style(width=120)], ids=str)
def test_strangers_text_is_inert(form: Format, style: Style, checks: dict[str, Check]) -> None:
    text = checks_as(form, [checks["hostile"]], style, explain=True)
    dangerous = {one for one in text if unicodedata.category(one) in ("Cc", "Cf")} - {"\n", "\t"}
    assert not dangerous
    assert ("\t" in text) is (form is Format.TSV)


def test_markup_stays_letters_and_escapes_are_our_own_in_colour(checks: dict[str, Check], hostile_text: str) -> None:
    text = table(checks["hostile"], Style(colour=True), explain=True)
    assert "[red]bold[/red]" in text
    assert "\x1b]" not in text
    assert "\x1b[31m[red]" not in text
    assert "\u202e" not in text
    assert hostile_text not in text


def test_pictures_and_markdown_do_not_carry_tags(checks: dict[str, Check]) -> None:
    for form in (Format.SVG, Format.MARKDOWN):
        text = checks_as(form, [checks["hostile"]], Style(), title="<script>\x1b")
        assert not re.search(r"(?<!\\)<b>|<script>", text)


@given(st.text(max_size=60), st.booleans())
def test_clean_text_acts_on_nothing(text: str, unicode: bool) -> None:
    style = Style(unicode=unicode)
    safe = clean(text, style)
    assert safe.isprintable()
    assert unicode or safe.isascii()
    assert clean(safe, style) == safe


@given(st.lists(st.text("ab漢é", min_size=1, max_size=8), min_size=1, max_size=20), st.integers(16, 60))
def test_wrapping_keeps_every_word_and_the_width(words: list[str], width: int) -> None:
    lines = wrap(" ".join(words), width, Style())
    assert " ".join(lines).split() == words
    assert all(width_of(line) <= width for line in lines)


def test_ascii_twins() -> None:
    assert clean("2 × RTX — Qwen3… ≤ é 漢", Style(unicode=False)) == "2 x RTX - Qwen3... <= e ?"


def test_several_cache_types_are_rows_of_their_own(checks: dict[str, Check]) -> None:
    check = checks["fits"]
    found = check.machines[0]
    quantized = tuple(cell._replace(cache_type_k="q8_0", cache_type_v="q4_0") for cell in found.cells)
    text = table(check._replace(machines=(found._replace(cells=found.cells + quantized),)), Style(width=120))
    assert re.search(r"^quant +cache +bpw", text, re.MULTILINE)
    assert re.search(r"^Q8_0 +f16 +8\.50", text, re.MULTILINE)
    assert re.search(r"^Q8_0 +q8_0:q4_0 +8\.50", text, re.MULTILINE)


def test_what_spills_counts_in_the_grid(checks: dict[str, Check]) -> None:
    cell = checks["spills"].machines[0].headline
    assert cell.need_bytes is not None
    assert cell.host_need_bytes is not None
    text = table(checks["spills"], Style())
    assert f" {(cell.need_bytes + cell.host_need_bytes) / GIB:.1f} ◐ " in text
    assert " ◐  only with host memory, counted in" in text


def test_equal_gpus_share_a_bar(checks: dict[str, Check]) -> None:
    base = checks["fits"]
    gpus = tuple(Gpu(index=index, id=None, name="H100", memory_bytes=80 * GIB) for index in range(4))
    parts = tuple(
        Part(kind=Kind.WEIGHTS, label="layers", device=f"gpu{index}", bytes=(40 + (index == 0)) * GIB, basis=Basis.EXACT, because="", source="")
        for index in range(4)
    )
    found = base.machines[0]
    headline = found.headline._replace(parts=parts, need_bytes=161 * GIB)
    text = table(base._replace(machines=(found._replace(machine=found.machine._replace(gpus=gpus), headline=headline),)), Style(width=80))
    assert "GPU 0, H100: 41.0 GiB needed" in text
    assert "GPU 1 to 3, each, H100: 40.0 GiB needed" in text


def test_machines_side_by_side_say_how_fast_each_is(checks: dict[str, Check]) -> None:
    """A speed that is not known is `?`; of a no there is none. Where no machine has one there is no column."""
    two = checks["two_machines"]
    slow, fast = two.machines
    speed = Speed(43.2, 60.9, "")

    def rows(*found: MachineCheck, width: int = 120) -> list[str]:
        return table(two._replace(machines=found), Style(width=width)).split("\n\n")[1].splitlines()

    without = slow._replace(headline=slow.headline._replace(answer=Answer.FITS, speed=None, speed_unknown="nobody measured it"))
    refused = slow._replace(headline=slow.headline._replace(answer=Answer.DOES_NOT_FIT, speed=None, speed_unknown=""))
    known = fast._replace(headline=fast.headline._replace(answer=Answer.FITS, speed=speed, speed_unknown=""))
    head, *told = rows(without, refused, known)[:4]
    assert [line[head.index("est. t/s") :][:8].strip() for line in told] == ["?", "", "43-61"]
    assert rows(without, known)[-1].endswith("t/s: of one sequence, its context full")
    assert "t/s" not in " ".join(rows(without, refused))
    # The quantization is part of the answer: the speed gives way first.
    narrow = rows(without, known, width=50)
    assert "quant" in narrow[0]
    assert "est. t/s" not in narrow[0]
    assert "est. t/s" in " ".join(narrow[3:])


def test_a_card_that_is_short_of_its_share_is_named(checks: dict[str, Check]) -> None:
    check = checks["does_not_fit"]
    found = check.machines[0]
    headline = found.headline._replace(need_bytes=40 * GIB, headroom_bytes=(-GIB, 8 * GIB))
    text = table(check._replace(machines=(found._replace(headline=headline),)), Style(width=200))
    assert "needs 40.0 GiB of 2 × 23.6 usable, but GPU 0 is short of 1.0 GiB" in text


@pytest.mark.parametrize(("origin", "mark"), [(Origin.NAMED, "  "), (Origin.HERE, "! ")])
def test_how_a_name_was_read_is_no_alarm(origin: Origin, mark: str, checks: dict[str, Check]) -> None:
    """What was found on this computer is one."""
    (one,) = checks["fits"].machines
    note = "h100 was read as H100 SXM5 80GB."
    machine = one.machine._replace(origin=origin, notes=(note,))
    found = one._replace(machine=machine, headline=one.headline._replace(warnings=("The cache is quantized.", note)))
    lines = table(checks["fits"]._replace(machines=(found,)), Style(width=120, unicode=True)).splitlines()
    assert "! The cache is quantized." in lines
    assert f"{mark}{note}" in lines


def test_the_unsafe_end_of_an_estimate_is_shown(checks: dict[str, Check]) -> None:
    check = checks["fits"]
    found = check.machines[0]
    parts = tuple(part._replace(margin_bytes=512 * MIB) if part.basis is Basis.ESTIMATED else part for part in found.headline.parts)
    text = table(check._replace(machines=(found._replace(headline=found.headline._replace(parts=parts)),)), Style())
    assert re.search(r"^    needed +13\.7 GiB +80\.0 MiB +58 %\n    at the most +14\.2 GiB +80\.0 MiB +60 %$", text, re.MULTILINE)


def test_a_gpu_on_the_host_s_memory_carries_the_host_s_parts(checks: dict[str, Check]) -> None:
    check = checks["fits"]
    found = check.machines[0]
    shared = Machine(origin=found.machine.origin, label="a Mac", gpus=(Gpu(index=0, id=None, name="M4 Max", memory_bytes=48 * GIB, unified=True),))
    host = Part(kind=Kind.WEIGHTS, label="token embeddings", device=HOST, bytes=2 * GIB, basis=Basis.EXACT, because="", source="")
    layers = host._replace(label="layers", device="gpu0", bytes=20 * GIB)
    headline = found.headline._replace(parts=(layers, host))
    text = table(check._replace(machines=(found._replace(machine=shared, headline=headline),)), Style())
    assert "GPU 0, M4 Max, memory shared with the host: 22.0 GiB needed" in text
    assert re.search(r"headroom +26\.0 GiB", text)


def test_the_picture_needs_nothing_from_elsewhere(checks: dict[str, Check]) -> None:
    text = checks_as(Format.SVG, [checks["does_not_fit"]], Style(), title="runlocal check x --gpu 2x3090")
    assert text.startswith("<svg ")
    assert "@font-face" not in text
    assert "runlocal&#160;check&#160;x" in text
    assert set(re.findall(r"https?://[^\"' )<]+", text)) == {"http://www.w3.org/2000/svg", "https://example.org/LICENSE,&#160;read&#160;2026-11-21"}


def test_an_empty_listing_is_its_title(listing: Listing) -> None:
    assert listing_as(Format.TABLE, listing._replace(rows=(), notes=()), Style()) == "Models we know"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_listings_and_pages_keep_the_width(width: int, listing: Listing, page: Page) -> None:
    for text in (listing_as(Format.TABLE, listing, Style(width=width)), page_as(Format.TABLE, page, Style(width=width))):
        assert all(width_of(line) <= width or line.endswith("meta-llama/Llama-3.2-90B-Vision-Instruct") for line in text.splitlines())


def _beside(two: Check) -> Check:
    """The two cards with a second model's parts on each, under labels as long as such labels are."""
    found = two.machines[0]
    cell = found.headline
    label = "llama-3.2-3b: output: second copy of the tied embedding"
    parts = (*cell.parts, *(part._replace(label=label) for part in cell.parts if part.label == "repeating layers"))
    return two._replace(machines=(found._replace(headline=cell._replace(parts=parts)),))


def _key_of(check: Check, width: int) -> list[str]:
    lines = table(check, Style(width=width)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("    part "))
    return lines[start : lines.index("", start)]


def test_two_cards_are_never_added_up(checks: dict[str, Check]) -> None:
    """24.5 GiB of weights lie on each card, 1.2 GiB of cache; card 0 has the tower too. Twice 24.5 of the second model come to each."""
    check = _beside(checks["does_not_fit"])
    for width in range(40, 140, 5):
        key = _key_of(check, width)
        assert "2 GPUs" not in "\n".join(key)
        assert all(size not in "\n".join(key) for size in ("49.0 GiB", "98.0 GiB", "47.1 GiB")), "sums over both"
    assert _key_of(check, 120)[0].split() == ["part", "GPU", "0", "GPU", "1", "host", "how", "sure"]
    assert _key_of(check, 100)[0].split() == ["part", "GPU", "0", "GPU", "1", "host"]


def test_what_a_narrow_terminal_leaves_out_is_said(checks: dict[str, Check]) -> None:
    check = _beside(checks["does_not_fit"])
    both, one = _key_of(check, 85), _key_of(check, 72)
    assert both[0].split() == ["part", "GPU", "0", "GPU", "1"]
    assert both[-1] == "Left out for want of width: host: 0.5 GiB needed."
    assert one[0].split() == ["part", "GPU", "0"], "the one that is shorter"
    assert " ".join(one[-2:]).startswith("Left out for want of width: GPU 1: 50.8 GiB needed, headroom -27.2 GiB; host: 0.5 GiB needed.")
    assert one[-1].endswith("The GPU shown has the least headroom.")


def test_the_fullest_of_several_cards_is_named_where_it_is_tight(checks: dict[str, Check]) -> None:
    two = checks["does_not_fit"].machines[0]
    tight = two.headline._replace(answer=Answer.TIGHT, headroom_bytes=(GIB, GIB // 2), reserve_bytes=GIB)
    sentence = answer_sentence(checks["fits"].model, two._replace(headline=tight))
    assert sentence.endswith("and leaves 0.5 GiB on GPU 1, less than the 1.0 GiB that the runtime keeps free")


def test_up_to_says_that_host_memory_is_not_in_it(checks: dict[str, Check]) -> None:
    assert "up to: longest context that fits without host memory" in " ".join(table(checks["spills"], Style()).split())
    assert "without host memory" not in table(checks["fits"], Style())
    both = checks_as(Format.TABLE, [checks["fits"], checks["spills"]], Style())
    assert "up to: longest context without host memory" in " ".join(both.split())


def test_what_each_of_several_cards_has_is_told(checks: dict[str, Check]) -> None:
    found = checks["does_not_fit"].machines[0]
    first, second = found.machine.gpus
    small = second._replace(memory_bytes=first.memory_bytes - 8 * GIB)
    mixed = found._replace(machine=found.machine._replace(gpus=(first, second, small, small._replace(memory_bytes=small.memory_bytes - GIB))))
    assert of_usable_text(found) == " of 2 × 23.6 usable"
    assert of_usable_text(mixed) == " of 2 × 23.6 + 15.6 + 14.6 usable"
    assert of_usable_text(checks["fits"].machines[0]) == " of 23.6 usable"
    assert of_usable_text(checks["unlimited"].machines[0]) == ""
