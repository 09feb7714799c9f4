"""What decides the look of a report: width, glyphs, colours. And the one place where strangers' text is made harmless."""

from runlocal.core.noun import NamedTuple
from runlocal.core.part import Kind
from runlocal.core.verdict import Answer


class Style(NamedTuple):
    """How a report is drawn.

    width: columns of the terminal
    unicode: the reader's encoding has the glyphs; else ASCII stands in for each
    colour: 256 colours; without them every mark is a glyph or a letter
    """

    width: int = 80
    unicode: bool = True
    colour: bool = False


class Glyphs(NamedTuple):
    """The marks that carry meaning without colour, one column wide each."""

    fits: str
    tight: str
    spills: str
    does_not_fit: str
    cannot_run: str
    unknown: str
    free: str
    corner_left: str
    line: str
    corner_right: str
    arrow: str
    warning: str

    def of(self, answer: Answer | None) -> str:
        """The mark of an answer, a blank where there is none."""
        return " " if answer is None else str(getattr(self, answer.value))

    def of_support(self, loads: bool | None) -> str:
        """The mark of a runtime."""
        return self.unknown if loads is None else self.fits if loads else self.does_not_fit


_UNICODE = Glyphs(
    fits="✓",
    tight="!",
    spills="◐",
    does_not_fit="✗",
    cannot_run="–",
    unknown="?",
    free="░",
    corner_left="└",
    line="─",
    corner_right="┘",
    arrow="→",
    warning="!",
)
_ASCII = Glyphs(
    fits="+",
    tight="!",
    spills="/",
    does_not_fit="x",
    cannot_run="-",
    unknown="?",
    free=".",
    corner_left="|",
    line="-",
    corner_right="|",
    arrow="->",
    warning="!",
)


def glyphs(style: Style) -> Glyphs:
    """The marks that `style` can show."""
    return _UNICODE if style.unicode else _ASCII


# Inks are style strings of rich. Numbers are of the fixed part of the 256-colour palette, nearest to Okabe and Ito's colour-blind safe
# set; every coloured ground names its foreground too, so that it reads the same on a dark and on a light terminal.
PLAIN = ""
BOLD = "bold"
DIM = "dim"
HEAD = "bold"

_YES, _TIGHT, _SPILLS, _NO = "color(16) on color(72)", "color(16) on color(220)", "color(16) on color(173)", "color(231) on color(88)"
_ANSWER_INKS = {Answer.FITS: _YES, Answer.TIGHT: _TIGHT, Answer.SPILLS: _SPILLS, Answer.DOES_NOT_FIT: _NO, Answer.CANNOT_RUN: DIM}
WARNING = "bold color(16) on color(220)"
MISSING = "red"
KIND_INKS = {
    Kind.WEIGHTS: "color(231) on color(25)",
    Kind.CACHE: "color(16) on color(214)",
    Kind.STATE: "color(16) on color(227)",
    Kind.VISION: "color(16) on color(175)",
    Kind.VISION_BUFFER: "color(16) on color(117)",
    Kind.COMPUTE_BUFFER: "color(16) on color(36)",
    Kind.RUNTIME: "color(231) on color(240)",
}


def answer_ink(answer: Answer | None) -> str:
    """The ink of a cell of the grid."""
    return PLAIN if answer is None else _ANSWER_INKS[answer]


def support_ink(loads: bool | None) -> str:
    """The ink of a runtime's mark."""
    return DIM if loads is None else _YES if loads else _NO


_TWINS = str.maketrans(
    {"×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "≥": ">=", "≤": "<=", "·": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "±": "+-"}
)


def clean(text: str, style: Style) -> str:
    """`text` on one line without anything that acts on a terminal; ASCII where the style asks for it.

    Control, format (right-to-left overrides, zero width) and unassigned characters go, white space becomes a blank.
    """
    if text.isprintable() and (style.unicode or text.isascii()):
        return text
    text = "".join(one if one.isprintable() else " " if one.isspace() else "" for one in text)
    if style.unicode or text.isascii():
        return text
    from unicodedata import combining, normalize

    letters = "".join(one for one in normalize("NFKD", text.translate(_TWINS)) if not combining(one))
    return letters.encode("ascii", "replace").decode("ascii")
