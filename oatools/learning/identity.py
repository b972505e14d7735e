"""Whose knees a table of labels says they are, against what else tells it.

Folds keep patients together by the column `subject`. Where that numbers knees, or where one scan
stands for two patients, the same person is trained and tested on, and nothing else would show it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oatools.core.errors import UsageError
from oatools.core.ids import normal_id
from oatools.core.manifest import MISSING, Row, without_extension
from oatools.core.people import normal_knee, subject_of

# A side, and a visit, as a part of a knee's name: 9000099_00m_left, knee-7-R, 12L.
_SIDE = re.compile(
    r"(?<![^\W_])(?P<word>left|right|lt|rt)(?![^\W_])"
    r"|(?<=[\W_])(?P<letter>[lr]k?)(?![^\W_])|(?<=\d)(?P<end>left|right|[lr])$"
)
_VISIT = re.compile(r"(?<![^\W_])(\d{1,3}m|v\d\d)(?![^\W_])")
# The end of a name that may stand for a side, or for a mere number: 9000099_1 and 9000099_2.
_ONE_OF_TWO = re.compile(r"(.+)[\W_]([12ab])")
_SEPARATORS = re.compile(r"[\W_]+")
_SIDES = {"l": "left", "r": "right"}


@dataclass(frozen=True)
class Witness:
    """What tells about one knee: its patient in the labels, and whatever else is known of it.

    `knee` and `subject` are in normal form, `side` is `n/a` where not known. `elsewhere` are the
    patients that its feature files name, in normal form, and `scans` the digests of what was
    embedded. `is_stated` is True where the features table itself names the patient.
    """

    knee: str
    subject: str
    side: str = MISSING
    elsewhere: frozenset[str] = frozenset()
    scans: frozenset[str] = frozenset()
    is_stated: bool = False


def recorded_patients(row: Row, attributes: Mapping[str, Any]) -> frozenset[str]:
    """Return the patients that a feature file is of: by its attributes, and by its name."""
    said = {
        "knee": str(attributes.get("knee", MISSING)),
        "subject": str(attributes.get("subject", MISSING)),
    }
    stem = without_extension(row["path"].rpartition("/")[2])
    sequence = row.get("sequence", MISSING)
    named = {"knee": normal_knee(stem.removesuffix(f"_{sequence}"))}
    return frozenset({subject_of(said), subject_of(named)} - {MISSING})


def check_patients(witnesses: Sequence[Witness], labels: str) -> list[str]:
    """Return what is doubtful about the patients of knees, in words for the user.

    `labels` is what messages call the table with the column `subject`. Raises a `UsageError` where
    the same scan is of two patients, where two knees of one patient (by their names, which differ
    in side or visit alone, or by their feature files) have two, or where all knees have one.
    """
    doubts = [*_scans(witnesses), *_names(witnesses, labels), *_elsewhere(witnesses, labels)]
    subjects = {each.subject for each in witnesses}
    if len(subjects) == 1 and len(witnesses) > 2:
        raise UsageError(
            f"{labels}: all {len(witnesses)} knees are of patient {witnesses[0].subject}",
            "write the patient of each knee in the column 'subject'",
        )
    if len(subjects) == len(witnesses) > 2 and not doubts:
        doubts += _numbered(witnesses, labels)
    return doubts


def _scans(witnesses: Sequence[Witness]) -> list[str]:
    """Find the same scan under two knees; an error under two patients."""
    seen: dict[str, Witness] = {}
    apart: list[tuple[Witness, Witness]] = []
    together: list[tuple[Witness, Witness]] = []
    for witness in witnesses:
        others = {seen.setdefault(scan, witness).knee: seen[scan] for scan in witness.scans}
        others.pop(witness.knee, None)
        for other in others.values():
            pairs = together if other.subject == witness.subject else apart
            pairs.append((other, witness))
    if apart:
        first, second = apart[0]
        raise UsageError(
            f"{first.knee} (patient {first.subject}) and {second.knee} (patient {second.subject}) "
            f"have the same scan{_more(apart)}",
            "find out whose it is, and drop the other row",
        )
    if together:
        first, second = together[0]
        return [f"{first.knee} and {second.knee} have the same scan{_more(together)}"]
    return []


def _names(witnesses: Sequence[Witness], labels: str) -> list[str]:
    """Raise a `UsageError` for two patients whose knees, or ids, differ in side or visit alone."""
    for what, named in (
        ("knees", [(each.knee, each) for each in witnesses]),
        ("patients", [(each.subject, each) for each in witnesses]),
    ):
        seen: dict[str, Witness] = {}
        found = []
        for text, witness in named:
            stem = _stem(text, witness.side)
            first = seen.setdefault(stem, witness) if stem else witness
            if first.subject != witness.subject:
                found.append((first, witness))
        if found:
            first, second = found[0]
            raise UsageError(
                f"{labels}: {first.knee} and {second.knee} are of patients {first.subject} and "
                f"{second.subject}, but the {what} differ in side or visit alone{_more(found)}",
                "write the patient of both in the column 'subject', or, if they are two people, "
                "give them other names",
            )
    return []


def _stem(text: str, side: str) -> str:
    """What is left of a name without its side and visit.

    Empty where nothing is, where it has neither, or where its side is not that of the knee.
    """
    match = _SIDE.search(text)
    if match:
        letter = match[0][0]
        if side in _SIDES.values() and _SIDES[letter] != side:
            return ""
        text = f"{text[: match.start()]} {text[match.end() :]}"
    elif not _VISIT.search(text):
        return ""
    return _SEPARATORS.sub("_", _VISIT.sub(" ", text)).strip("_")


def _elsewhere(witnesses: Sequence[Witness], labels: str) -> list[str]:
    """Find knees of one patient by their feature files and of two by the labels.

    An error, unless the features table names the same two: then it is known, and doubted.
    """
    if len({each.elsewhere for each in witnesses}) == 1:
        return []  # says nothing, or the same of all knees
    seen: dict[str, Witness] = {}
    found = []
    for witness in witnesses:
        for patient in sorted(witness.elsewhere):
            first = seen.setdefault(patient, witness)
            if first.subject != witness.subject:
                found.append((first, witness, patient))
    if not found:
        return []
    first, second, patient = found[0]
    reason = (
        f"{labels}: {first.knee} and {second.knee} are of patients {first.subject} and "
        f"{second.subject}, but of one by their feature files ({patient}){_more(found)}"
    )
    if first.is_stated and second.is_stated:
        return [reason]
    raise UsageError(reason, "write one patient in one way in the column 'subject'")


def _numbered(witnesses: Sequence[Witness], labels: str) -> list[str]:
    """Doubt a column `subject` that has as many patients as knees, left and right ones."""
    if all(each.subject == each.knee for each in witnesses):
        return [
            f"{labels}: the column 'subject' repeats the name of the knee, so nothing keeps the "
            "knees of a patient together: it must name the patient"
        ]
    if all(subject_of({"knee": each.knee}) == each.subject for each in witnesses):
        return []  # by their names as well
    pairs = _pairs([each.knee for each in witnesses])
    if 4 * len(pairs) >= len(witnesses):
        first, second = pairs[0]
        return [
            f"{labels}: every knee has a subject of its own, but most are two of a name, such as "
            f"{first} and {second}: if these are of one patient, the column 'subject' must say so"
        ]
    sides = [each.side for each in witnesses]
    left, right = sides.count("left"), sides.count("right")
    if min(left, right) < 2:
        return []
    return [
        f"{labels}: every knee has a subject of its own, {left} left and {right} right ones: if "
        "some are of one patient, the column 'subject' must say so, or folds part them"
    ]


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """The names of which there are two that differ in a last 1 and 2, or a and b."""
    ends: dict[str, dict[str, str]] = {}
    for name in names:
        match = _ONE_OF_TWO.fullmatch(name)
        if match:
            ends.setdefault(match[1], {})[match[2]] = name
    pairs = []
    for named in ends.values():
        if len(named) == 2:
            first, second = sorted(named.values())
            pairs.append((first, second))
    return pairs


def known_side(row: Row, labelled: Row) -> str:
    """Return the side of a knee by one of its rows, `left` or `right`; `n/a` if neither says."""
    for cells in (row, labelled):
        side = normal_id(cells.get("side", MISSING))
        side = _SIDES.get(side, side)
        if side in _SIDES.values():
            return side
    match = _SIDE.search(row["knee"].casefold())
    return _SIDES[match[0][0]] if match else MISSING


def _more(found: Iterable[Any]) -> str:
    more = len(list(found)) - 1
    return f" (and {more} more pairs)" if more > 1 else " (and 1 more pair)" if more else ""
