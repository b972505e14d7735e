"""The knees and people of tables: one person is never two, however a table writes them.

Rows of tables that go by knee or by patient pass through here once, where they are read, and come
out with both in the form of `core.ids`. Whoever comes after compares plain cells.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from oatools.core.errors import UsageError
from oatools.core.ids import normal_id, zero_key
from oatools.core.manifest import MISSING, Row

_KNEE = re.compile(r"(?P<subject>.+)(?P<rest>_\d+m_(left|right))")


def normal_knee(knee: str) -> str:
    """Return the name of a knee in the form in which names are compared; `n/a` for blanks.

    That of an id (see `ids.normal_id`), and in a name like `9000099_00m_right` the id has it too.
    """
    normal = normal_id(knee)
    match = _KNEE.fullmatch(normal)
    if match:
        normal = normal_id(match["subject"]) + match["rest"]
    return normal or MISSING


def subject_of(row: Row) -> str:
    """Return the patient of a row in normal form, `n/a` if nothing says it.

    From the column `subject`, or else from a knee's name of the form `9000099_00m_right`.
    """
    subject = normal_id(row.get("subject", MISSING)) or MISSING
    return _named_subject(normal_knee(row["knee"])) if subject == MISSING else subject


def zero_knee(knee: str) -> str:
    """Return what a knee's normal name has in common with those with other zeros in front."""
    match = _KNEE.fullmatch(knee)
    return zero_key(match["subject"]) + match["rest"] if match else zero_key(knee)


@dataclass
class People:
    """What tables that are used together say of knees and patients.

    Rows are taken in one by one, and the first that contradicts another is refused.
    """

    _patients: dict[str, "_Said"] = field(default_factory=dict)  # by knee
    _by_zeros: dict[str, "_Said"] = field(default_factory=dict)
    _knees_by_zeros: dict[str, "_Said"] = field(default_factory=dict)

    def take(self, row: Row, source: str) -> Row:
        """Return a row with `knee` and, where it has one, `subject` in normal form.

        `source` names its table. Raises a `UsageError` that names both where the patient in the
        column `subject` is not the one in the knee's name, another row says another one, or two
        ids differ in leading zeros alone, so that they may be one.
        """
        knee = normal_knee(row["knee"])
        normal = {**row, "knee": knee}
        subject = named = _named_subject(knee)
        if "subject" in row:
            subject = normal_id(row["subject"]) or MISSING
            normal["subject"] = subject
        if MISSING not in (subject, named) and subject != named:
            raise UsageError(
                f"{source}: {knee} is of patient {named} by its name, and of {subject} by the "
                "column 'subject'",
                "write one patient in one way",
            )
        _refuse_zeros(self._knees_by_zeros, zero_knee(knee), _Said(knee, source), "knees")
        subject = named if subject == MISSING else subject
        if subject != MISSING:
            said = _Said(subject, source)
            first = self._patients.setdefault(knee, said)
            if first.id != subject:
                raise UsageError(
                    f"{knee} is of patient {first.id} in {first.source}, and of {subject} in "
                    f"{source}",
                    "write one patient in one way",
                )
            _refuse_zeros(self._by_zeros, zero_key(subject), said, "patients")
        return normal

    def by_knee(self, rows: Iterable[Row], source: str) -> dict[str, Row]:
        """Take in the rows of a table that has one a knee, and return them by knee.

        Raises a `UsageError` as `take` does, and for a knee that is there twice.
        """
        found: dict[str, Row] = {}
        written: dict[str, str] = {}
        for row in rows:
            normal = self.take(row, source)
            knee, cell = normal["knee"], row["knee"]
            if knee in found:
                reason = twice(knee, written[knee], cell)
                raise UsageError(f"{source}: {reason}", "keep one row")
            found[knee], written[knee] = normal, cell
        return found


def twice(knee: str, first: str, second: str) -> str:
    """Return what is wrong with a knee of two rows, whose cells are `first` and `second`."""
    if first == second:
        return f"{knee} is there twice"
    return f"{first!r} and {second!r} are both {knee}, which is there twice"


@dataclass(frozen=True)
class _Said:
    """An id in normal form, and the table that it is from."""

    id: str
    source: str


def _named_subject(knee: str) -> str:
    """The patient in a knee's normal name; `n/a` in a name of another form."""
    match = _KNEE.fullmatch(knee)
    return match["subject"] if match else MISSING


def _refuse_zeros(seen: dict[str, _Said], key: str, said: _Said, what: str) -> None:
    """Raise a `UsageError` if another id with other zeros in front was seen before."""
    first = seen.setdefault(key, said)
    if first.id == said.id:
        return
    where = said.source if first.source == said.source else f"{first.source} and {said.source}"
    raise UsageError(
        f"{where}: {what} {first.id} and {said.id} differ in leading zeros alone, and may be one",
        "write all ids with the same number of digits",
    )
