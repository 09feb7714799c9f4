"""Words of a command line that can be pasted."""


def quoted(word: str) -> str:
    """One word, in quotes where the shell would see more in it."""
    if word.translate(_PLAIN).isalnum():
        return word
    from shlex import quote  # few words are odd, and it costs start-up

    return quote(word)


_PLAIN = {ord(letter): None for letter in "/.-_"}
