"""Splits by patient: both knees of a person are always on the same side."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from oatools.core.errors import UsageError
from oatools.core.manifest import Row, read_table, write_table

COLUMNS = ["knee", "subject", "fold"]


@dataclass(frozen=True)
class Division:
    """How knees are divided: into `folds` made here, spread over the columns `stratify`; by a table, `file`; or by
    `held`, a column and the value of the knees to be tested on. `leaky` splits knees and not
    patients.
    """

    folds: int = 5
    file: str | None = None
    held: tuple[str, str] | None = None
    stratify: tuple[str, ...] = ()
    leaky: bool = False

    @property
    def drawn(self) -> bool:
        """Whether the folds are made here, so that another seed gives others."""
        return not (self.file or self.held)

    def of(
        self,
        knees: Sequence[str],
        subjects: Sequence[str],
        label: np.ndarray,
        rows: Sequence[Row],
        seed: int,
    ) -> np.ndarray:
        """The fold of each knee, checked: no patient in two (unless `leaky`), both classes in each."""
        if self.file:
            fold = read_folds(self.file, knees, subjects)
        elif self.held:
            fold = hold_out([row[self.held[0]] for row in rows], self.held[1], self.held[0])
        else:
            strata = (
                ["\t".join(row[c] for c in self.stratify) for row in rows]
                if self.stratify
                else None
            )
            fold = assign_folds(subjects, label, self.folds, seed, self.leaky, strata)
        if not self.leaky:
            check_patients(subjects, fold)
        check_classes(label, fold)
        return fold


def assign_folds(
    subjects: Sequence[str],
    label: np.ndarray,
    folds: int,
    seed: int,
    leaky: bool = False,
    strata: Sequence[str] | None = None,
) -> np.ndarray:
    """The fold, 1 to `folds`, of each knee: grouped by patient, stratified by label, shuffled by `seed`.

    With `strata` (knees,), such as sites, these are spread over the folds too. `leaky` splits knees
    and not patients, to show what that error is worth. Raises `UsageError` where a class has fewer
    patients than there are folds.
    """
    check_counts(subjects, label, folds)
    classes = (
        label
        if strata is None
        else np.unique(label.astype(str) + "\t" + np.asarray(strata), return_inverse=True)[1]
    )
    fold = np.zeros(len(label), dtype=np.int64)
    splitter = StratifiedKFold if leaky else StratifiedGroupKFold
    for number, (_, test) in enumerate(
        _split(splitter(folds, shuffle=True, random_state=seed), subjects, classes), start=1
    ):
        fold[test] = number
    return fold


def hold_out(values: Sequence[str], value: str, name: str) -> np.ndarray:
    """Fold 1 for the knees whose value is `value`, to be tested on; 0 for the others, to be trained on only.

    `values` (knees,) is the column `name`. Raises `UsageError` for a value that no knee has, or all
    have.
    """
    fold = np.array([int(v == value) for v in values])
    if len(set(fold.tolist())) < 2:
        raise UsageError(
            f"{'all' if fold.all() else 'no'} knees have {name} '{value}'; there are "
            f"{', '.join(sorted(set(values)))}"
        )
    return fold


def inner_split(
    subjects: Sequence[str], label: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices to fit on and to validate on (epoch, threshold), by patient, stratified; both hold both classes.

    Raises `UsageError` where a class has fewer than two patients.
    """
    smallest = min(_patients(subjects, label).values())
    if smallest < 2:
        raise UsageError(
            f"a class has {smallest} patient(s) to train on; at least 2 are needed, one of them to validate on"
        )
    splitter = StratifiedGroupKFold(
        min(max(2, round(1 / share)), smallest), shuffle=True, random_state=seed
    )
    for fit, validate in _split(splitter, subjects, label):
        if len(set(label[fit])) == 2 and len(set(label[validate])) == 2:
            return fit, validate
    raise UsageError(
        "no split by patient leaves both classes to fit and to validate on; add patients of the rarer class"
    )


def check_counts(subjects: Sequence[str], label: np.ndarray, folds: int) -> None:
    """Raise a `UsageError` unless each class has at least as many patients as there are folds."""
    patients = _patients(subjects, label)
    if 0 in patients.values():
        only = next(c for c, n in patients.items() if n)
        raise UsageError(f"all {len(label)} knees have label {only}; both classes are needed")
    if min(patients.values()) < folds:
        counts = ", ".join(f"{n} with label {c}" for c, n in patients.items())
        raise UsageError(
            f"{folds} folds need {folds} patients of each class; there are {counts}: use fewer folds"
        )


def check_patients(subjects: Sequence[str], fold: np.ndarray) -> None:
    """Raise a `UsageError` that names a patient whose knees are in two folds, if there is one."""
    seen: dict[str, int] = {}
    for subject, number in zip(subjects, fold.tolist(), strict=True):
        if seen.setdefault(subject, number) != number:
            raise UsageError(
                f"patient {subject} is in folds {seen[subject]} and {number}; "
                "all knees of a patient belong in one fold"
            )


def read_folds(path: str | Path, knees: Sequence[str], subjects: Sequence[str]) -> np.ndarray:
    """The fold of each knee from a table (`knee`, `fold`, maybe `subject`); a `UsageError` for one that is not there.

    Knees of the table that are not asked for are passed over. Folds must be numbered from 1 without
    a gap.
    """
    table = read_table(path, ["knee", "fold"])
    rows: dict[str, Row] = {}
    for row in table.rows:
        if row["knee"] in rows:
            raise UsageError(f"{path}: {row['knee']} is there twice; keep one row")
        rows[row["knee"]] = row
    missing = [k for k in knees if k not in rows]
    if missing:
        raise UsageError(
            f"{path}: no fold for {len(missing)} of {len(knees)} knees, the first is {missing[0]}"
        )
    for knee, subject in zip(knees, subjects, strict=True):
        if rows[knee].get("subject", subject) != subject:
            raise UsageError(
                f"{path}: {knee} is of subject {rows[knee]['subject']}, but of {subject} in the labels"
            )
    wrong = next((k for k in knees if not rows[k]["fold"].isdecimal()), None)
    if wrong:
        raise UsageError(
            f"{path}: the fold of {wrong} is '{rows[wrong]['fold']}', which is no whole number"
        )
    fold = np.array([int(rows[k]["fold"]) for k in knees])
    expected = list(range(1, int(fold.max()) + 1))
    if sorted(set(fold.tolist())) != expected or len(expected) < 2:
        raise UsageError(
            f"{path}: folds are {sorted(set(fold.tolist()))}; they must be 1, 2, ... without a gap, two at least"
        )
    return fold


def fold_rows(knees: Sequence[str], subjects: Sequence[str], fold: np.ndarray) -> list[Row]:
    """The rows of a folds table, sorted by knee."""
    return [
        dict(zip(COLUMNS, (k, s, str(f)), strict=True))
        for k, s, f in sorted(zip(knees, subjects, fold.tolist(), strict=True))
    ]


def write_folds(
    path: Path, knees: Sequence[str], subjects: Sequence[str], fold: np.ndarray, force: bool
) -> None:
    """Write the folds table, or keep it; a `UsageError` where other folds are there already, unless `force`."""
    rows = fold_rows(knees, subjects, fold)
    if path.exists() and not force:
        if list(read_table(path).rows) != rows:
            raise UsageError(f"{path} holds other folds; use --force or another -o")
        return
    write_table(path, COLUMNS, rows)


def check_classes(label: np.ndarray, fold: np.ndarray) -> None:
    """Raise a `UsageError` for a fold whose knees are all of one class: nothing can be measured on it."""
    for number in range(1, int(fold.max()) + 1):
        if len(set(label[fold == number].tolist())) < 2:
            raise UsageError(
                f"fold {number} holds {int((fold == number).sum())} knees of one class only; "
                "use fewer folds or another --seed"
            )


def describe(subjects: Sequence[str], label: np.ndarray, fold: np.ndarray) -> list[str]:
    """A line a fold: knees, patients, positives; and the overlap of patients, which is 0 unless the split is leaky."""
    lines = []
    for number in sorted(set(fold.tolist())):
        at = fold == number
        inside, outside = (
            {s for s, a in zip(subjects, at == side, strict=True) if a} for side in (True, False)
        )
        positive = int(label[at].sum())
        name = f"fold {number}" if number else "trained on only"
        lines.append(
            f"{name}: {int(at.sum())} knees of {len(inside)} patients, {positive} positive; "
            f"patients also in other folds: {len(inside & outside)}"
        )
    return lines


def _patients(subjects: Sequence[str], label: np.ndarray) -> dict[int, int]:
    return {c: len({s for s, y in zip(subjects, label, strict=True) if y == c}) for c in (0, 1)}


def _split(
    splitter: StratifiedGroupKFold | StratifiedKFold, subjects: Sequence[str], label: np.ndarray
) -> list:
    with warnings.catch_warnings():  # it warns of small classes, which are counted and refused here
        warnings.simplefilter("ignore")
        return list(splitter.split(np.zeros(len(label)), label, np.asarray(subjects)))
