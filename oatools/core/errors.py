"""The two ways in which a command can fail: one item of many, or the call as a whole."""


class ItemError(Exception):
    """One item cannot be processed; the message says what is wrong with it and what to do.

    The runner reports it on one line with the item's name and goes on with the next item (exit status 1).
    """


class UsageError(Exception):
    """The call cannot be carried out at all: an unusable table, option or combination (exit status 2)."""
