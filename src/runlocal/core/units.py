"""Sizes, contexts and counts: the one place where they are parsed and formatted.

Bytes are `int`. On screen sizes are GiB (2^30) with one decimal; GB (10^9) is for download sizes alone.
"""

import re

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
GB = 10**9

# What the box of a card calls "24 GB" is 24 x 2^30 bytes, so GB, G and GiB all mean the same when somebody types a budget.
_SIZE_UNITS = {
    "": GIB,
    "g": GIB,
    "gb": GIB,
    "gib": GIB,
    "m": MIB,
    "mb": MIB,
    "mib": MIB,
    "t": 1 << 40,
    "tb": 1 << 40,
    "tib": 1 << 40,
    "k": KIB,
    "kb": KIB,
    "kib": KIB,
    "b": 1,
}
# Patterns are compiled where they are used: an answer that parses no size pays for none.
_SIZE = r"(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]{0,3})"
_COUNT = r"(\d{1,12}(?:\.\d{1,6})?)\s*([km]?)"
_DOLLARS = r"(?:usd?)?\s*\$?\s*(\d{1,12}|\d{1,3}(?:,\d{3}){1,3})(?:\.(\d{1,3}))?\s*(k?)\s*(?:usd|us\$|\$|dollars?)?"
_CENTS = 2  # digits behind the point that are no thousands
LARGEST_SIZE = 1 << 60
LARGEST_CONTEXT = 1 << 40
_SHOWN = 40  # characters of what was typed, in a message


def pad(value: int, multiple: int) -> int:
    """`value` rounded up to a multiple of `multiple` (both in the same unit)."""
    return -(-value // multiple) * multiple


def parse_size(text: str) -> int:
    """Bytes of `24`, `24GB`, `24GiB` (all 24 x 2^30), `81559MiB`, `512M`.

    Raises ValueError with a sentence for people when the text is no size, is zero, or is absurdly large.
    """
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    unit = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text[:_SHOWN]!r} is not a size: write 24, 24GB, 24GiB or 24564MiB")
    size = int(float(match[1]) * unit)
    if size <= 0:
        raise ValueError(f"{text[:_SHOWN]!r} is no memory at all: write a size above zero, such as 24GiB")
    if size > LARGEST_SIZE:
        raise ValueError(f"{text[:_SHOWN]!r} is more memory than any machine has")
    return size


def parse_context(text: str) -> int:
    """Tokens of `8192`, `8k` or `128K` (k is 1024, m is 1024 x 1024).

    Raises ValueError with a sentence for people when the text is no context length or is zero.
    """
    match = re.fullmatch(_COUNT, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise ValueError(f"{text[:_SHOWN]!r} is not a context length: write 8192, 8k, 128k or max")
    tokens = int(float(match[1]) * {"": 1, "k": KIB, "m": MIB}[match[2].lower()])
    if tokens <= 0:
        raise ValueError(f"a context of {text[:_SHOWN]!r} holds no token: write 8192, 8k, 128k or max")
    if tokens > LARGEST_CONTEXT:
        raise ValueError(f"{text[:_SHOWN]!r} is longer than any context: write 8192, 8k, 128k or max")
    return tokens


def parse_dollars(text: str) -> float:
    """US dollars of `2500`, `$2,500`, `2500usd`, `2.5k`.

    Raises ValueError with a sentence for people when the text is no price, or could be two (`2.500`, `2,5`).
    """
    match = re.fullmatch(_DOLLARS, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise ValueError(f"{text[:_SHOWN]!r} is not a price in US dollars: write 2500, 2,500, $2500 or 2.5k")
    amount, cents, thousands = match.groups()
    if len(cents or "") > _CENTS and len(amount) <= len("999") and not thousands:
        raise ValueError(f"{text[:_SHOWN]!r} is {amount} dollars or {amount}{cents}: write the one that is meant without a point")
    return float(f"{amount.replace(',', '')}.{cents or 0}") * (1000 if thousands else 1)


def gib(size: int) -> str:
    """`size` bytes as GiB with one decimal and the unit: `49.1 GiB`."""
    return f"{size / GIB:.1f} GiB"


def mib(size: int) -> str:
    """`size` bytes as MiB with one decimal and the unit, for parts too small for GiB."""
    return f"{size / MIB:.1f} MiB"


def gb(size: int) -> str:
    """`size` bytes as a download size: `52.7 GB` (10^9)."""
    return f"{size / GB:.1f} GB"


def size_text(size: int) -> str:
    """GiB where that shows at least 0.1, MiB below."""
    return gib(size) if abs(size) >= GIB // 10 else mib(size)


def context_text(tokens: int) -> str:
    """`8k`, `128k`, or the plain number where it is no multiple of 1024."""
    return f"{tokens // KIB}k" if tokens and tokens % KIB == 0 else str(tokens)
