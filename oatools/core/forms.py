"""What is odd about the tables of a run, and does no harm: forms of ids, rows that came twice.

`9000037`, `9000037.0` and ` 9000037` are one patient (see `core.ids`). A table that mixes them was
often put together by hand, so that a command says where two forms have met: a reader of tables
notes each id here as it was written, and the frame of commands says at the end what was noted.
Likewise rows that are identical count once. Nothing is noted where nobody watches, as in a call
from Python.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Forms:
    """Ids in the forms in which they were written first, and the meetings of two forms.

    `repeated` is the number of rows, by the name of their table, that had come before.
    """

    repeated: Counter[str] = field(default_factory=Counter)
    _first: dict[str, tuple[str, str]] = field(default_factory=dict)  # form and table, by normal id
    _met: dict[tuple[str, str], dict[str, tuple[str, str]]] = field(default_factory=dict)

    def note(self, normal: str, written: str, source: str) -> None:
        """Note an id, its normal form, and the table that it is from."""
        form, table = self._first.setdefault(normal, (written, source))
        if form != written:
            self._met.setdefault((table, source), {}).setdefault(normal, (form, written))

    def said(self) -> list[str]:
        """Return a line for each table, or two, in which forms have met, with an example."""
        lines = []
        for tables, met in self._met.items():
            where = " and ".join(dict.fromkeys(tables))
            form, written = next(iter(met.values()))
            ids = "1 id is" if len(met) == 1 else f"{len(met)} ids are"
            lines.append(
                f"{where}: {ids} written in two forms, such as {form!r} and {written!r}, "
                "which count as one"
            )
        for table, count in self.repeated.items():
            rows = "1 row that came" if count == 1 else f"{count} rows that came"
            lines.append(f"{table}: {rows} before counted once")
        return lines


_watched: Forms | None = None


@contextmanager
def watched() -> Iterator[Forms]:
    """Yield what is noted while the block runs."""
    global _watched
    before, _watched = _watched, Forms()
    try:
        yield _watched
    finally:
        _watched = before


def note_repeated(source: str) -> None:
    """Note a row of a table that came before, if somebody watches."""
    if _watched is not None:
        _watched.repeated[source] += 1


def note_form(normal: str, written: str, source: str) -> None:
    """Note an id as a table writes it, if somebody watches."""
    if _watched is not None:
        _watched.note(normal, written, source)
