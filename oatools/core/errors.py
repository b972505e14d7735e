"""The two ways in which work can fail: one item of many, or the call as a whole."""

import re
from collections.abc import Mapping

_PARAMETER = re.compile(r"`(\w+)`")


class OatoolsError(Exception):
    """An error that a user can cause and mend.

    `reason` says what is wrong, and `remedy` what to do about it. A remedy names parameters in
    backquotes, as in "use `force` or another `out_dir`": the text for Python shows the names
    themselves, and a command puts its own options in their place (see `text`).
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return self.text()

    def text(self, options: Mapping[str, str] | None = None) -> str:
        """Return reason and remedy as one line, with `options` in place of parameter names."""
        whole = self.reason
        if self.remedy:
            whole += f"; {with_options(self.remedy, options or {})}"
        return " ".join(whole.splitlines())  # it may quote a cell or a name with a break


def with_options(text: str, options: Mapping[str, str]) -> str:
    """Return a text with `options` in place of the parameters that it names in backquotes."""
    return _PARAMETER.sub(lambda found: options.get(found[1], found[1]), text)


class ItemError(OatoolsError):
    """One item cannot be processed.

    The runner reports it on one line with the item's name and goes on with the next item (exit
    status 1).
    """


class UsageError(OatoolsError):
    """The call cannot be carried out at all: an unusable table, parameter or combination.

    A command ends with exit status 2.
    """


def item_error(error: Exception) -> ItemError:
    """Return what an exception of the work on one item is for its user.

    One that nobody foresaw is to be reported. What no item is to blame for is raised: a
    `UsageError`, and as such the lack of a library.
    """
    if isinstance(error, UsageError):
        raise error
    if isinstance(error, ItemError):
        return error
    if isinstance(error, ImportError):
        raise UsageError(f"a part of oatools is missing ({error})", "install it again")
    if isinstance(error, MemoryError):
        return ItemError("out of memory", "use fewer jobs (`jobs`) or a machine with more")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        reason = f"{where}{error.strerror or error}"
        return ItemError(reason, "check the path, the permissions and the free space")
    reason = f"unexpected {type(error).__name__}: {error}"
    return ItemError(reason, "please report it with the output of `verbose`")
