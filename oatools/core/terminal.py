"""What a terminal can do with the line on which progress is shown."""

import os
import sys

#: What takes a line off a terminal, with the cursor at its start.
CLEAR = "\r\x1b[2K"


def has_line() -> bool:
    """Tell whether standard error is a terminal that can clear a line, and rows go elsewhere."""
    try:
        is_wanted = sys.stderr.isatty() and not sys.stdout.isatty()
    except ValueError:  # closed
        return False
    return is_wanted and os.environ.get("TERM", "dumb") not in ("dumb", "")
