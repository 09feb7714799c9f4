"""Names of GPUs as people type them, in one form: `RTX4090`, `rtx-4090 24GB` and `NVIDIA GeForce RTX 4090` meet in the same keys.

Only spelling is evened out. Which words there are, and in which order, still decides: `4090 d`, `4090 laptop` and `4090` are three cards.
"""

import re

_MARKS = re.compile(r"\((?:r|tm)\)")
_SIZE = re.compile(r"(\d)\s*(?:gib|gb)(?![a-z])")
# A bare g is a unit only after a number that stands alone: `4090 24g`, but not A10G.
_GRAMS = re.compile(r"(?<![a-z0-9])(\d+)\s*g(?![a-z0-9])")
_SXM = re.compile(r"sxm\d")
# Apple's computers, named beside the chip that is in them: the `pro` of a MacBook is none of the chip.
_MACS = re.compile(r"\b(?:macbook(?:[\s_-]*(?:air|pro))?|mac[\s_-]*(?:studio|mini|pro)|imac)\b")
_WORDS = re.compile(r"\d+|[a-z]+", re.ASCII)
_BRANDS = frozenset({"nvidia", "geforce", "amd", "radeon", "intel", "apple", "tesla", "instinct", "gpu", "graphics", "generation", "mac"})
_FAMILIES = ("rtx", "gtx", "rx", "arc")
_SAME = {"mobile": ("laptop",), "maxq": ("max", "q")}
_LONGEST_NAME = 120


def canonical(text: str) -> str:
    """`text` in lower case, cut where letters, digits and separators meet, joined by `-`, without brand words, the names of Macs, units and the number
    of an SXM socket."""
    text = _MACS.sub(" ", _MARKS.sub(" ", text[:_LONGEST_NAME].casefold()))
    text = _SXM.sub("sxm ", _GRAMS.sub(r"\1 ", _SIZE.sub(r"\1 ", text)))
    return "-".join(part for word in _WORDS.findall(text) if word not in _BRANDS for part in _SAME.get(word, (word,)))


def keys(name: str, memory_gb: int | None = None) -> tuple[str, ...]:
    """Every canonical form that stands for `name`: with and without the family word, and with `memory_gb` at any place after the model number."""
    words = canonical(name).split("-")
    forms = [words]
    if memory_gb is not None:
        size = str(memory_gb)
        number = next((place for place, word in enumerate(words) if word.isdigit()), None)
        if number is not None:
            bare = list(words)
            if size in words[number + 1 :]:
                del bare[words.index(size, number + 1)]
            forms += [[*bare[:place], size, *bare[place:]] for place in range(number + 1, len(bare) + 1)]
    forms += [form[1:] for form in forms if form[0] in _FAMILIES and form[1:]]
    return tuple(dict.fromkeys("-".join(form) for form in forms))
