"""What many items have in common is said of the first few, and of the others once, with a number.

A missing column or a folder that is not there concerns every row of a table: a line each would push
all else off the screen.
"""

import contextlib
from dataclasses import dataclass, field

from oatools.core.console import Console
from oatools.core.errors import ItemError
from oatools.core.manifest import BadRow, Row, file_stem, without_extension

#: Items of which the same message is printed as soon as it comes up.
SHOWN = 3
# Kinds of messages that are counted at a time: a long table may hold as many kinds as rows.
_MOST_KINDS = 1000
# Shorter cells stand in words of the message itself.
_SHORTEST_NAME = 4


@dataclass
class _Said:
    """A message as it was first said, of which item, and of how many since."""

    first: str
    message: str
    is_error: bool
    count: int = 0


@dataclass
class Repeats:
    """Says messages about items, and counts those that only repeat what was said of `SHOWN` others.

    With `--verbose` all are said. `noun` is what an item is called.
    """

    console: Console
    noun: str = "row"
    _said: dict[tuple[bool, str], _Said] = field(default_factory=dict)

    def error(self, name: str, message: str, row: Row | BadRow | None = None) -> None:
        """Say why the item of this `name` failed; what its `row` holds does not tell it apart."""
        self._say(_Said(name, message, is_error=True), row)

    def note(self, name: str, message: str, row: Row | BadRow | None = None) -> None:
        """Say what the user should know of an item, unless quiet."""
        self._say(_Said(name, message, is_error=False), row)

    def say_rest(self) -> None:
        """Say of how many more items each message holds that was counted, and begin anew."""
        for said in self._said.values():
            more = said.count - SHOWN
            if more > 0 and not self.console.verbose:
                items = self.noun if more == 1 else f"{self.noun}s"
                line = f"{more} more {items} like {said.first} (-v names each): {said.message}"
                self._print(line, said.is_error)
        self._said.clear()

    def _say(self, new: _Said, row: Row | BadRow | None) -> None:
        key = new.is_error, _without_names(new.message, new.first, row)
        if key not in self._said and len(self._said) >= _MOST_KINDS:
            self.say_rest()
        said = self._said.setdefault(key, new)
        said.count += 1
        if said.count <= SHOWN or self.console.verbose:
            self._print(f"{new.first}: {new.message}", new.is_error)

    def _print(self, line: str, is_error: bool) -> None:
        if is_error:
            self.console.error(line)
        else:
            self.console.note(line)


def _without_names(message: str, name: str, row: Row | BadRow | None) -> str:
    """Return a message with `*` for whatever is the item's own: its files, its knee."""
    own = {name}
    if isinstance(row, dict):
        path = row.get("path", "")
        stem = without_extension(path)
        own |= {path, stem, stem.rpartition("/")[2], row.get("knee", "")}
        with contextlib.suppress(ItemError):
            own.add(file_stem(row))  # what is made of it is called so
    for each in sorted(own, key=len, reverse=True):
        if len(each) >= _SHORTEST_NAME:
            message = message.replace(each, "*")
    return message
