"""What a terminal can do with the line on which progress is shown."""

import os
import sys

#: What takes a line off a terminal, with the cursor at its start.
CLEAR = "\r\x1b[2K"


def printable(text: str) -> str:
    """Return a text with U+FFFD for each character that would move the cursor or end the line.

    Bytes of file names that are not UTF-8 stand as lone surrogates, which are left as they are.
    """
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    is_undecoded_byte = "\udc80" <= character <= "\udcff"
    return character if character.isprintable() or is_undecoded_byte else "\ufffd"


def has_line() -> bool:
    """Tell whether standard error is a terminal that can clear a line, and rows go elsewhere."""
    try:
        is_wanted = sys.stderr.isatty() and not sys.stdout.isatty()
    except ValueError:  # closed
        return False
    return is_wanted and os.environ.get("TERM", "dumb") not in ("dumb", "")
