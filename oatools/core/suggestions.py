"""What somebody who mistyped a name may have meant."""

from collections.abc import Iterable

#: How like a name must be to be suggested, from 0 to 1: a letter or two may be wrong.
_LIKENESS = 0.7


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'path'?` for the known name that is most like a word.

    Capitals, and hyphens for underscores, are not counted as mistakes. The text is empty where no
    name is close, and where the word is one of them.
    """
    from difflib import get_close_matches

    names = {_plain(name): name for name in reversed(list(known))}
    found = get_close_matches(_plain(word), names, 1, _LIKENESS)
    if not found or names[found[0]] == word:
        return ""
    return f"did you mean '{names[found[0]]}'?"


def with_meant(told: str, word: str, known: Iterable[str]) -> str:
    """Return what is wrong with a word, followed by what may have been meant, if anything."""
    meant = did_you_mean(word, known)
    return f"{told}; {meant}" if meant else told


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
