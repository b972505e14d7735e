"""A synthetic cohort's tables in a form like that of MOST, the Multicenter Osteoarthritis Study.

The form is invented as far as it goes beyond the files and columns that public readers of MOST's
tables name. Tab-separated; one row a person, both knees as columns, at visits 0, 1, 2, 3 and 5: 0,
15, 30, 60 and 84 months. Grades above 4 are codes, 8 for a joint that is no longer the person's own
and 9 for a visit without an X-ray; letters occur, too, and 1.9 for a doubtful KL 2. There are no
widths. Grades follow the planted severity by `grades`: by 30 months the progressors have lost a
grade of medial joint space, and no other knee has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oatools.core.files import write_text
from oatools.phantom.people import PhantomKnee
from oatools.phantom.tables import Record, by_side

#: Visit -> months since enrolment.
VISITS = {0: 0, 1: 15, 2: 30, 3: 60, 5: 84}
_REPLACED, _NO_X_RAY = "8", "9"
_REPLACED_LETTER, _UNREADABLE = "P", ("S", "X", "Z")
_DOUBTFUL = "1.9"
# Shares: people that have stopped coming by a visit; people that come without an X-ray; grades
# that cannot be read; replaced knees with a letter; knees of KL 1 with a doubtful KL 2; deaths.
_GONE = {0: 0.0, 15: 0.03, 30: 0.07, 60: 0.14, 84: 0.22}
_WITHOUT_X_RAY, _NOT_GRADED, _WITH_LETTER, _IN_DOUBT, _DEAD = 0.02, 0.004, 0.3, 0.05, 0.02

Row = dict[str, str]


def write_most(folder: Path, records: Sequence[Record]) -> None:
    """Write X-ray readings, the visits' questionnaires, and outcomes."""
    histories = [_History(record) for record in records]
    _write(folder / "mostv01235xray.txt", [_x_rays(history) for history in histories])
    for visit in VISITS:
        rows = [_enrolled(history, visit) for history in histories if history.comes_to(visit)]
        header = list(_enrolled(histories[0], visit))
        _write(folder / f"mostv{visit}enroll.txt", rows, header)
    _write(folder / "mostoutcomes.txt", [_outcomes(history) for history in histories])


def _write(path: Path, rows: Sequence[Row], header: Sequence[str] = ()) -> None:
    lines = ["\t".join(header or rows[0]), *("\t".join(row.values()) for row in rows)]
    write_text(path, "".join(f"{line}\n" for line in lines))


class _History:
    """A person's visits and chances, drawn once for all tables."""

    def __init__(self, record: Record) -> None:
        self.record = record
        rng = np.random.default_rng(record.seed)
        gone, dead = rng.random(2)
        self.last_month = max(month for month, share in _GONE.items() if gone >= share)
        self.is_dead = bool(dead < _DEAD) and self.last_month < 84
        self.has_x_ray = {v: bool(rng.random() >= _WITHOUT_X_RAY or v == 0) for v in VISITS}
        self.weight_change = {v: float(rng.normal(0, 0.4)) * (v > 0) for v in VISITS}
        self.cells = {side: rng.random((len(VISITS), 2)) for side in ("right", "left")}
        self.doubt = {side: float(rng.random()) for side in ("right", "left")}
        self.scores = {side: rng.normal(0, 3, len(VISITS)) for side in ("right", "left")}

    def comes_to(self, visit: int) -> bool:
        """Tell whether the person comes to a visit."""
        return VISITS[visit] <= self.last_month

    def grades(self, knee: PhantomKnee, visit: int) -> tuple[str, str, str]:
        """KL, medial and lateral narrowing of a knee at a visit, or codes."""
        month, position = VISITS[visit], list(VISITS).index(visit)
        unreadable, letter = self.cells[knee.side][position]
        if not (self.comes_to(visit) and self.has_x_ray[visit]):
            return (_NO_X_RAY,) * 3
        if knee.replacement.is_done(month):
            return (_REPLACED_LETTER if letter < _WITH_LETTER else _REPLACED,) * 3
        if unreadable < _NOT_GRADED:
            return (_UNREADABLE[int(3 * letter)],) * 3
        kl = str(knee.grades.kl_at(month))
        # A knee that rises from 1 to 2 does so by a whole grade: only others are in doubt.
        if kl == "1" and not knee.grades.kl_losses and self.doubt[knee.side] < _IN_DOUBT:
            kl = _DOUBTFUL
        return kl, str(int(knee.grades.medial_at(month))), str(knee.grades.lateral)


def _x_rays(history: _History) -> Row:
    row = {"MOSTID": history.record.patient.subject}
    right, left = by_side(history.record.patient)
    for visit in VISITS:
        kl, medial, lateral = history.grades(right, visit)
        row |= {f"V{visit}XRKL": kl, f"V{visit}XRJSM": medial, f"V{visit}XRJSL": lateral}
        kl, medial, lateral = history.grades(left, visit)
        row |= {f"V{visit}XLKL": kl, f"V{visit}XLJSM": medial, f"V{visit}XLJSL": lateral}
    return row


def _enrolled(history: _History, visit: int) -> Row:
    """A visit's questionnaire: age at the first alone, injuries and surgery, WOMAC's total."""
    record, p = history.record, history.record.patient
    right, left = record.scores["right"], record.scores["left"]
    bmi = f"{p.bmi + history.weight_change[visit]:.1f}" if record.has_weight else ""
    age = {"AGE": str(p.age)} if visit == 0 else {}
    return {
        "MOSTID": p.subject,
        **age,
        "SEX": "2" if p.female else "1",
        "SITE": "1" if p.site in "ABC" else "2",
        f"V{visit}PA": "1" if history.has_x_ray[visit] else "0",
        f"V{visit}BMI": bmi,
        f"V{visit}LAR": _answer(right.injured),
        f"V{visit}LAL": _answer(left.injured),
        f"V{visit}SURGR": _answer(right.operated),
        f"V{visit}SURGL": _answer(left.operated),
        f"V{visit}WOTOTR": _total(history, "right", visit),
        f"V{visit}WOTOTL": _total(history, "left", visit),
    }


def _answer(value: bool | None) -> str:
    return "" if value is None else str(int(value))


def _total(history: _History, side: str, visit: int) -> str:
    """WOMAC's total, 0 to 96: that of enrolment, and about as much at later visits."""
    total = history.record.scores[side].total
    if total is None or visit == 0:
        return "" if total is None else str(total)
    change = history.scores[side][list(VISITS).index(visit)]
    return str(min(96, max(0, round(total + float(change)))))


def _outcomes(history: _History) -> Row:
    """The visits at which a replacement, and a death, were first known; 0 and blank for none."""
    right, left = by_side(history.record.patient)
    later = [visit for visit in VISITS if not history.comes_to(visit)]
    return {
        "MOSTID": history.record.patient.subject,
        "V99ERKRINDEX": _replaced_at(right),
        "V99ELKRINDEX": _replaced_at(left),
        "V99EDINDEX": str(later[0]) if history.is_dead else "",
    }


def _replaced_at(knee: PhantomKnee) -> str:
    """The first visit at which a knee that was the person's own at enrolment is replaced."""
    if knee.replacement.before:
        return "0"
    done = [visit for visit, month in VISITS.items() if knee.replacement.is_done(month)]
    return str(done[0]) if done else "0"
