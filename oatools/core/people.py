"""The knees and people of tables: one person is never two, however a table writes them.

Rows of tables that go by knee or by patient pass through here once, where they are read, and come
out with both in the form of `core.ids`. Whoever comes after compares plain cells.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from oatools.core.errors import UsageError
from oatools.core.forms import note_form
from oatools.core.ids import alike_in, alike_key, normal_id
from oatools.core.manifest import MISSING, Row

_KNEE = re.compile(r"(?P<subject>.+)(?P<rest>_\d+m_(left|right))")
_WRITTEN_KNEE = re.compile(r"(?P<subject>.+)(?P<rest>_\d+m_(left|right)\s*)", re.IGNORECASE)


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


def alike_knee(knee: str) -> str:
    """Return what a knee's normal name has in common with those that may be the same knee.

    See `ids.alike_key`, of the patient in it.
    """
    match = _KNEE.fullmatch(knee)
    return alike_key(match["subject"]) + match["rest"] if match else alike_key(knee)


def note_forms(row: Row, source: str) -> None:
    """Note how a row of a table writes its knee and its patient (see `core.forms`)."""
    written = row.get("knee", MISSING)
    knee = normal_knee(written)
    if knee == MISSING:
        return
    match, parts = _KNEE.fullmatch(knee), _WRITTEN_KNEE.fullmatch(written)
    if match and parts:
        note_form(match["subject"], parts["subject"], source)
        # The rest by itself, or each id would count twice.
        note_form(knee, match["subject"] + parts["rest"], source)
    else:
        note_form(knee, written, source)
    stated = row.get("subject", MISSING)
    subject = normal_id(stated)
    if subject not in ("", MISSING):
        note_form(subject, stated, source)


@dataclass
class People:
    """What tables that are used together say of knees and patients.

    Rows are taken in one by one, and the first that contradicts another is refused.
    """

    _patients: dict[str, "_Said"] = field(default_factory=dict)  # by knee
    _alike: dict[str, "_Said"] = field(default_factory=dict)
    _alike_knees: dict[str, "_Said"] = field(default_factory=dict)

    def take(self, row: Row, source: str) -> Row:
        """Return a row with `knee` and, where it has one, `subject` in normal form.

        `source` names its table. Raises a `UsageError` that names both where the patient in the
        column `subject` is not the one in the knee's name, another row says another one, or two
        ids differ in leading zeros, or in signs and blanks inside, alone, so that they may be one.
        Ids that are one, but written in two forms, are noted (see `core.forms`).
        """
        note_forms(row, source)
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
        _refuse_alike(self._alike_knees, alike_knee(knee), _Said(knee, source), "knees")
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
            _refuse_alike(self._alike, alike_key(subject), said, "patients")
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


def _refuse_alike(seen: dict[str, _Said], key: str, said: _Said, what: str) -> None:
    """Raise a `UsageError` if another id was seen before that may be the same."""
    first = seen.setdefault(key, said)
    if first.id == said.id:
        return
    where = said.source if first.source == said.source else f"{first.source} and {said.source}"
    alike = alike_in(first.id, said.id)
    remedy = "write one id in one way, or give two people other ids"
    if alike == "leading zeros":
        remedy = "write all ids with the same number of digits"
    raise UsageError(
        f"{where}: {what} {first.id} and {said.id} differ in {alike} alone, and may be one", remedy
    )
