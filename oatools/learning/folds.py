"""Splits by patient: both knees of a person are always on the same side."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from oatools.core import checksums
from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import Row, read_table, table_bytes, write_table
from oatools.core.people import People
from oatools.core.provenance import OUTDATED_REMEDY, may_keep
from oatools.core.replacing import Replace
from oatools.learning.cohort import Cohort

COLUMNS = ["knee", "subject", "fold"]
#: Of the table of what each fold leaves out.
LEFT_OUT_COLUMNS = ["fold", "column", "value", "knees", "patients", "positives"]
#: What knees of the two classes are called.
KINDS = ("with label 0", "with label 1")


@dataclass(frozen=True)
class Split:
    """The knees of one fold: `train` and `test`, as ascending places in the cohort.

    A model, the baselines beside it and the null distribution are handed the same split. `part`
    (training knees,) divides the training patients into inner folds, numbered from 1, for whatever
    is chosen and not fitted: strengths, epoch, threshold. Knees of `test` have no part in anything.
    """

    train: np.ndarray
    part: np.ndarray
    test: np.ndarray

    @property
    def parts(self) -> int:
        """The number of inner folds."""
        return int(self.part.max())

    @property
    def fit(self) -> np.ndarray:
        """The knees to fit on where one part alone is set aside."""
        return self.train[self.part != 1]

    @property
    def validate(self) -> np.ndarray:
        """The knees of the first part, which holds both classes."""
        return self.train[self.part == 1]


@dataclass(frozen=True)
class Splitter:
    """The way in which knees are divided into folds.

    Into `folds` drawn by chance and spread over the columns `stratify`; or by a table,
    `folds_file`; or by `hold_out`, a column and the value of the knees to be tested on; or by
    `leave_out`, a column of which each value is a fold. `leaky` splits knees and not patients.
    Raises a `UsageError` for fewer than two folds, or two ways to
    divide the knees.
    """

    folds: int = 5
    folds_file: str | None = None
    hold_out: tuple[str, str] | None = None
    leave_out: str | None = None
    stratify: tuple[str, ...] = ()
    leaky: bool = False

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise UsageError(f"folds is {self.folds}", "give `folds` of at least 2")
        if sum(map(bool, (self.folds_file, self.hold_out, self.leave_out))) > 1:
            raise UsageError(
                "a table of folds, knees held out and values left out exclude each other",
                "give `folds_file`, `hold_out` or `leave_out`",
            )

    @property
    def is_random(self) -> bool:
        """True where folds are drawn, so that another seed gives others."""
        return not (self.folds_file or self.hold_out or self.leave_out)

    def split(self, cohort: Cohort, seed: int) -> np.ndarray:
        """Return the fold (knees,) of each knee: from 1, and 0 for knees to train on only.

        Raises a `UsageError` for a patient in two folds (unless `leaky`), or a fold of one class.
        """
        if self.folds_file:
            fold = read_folds(self.folds_file, cohort.knee, cohort.subject)
        elif self.hold_out:
            column, value = self.hold_out
            fold = hold_out([row[column] for row in cohort.rows], value, column)
        elif self.leave_out:
            cells = [row[self.leave_out] for row in cohort.rows]
            fold, _ = leave_out(cells, cohort.label, self.leave_out)
        else:
            fold = assign_folds(
                cohort.subject,
                cohort.label,
                self.folds,
                seed,
                leaky=self.leaky,
                strata=self._strata(cohort),
                kinds=KINDS if cohort.follow_up is None else ("without the event", "with it"),
            )
        if not self.leaky:
            check_patients(cohort.subject, fold)
        check_classes(cohort.label, fold)
        return fold

    def _strata(self, cohort: Cohort) -> list[str] | None:
        if not self.stratify:
            return None
        return ["\t".join(row[column] for column in self.stratify) for row in cohort.rows]


def split_folds(cohort: Cohort, fold: np.ndarray, share: float, seed: int) -> list[Split]:
    """Return the split of every fold, 1 to the highest; see `split_training`."""
    splits = []
    for number in range(1, int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        splits.append(split_training(cohort, share, seed, train=train, test=test))
    return splits


def split_training(
    cohort: Cohort,
    share: float,
    seed: int,
    train: np.ndarray | None = None,
    test: np.ndarray | None = None,
) -> Split:
    """Divide the patients to train on into parts, each about a `share` of them.

    `train` are the places of the knees to train on, all by default, and `test` is kept for later.
    Raises a `UsageError` where a class has fewer than two patients.
    """
    if train is None:
        train = np.arange(len(cohort))
    if test is None:
        test = np.zeros(0, dtype=np.int64)
    index = np.sort(np.asarray(train))
    subjects = [cohort.subject[i] for i in index]
    part = inner_folds(subjects, cohort.label[index], share, seed)
    return Split(index, part, np.asarray(test))


def assign_folds(
    subjects: Sequence[str],
    label: np.ndarray,
    folds: int,
    seed: int,
    leaky: bool = False,
    strata: Sequence[str] | None = None,
    kinds: tuple[str, str] = KINDS,
) -> np.ndarray:
    """Draw the fold, 1 to `folds`, of each knee: by patient, and stratified by label.

    With `strata` (knees,), such as sites, these are spread over the folds too. `leaky` splits knees
    and not patients, to show what that error is worth; `kinds` are what the classes are called.
    Raises `UsageError` where a class has fewer patients than there are folds.
    """
    check_counts(subjects, label, folds, kinds)
    classes = label
    if strata is not None:
        combined = label.astype(str) + "\t" + np.asarray(strata)
        classes = np.unique(combined, return_inverse=True)[1]
    if leaky:
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        parts = _divide(splitter, subjects, classes)
    else:
        parts = _divide(StratifiedGroupKFold(folds), _shuffled(subjects, seed), classes)
    fold = np.zeros(len(label), dtype=np.int64)
    for number, (_, test) in enumerate(parts, start=1):
        fold[test] = number
    return fold


def hold_out(values: Sequence[str], value: str, name: str) -> np.ndarray:
    """Return fold 1 for the knees whose value is `value`, to test on, and 0 for the others.

    `values` (knees,) is the column `name`. Raises `UsageError` for a value that no knee has, or all
    have.
    """
    fold = np.array([int(each == value) for each in values])
    if len(np.unique(fold)) < 2:
        which = "all" if fold.all() else "no"
        present = ", ".join(sorted(set(values)))
        raise UsageError(f"{which} knees have {name} '{value}'", f"there are {present}")
    return fold


def leave_out(
    values: Sequence[str], label: np.ndarray, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a fold (knees,) for each value of a column, from 1, and the values in their order.

    `values` (knees,) is the column `name`. Knees of a value that has one class are trained on only,
    fold 0. Raises a `UsageError` where fewer than two values have both.
    """
    column = np.asarray(values)
    tested = [value for value in np.unique(column).tolist() if _has_both(label[column == value])]
    if len(tested) < 2:
        raise UsageError(
            f"{len(tested)} of {len(np.unique(column))} values of '{name}' have knees of both "
            "classes",
            "at least two are needed, to leave out one and train on another",
        )
    fold = np.zeros(len(column), dtype=np.int64)
    for number, value in enumerate(tested, start=1):
        fold[column == value] = number
    return fold, tuple(tested)


def left_out_rows(cohort: Cohort, fold: np.ndarray, column: str) -> list[Row]:
    """Return a row of `LEFT_OUT_COLUMNS` for each value of a column, in the order of its folds."""
    cells = np.array([row[column] for row in cohort.rows])
    subjects = np.asarray(cohort.subject)
    rows = []
    for number in range(int(fold.max()) + 1):
        for value in np.unique(cells[fold == number]).tolist():
            at = (fold == number) & (cells == value)
            row = {
                "fold": str(number),
                "column": column,
                "value": value,
                "knees": str(int(at.sum())),
                "patients": str(len(set(subjects[at].tolist()))),
                "positives": str(int(cohort.label[at].sum())),
            }
            rows.append(row)
    return rows


def inner_folds(subjects: Sequence[str], label: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the part (knees,) of each knee, from 1: each about a `share` of the patients.

    Parts are by patient and stratified by label, and the first holds both classes, as all others
    together do. Raises `UsageError` where a class has fewer than two patients.
    """
    smallest = min(_patients(subjects, label).values())
    if smallest < 2:
        raise UsageError(
            f"a class of knees (label or event, 0 or 1) has {smallest} patient(s) to train on",
            "at least 2 are needed, one of them to validate on",
        )
    parts = min(max(2, round(1 / share)), smallest)
    splitter = StratifiedGroupKFold(parts)
    divided = _divide(splitter, _shuffled(subjects, seed), label)
    held = [part for _, part in divided if len(part)]
    for number, part in enumerate(held):
        others = np.delete(label, part)
        if _has_both(others) and _has_both(label[part]):
            found = np.zeros(len(label), dtype=np.int64)
            for place, each in enumerate([part, *held[:number], *held[number + 1 :]], start=1):
                found[each] = place
            return found
    raise UsageError(
        "no split by patient leaves both classes to fit and to validate on",
        "add patients of the rarer class",
    )


def check_counts(
    subjects: Sequence[str], label: np.ndarray, folds: int, kinds: tuple[str, str] = KINDS
) -> None:
    """Raise a `UsageError` unless each class has at least as many patients as there are folds.

    `kinds` are what the classes are called.
    """
    patients = _patients(subjects, label)
    if 0 in patients.values():
        only = 1 if patients[0] == 0 else 0
        raise UsageError(f"all {len(label)} knees have label {only}", "both classes are needed")
    if min(patients.values()) < folds:
        counts = f"{patients[0]} {kinds[0]}, {patients[1]} {kinds[1]}"
        few = min(patients.values())
        raise UsageError(
            f"{folds} folds need {folds} patients of each class; there are {counts}",
            "give fewer `folds`" if few > 1 else "two of each are the least to learn from",
        )


def check_patients(subjects: Sequence[str], fold: np.ndarray) -> None:
    """Raise a `UsageError` that names a patient whose knees are in two folds, if there is one."""
    seen: dict[str, int] = {}
    for subject, number in zip(subjects, fold.tolist(), strict=True):
        if seen.setdefault(subject, number) != number:
            raise UsageError(
                f"patient {subject} is in folds {seen[subject]} and {number}",
                "all knees of a patient belong in one fold",
            )


def check_classes(label: np.ndarray, fold: np.ndarray) -> None:
    """Raise a `UsageError` for a fold of one class: nothing can be measured on it."""
    for number in range(1, int(fold.max()) + 1):
        if not _has_both(label[fold == number]):
            knees = int((fold == number).sum())
            raise UsageError(
                f"fold {number} holds {knees} knees of one class only",
                "give fewer `folds`, or another `seed`",
            )


def read_folds(path: str | Path, knees: Sequence[str], subjects: Sequence[str]) -> np.ndarray:
    """Read the fold of each knee from a table (`knee`, `fold`, maybe `subject`).

    The table may write ids in any form (see `core.people`). Knees of it that are not asked for are
    passed over. Folds must be numbered from 1 without a gap. Raises a `UsageError` for a knee that
    is not there or of another patient, or a fold that is not a number.
    """
    people = People()
    for knee, subject in zip(knees, subjects, strict=True):
        people.take({"knee": knee, "subject": subject}, "the labels")
    rows = people.by_knee(read_table(path, ["knee", "fold"]).rows, str(path))
    missing = [knee for knee in knees if knee not in rows]
    if missing:
        raise UsageError(
            f"{path}: no fold for {len(missing)} of {len(knees)} knees, the first is {missing[0]}"
        )
    fold = np.zeros(len(knees), dtype=np.int64)
    for i, knee in enumerate(knees):
        text = rows[knee]["fold"]
        if not text.isdecimal():
            raise UsageError(f"{path}: the fold of {knee} is '{text}', which is not a whole number")
        fold[i] = int(text)
    _check_numbers(path, fold)
    return fold


def _check_numbers(path: str | Path, fold: np.ndarray) -> None:
    found = sorted(set(fold.tolist()))
    if found != list(range(1, len(found) + 1)) or len(found) < 2:
        raise UsageError(
            f"{path}: folds are {found}", "they must be 1, 2, ... without a gap, two at least"
        )


def fold_rows(knees: Sequence[str], subjects: Sequence[str], fold: np.ndarray) -> list[Row]:
    """Return the rows of a folds table, sorted by knee."""
    rows = []
    for knee, subject, number in sorted(zip(knees, subjects, fold.tolist(), strict=True)):
        rows.append({"knee": knee, "subject": subject, "fold": str(number)})
    return rows


def write_folds(
    path: Path,
    knees: Sequence[str],
    subjects: Sequence[str],
    fold: np.ndarray,
    replacing: Replace,
    say: Callable[[str], None] | None = None,
) -> bool:
    """Write the folds table, or keep it; tell whether other folds were there.

    One that was damaged since it was made is written again, which `say` is told. Raises a
    `UsageError` where other folds are there already, unless they may be replaced.
    """
    rows = fold_rows(knees, subjects, fold)
    is_damaged = replacing is not Replace.ANYTHING and _is_damaged(path, table_bytes(COLUMNS, rows))
    if is_damaged and say is not None:
        say(f"warning: {path} was damaged since it was made; it is made again")

    def why_not() -> str:
        there = list(read_table(path).rows)
        return "" if there == rows else f"holds other folds{_otherness(there, rows)}"

    may_go = are_others = replacing is Replace.ANYTHING
    if replacing is Replace.OUTDATED and not is_damaged and path.exists():
        # Of a table that is none of folds nothing shows that it is this command's own.
        may_go = are_others = read_table(path).columns == COLUMNS and bool(why_not())
    if not may_keep(path, why_not, may_go or is_damaged, UsageError, OUTDATED_REMEDY):
        # These are of another run, which has ended.
        (path.parent / checksums.NAME).unlink(missing_ok=True)
        write_table(path, COLUMNS, rows)
    return are_others


def _otherness(there: Sequence[Row], wanted: Sequence[Row]) -> str:
    """Say, in brackets, in what the rows of two folds tables differ."""
    if not all(row.keys() == set(COLUMNS) for row in there):
        return ""
    old, new = ({row["knee"] for row in rows} for rows in (there, wanted))
    if old != new:
        return f" (of {len(old)} knees, not {len(new)}; {len(old & new)} are in both)"
    counts = [len({row["fold"] for row in rows}) for rows in (there, wanted)]
    if counts[0] != counts[1]:
        return f" ({counts[0]}, not {counts[1]})"
    return " of the same knees (by another seed, or other patients or groups)"


def _is_damaged(path: Path, wanted: bytes) -> bool:
    """Tell whether a table is not what is wanted, and was that once.

    So say the digests of its folder, or that it is a part of it, as a copy that was cut leaves.
    """
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        found = stream.read(len(wanted) + 1)
    if found == wanted:
        return False
    try:
        listed = checksums.read_checksums(path.parent)
    except ItemError:
        listed = None
    sha256 = listed.listed.get(path.name) if listed else None
    return wanted.startswith(found) or sha256 == hashlib.sha256(wanted).hexdigest()


def describe(
    subjects: Sequence[str], label: np.ndarray, fold: np.ndarray, kind: str = "positive"
) -> list[str]:
    """Return a line a fold: knees, patients, how many are of label 1, and the overlap of patients.

    `kind` is what knees of label 1 are called. The overlap is 0 unless the split is leaky.
    """
    lines = []
    patients = np.asarray(subjects)
    for number in sorted(set(fold.tolist())):
        at = fold == number
        inside, outside = set(patients[at]), set(patients[~at])
        name = f"fold {number}" if number else "trained on only"
        lines.append(
            f"{name}: {int(at.sum())} knees of {len(inside)} patients, "
            f"{int(label[at].sum())} {kind}; "
            f"patients also in other folds: {len(inside & outside)}"
        )
    return lines


def _has_both(label: np.ndarray) -> bool:
    return len(np.unique(label)) == 2


def _patients(subjects: Sequence[str], label: np.ndarray) -> dict[int, int]:
    """The number of patients with a knee of each class."""
    patients = np.asarray(subjects)
    return {0: len(set(patients[label == 0])), 1: len(set(patients[label == 1]))}


def _shuffled(subjects: Sequence[str], seed: int) -> np.ndarray:
    """Number the patients in random order, (knees,), for `StratifiedGroupKFold` to take in turn.

    Its own `shuffle` does the same from scikit-learn 1.8 on; before, it gave each patient another
    one's classes, and folds that were not stratified.
    """
    patients, place = np.unique(np.asarray(subjects), return_inverse=True)
    order = np.arange(len(patients))
    np.random.RandomState(seed).shuffle(order)
    return np.argsort(order)[place]


def _divide(
    splitter: StratifiedGroupKFold | StratifiedKFold,
    subjects: Sequence[str] | np.ndarray,
    label: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with warnings.catch_warnings():  # it warns of small classes, which are counted and refused here
        warnings.simplefilter("ignore")
        yield from list(splitter.split(np.zeros(len(label)), label, np.asarray(subjects)))
