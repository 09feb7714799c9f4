"""Names and figures as inventories spell them."""

import re

from runlocal.core.units import MIB
from runlocal.sources.files import clean

MOST_CARDS = 256
"""Of one node: sixteen cards, cut into seven slices each, are 112."""

_LONGEST_NAME = 80
_LONGEST_FIGURE = 9
_PROFILE = re.compile(r"(?:^|[ _-])(?:mig[ _-])?((?:\dc\.)?\d{1,2}g\.\d{1,3}gb(?:[+.]me(?:\.all)?|[+.]gfx)?)$", re.IGNORECASE | re.ASCII)


def name_of(value: object) -> str:
    """A stranger's name: printable, on one line, not longer than a line; empty where it is no text."""
    return clean(value, _LONGEST_NAME) if isinstance(value, str) else ""


def whole(text: object) -> int | None:
    """The whole number that a text, or a number, is; None where it is none."""
    if isinstance(text, bool):
        return None
    if isinstance(text, int):
        return text if 0 <= text < 10**_LONGEST_FIGURE else None
    stripped = text.strip() if isinstance(text, str) else ""
    return int(stripped) if 0 < len(stripped) <= _LONGEST_FIGURE and stripped.isascii() and stripped.isdigit() else None


def mib(text: object) -> int | None:
    """Bytes of a number of MiB; None where it is none."""
    found = whole(text)
    return None if found is None else found * MIB


def cut_profile(name: str) -> tuple[str, str | None]:
    """(card, MIG profile) of a name such as `NVIDIA-A100-SXM4-40GB-MIG-1g.5gb` or `h100_1g.10gb`; the profile is None where it names none."""
    found = _PROFILE.search(name)
    if found is None:
        return name, None
    profile = found[1].lower().replace("gb.me", "gb+me").replace("gb.gfx", "gb+gfx")
    return name[: found.start()], profile
