"""One value as people read it."""

from runlocal.core.listing import Form, Value
from runlocal.core.units import GB, context_text, gb, size_text
from runlocal.core.verdict import Answer
from runlocal.render.phrases import ANSWER_WORDS, longest_text

UNKNOWN = "?"

_LEFT = (Form.TEXT, Form.YES_NO, Form.ANSWER)


def stands_right(form: Form) -> bool:
    """Whether values of `form` stand at the right edge of their column: numbers do, words do not."""
    return form not in _LEFT


def screen_text(value: Value, form: Form) -> str:
    """`value` in people's units, `?` where it is not known."""
    match value:
        case None:
            return UNKNOWN
        case tuple():
            return ", ".join(value)
        case str():
            return ANSWER_WORDS[Answer(value)] if form is Form.ANSWER else value
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return _number(value, form)


def _number(value: float, form: Form) -> str:
    match form:
        case Form.COUNT:
            return f"{value:,}"
        case Form.PARAMETERS:
            return f"{value / 1e9:.1f} B" if value >= 1e9 else f"{value / 1e6:.0f} M"
        case Form.GIB:
            return size_text(int(value))
        case Form.GB:
            return gb(int(value))
        case Form.RATE:
            return f"{value / GB:,.0f} GB/s"
        case Form.TOKENS:
            return context_text(int(value))
        case Form.LONGEST:
            return longest_text(int(value))
        case Form.DOLLARS:
            return f"${value:,.0f}"
        case Form.NUMBER | Form.TEXT | Form.YES_NO | Form.ANSWER:
            return f"{value:g}" if isinstance(value, float) else str(value)
