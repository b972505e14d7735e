"""Tables of predictions and labels: knees with a score, how they fared, and what they are like."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row, Table, read_table
from oatools.core.people import People, subject_of
from oatools.core.provenance import CAUTION_COLUMN, Caution, cautions_in
from oatools.core.suggestions import did_you_mean
from oatools.core.words import counted
from oatools.learning.against import name_of, number_of, share_of
from oatools.learning.cautions import MEANINGS
from oatools.learning.followup import has_follow_up, labelled_by
from oatools.learning.intervals import Estimate, Fold, estimate_area
from oatools.learning.join import endpoint_of, read_labels, require_labels
from oatools.learning.results import RISK, risk_column
from oatools.scored.rules import Rule


@dataclass(frozen=True)
class ScoredKnees:
    """Knees with a score and a label, in the order of the table of predictions.

    All arrays are (knees,): `label` is 0 or 1, and 1 an event; `subject` and `fold` are numbers;
    scores are of one fold where one model made them all. `scores` holds the probability of each
    model by name, the first being the one in question, whose folds `fold` are; `other_folds` holds
    those of the others, where they are not the same. `change` is a continuous outcome, NaN where
    missing, or None. `columns` are those that rules go by, NaN where missing; `cells` those that
    groups are made by, as they are written. `called` is 1 where the first model calls a knee
    positive, 0 where it does not, and None where the table does not say it of all. `within` is the
    column within whose cells alone scores are compared: folds are divided by it (`within_cells`).
    `out_of_fold` is True for scores of a cross-validation; where it is None, folds tell.

    `unlabelled` knees have predictions and no label, and are not among them; `unscored` have a
    label and no prediction.
    """

    knee: tuple[str, ...]
    subject: np.ndarray
    label: np.ndarray
    fold: np.ndarray
    scores: Mapping[str, np.ndarray]
    other_folds: Mapping[str, np.ndarray] = field(default_factory=dict)
    change: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    called: np.ndarray | None = None
    within: str = ""
    out_of_fold: bool | None = None
    cautions: frozenset[Caution] = frozenset()
    endpoint: str | None = None
    unlabelled: int = 0
    unscored: int = 0

    def __len__(self) -> int:
        return len(self.knee)

    @property
    def patients(self) -> int:
        """The number of patients."""
        return len(np.unique(self.subject))

    @property
    def is_out_of_fold(self) -> bool:
        """Whether the scores are of several models, each tested on what others trained on."""
        return self.folds > 1 if self.out_of_fold is None else self.out_of_fold

    @property
    def folds(self) -> int:
        """The number of folds; 1 where all scores are of one model."""
        return len(np.unique(self.fold))

    def fold_of(self, model: str) -> np.ndarray:
        """Return the folds (knees,) of a model's scores."""
        return self.other_folds.get(model, self.fold)

    def take(self, chosen: np.ndarray) -> "ScoredKnees":
        """Return the knees that a mask (knees,) chooses."""
        return replace(
            self,
            knee=tuple(knee for knee, kept in zip(self.knee, chosen, strict=True) if kept),
            subject=self.subject[chosen],
            label=self.label[chosen],
            fold=self.fold[chosen],
            scores={name: values[chosen] for name, values in self.scores.items()},
            other_folds={name: values[chosen] for name, values in self.other_folds.items()},
            change=None if self.change is None else self.change[chosen],
            columns={name: values[chosen] for name, values in self.columns.items()},
            cells={
                name: tuple(cell for cell, kept in zip(cells, chosen, strict=True) if kept)
                for name, cells in self.cells.items()
            },
            called=None if self.called is None else self.called[chosen],
        )


def read_scored(
    predictions: str | Path,
    labels: str | Path | None = None,
    others: Mapping[str, str | Path] | None = None,
    rules: Sequence[Rule] = (),
    change: str | None = None,
    *,
    cells: Sequence[str] = (),
    name: str = "score",
    at: float | None = None,
) -> ScoredKnees:
    """Read a table of predictions, and of labels if there is one.

    Predictions have the columns `knee` and `probability`, maybe `subject`, `label` and `fold`.
    Where `labels` are given, these say how knees fared, and the columns of `rules` and the
    continuous outcome `change` are theirs, else those of the predictions. `others` are further
    predictions of the same knees, by name, and `cells` columns of either table that groups are made
    by. Where tables say when something happened, it is asked whether it had `at` so many months
    (see `followup.labelled_by`), and of predictions the risk within that time counts where they
    have risks. Raises a `UsageError` where the tables disagree or share no knee, and for a cell
    that is no number.
    """
    people = People()
    scored = _Predictions.read(predictions, people, at)
    endpoint, source = None, scored.rows
    where = str(predictions)
    if labels is None:
        rows = _own_labels(scored, at)
    else:
        table = require_labels(read_table(labels), [])
        table = labelled_by(table, at)
        table, endpoint = endpoint_of(table)
        rows = source = read_labels(table, people, are_classes=True)
        where = table.name
        _require_same_labels(scored, rows, where)
    shared = [knee for knee in scored.rows if knee in rows]
    if not shared:
        raise UsageError(
            f"no knee of {scored.name} has a label in {where}",
            "give predictions and labels of the same knees",
        )
    label = np.array([int(rows[knee]["label"]) for knee in shared])
    subjects = [_subject(knee, scored.rows[knee], rows[knee]) for knee in shared]
    scores = {name: _probabilities(scored, shared)}
    other_folds = {}
    cautions = scored.cautions(shared) | _cautions(rows, shared)
    for other, path in (others or {}).items():
        more = _Predictions.read(path, people, at)
        _require_knees(more, shared, scored.name)
        _require_same_labels(more, rows, where)
        scores[other] = _probabilities(more, shared)
        other_folds[other] = _folds(more, shared)
        cautions |= more.cautions(shared)
    wanted = {column for rule in rules for column in rule.columns}
    columns = {column: _column(source, shared, column, where) for column in sorted(wanted)}
    return ScoredKnees(
        knee=tuple(shared),
        subject=numbers_of(subjects),
        label=label,
        fold=_folds(scored, shared),
        scores=scores,
        other_folds=other_folds,
        change=None if change is None else _column(source, shared, change, where),
        columns=columns,
        cells={column: _cells(source, scored, shared, column, where) for column in cells},
        called=_called(scored, shared),
        cautions=frozenset(cautions),
        endpoint=endpoint,
        unlabelled=len(scored.rows) - len(shared),
        unscored=len(rows) - len(shared) if labels is not None else 0,
    )


def area_of(knees: ScoredKnees, model: str) -> Estimate:
    """Return the area under the ROC curve of a model as `oa-cv` reports it: the mean over folds."""
    fold, probability = knees.fold_of(model), knees.scores[model]
    folds = [
        Fold(knees.label[at], knees.subject[at], probability[at])
        for at in (fold == number for number in np.unique(fold))
    ]
    return estimate_area([folds])


def name_tables(
    first: str, others: Sequence[str], taken: Sequence[str] = ()
) -> tuple[str, dict[str, str]]:
    """Return what predictions are called (see `against.name_of`), and others, by their names.

    Raises a `UsageError` where two would have one name, or one that is `taken`.
    """
    name = "score" if first == "-" else name_of(first)
    found: dict[str, str] = {}
    for path in others:
        other = name_of(path)
        if other in (name, *found, *taken):
            raise UsageError(
                f"two tables of predictions would be called {other}", "rename one, or its folder"
            )
        found[other] = path
    return name, found


def within_cells(knees: ScoredKnees, column: str) -> ScoredKnees:
    """Return knees whose scores are compared with those of the same cell of a column alone.

    Each fold becomes as many as there are different cells in it.
    """
    cells = knees.cells[column]

    def divided(fold: np.ndarray) -> np.ndarray:
        return numbers_of(f"{number}\t{cell}" for number, cell in zip(fold, cells, strict=True))

    others = {name: divided(knees.fold_of(name)) for name in list(knees.scores)[1:]}
    return replace(
        knees,
        fold=divided(knees.fold),
        other_folds=others,
        within=column,
        out_of_fold=knees.is_out_of_fold,
    )


def remarks(knees: ScoredKnees) -> list[str]:
    """Return what is said of knees once they are read: who is left out, and cautions."""
    return remarks_on(knees.unlabelled, knees.unscored, knees.cautions, "label", "a label")


def remarks_on(
    unlabelled: int, unscored: int, cautions: Collection[Caution], what: str, a_what: str
) -> list[str]:
    """Return what is said of so many predictions and labels (`what`) that lack the other."""
    said = []
    if unlabelled:
        said.append(f"{counted(unlabelled, 'prediction')} without {a_what} left out")
    if unscored:
        said.append(f"{counted(unscored, what)} without a prediction left out")
    if Caution.TRAINING_KNEES in cautions:
        about = MEANINGS[Caution.TRAINING_KNEES]
        said.append(f"warning: {Caution.TRAINING_KNEES.value}: {about}")
    return said


def with_threshold(knees: ScoredKnees, threshold: float) -> ScoredKnees:
    """Return knees that are called positive from this probability. Raises a `UsageError`."""
    if not 0 <= threshold <= 1:
        raise UsageError(f"a threshold of {threshold:g}", "give `threshold` from 0 to 1")
    probability = next(iter(knees.scores.values()))
    return replace(knees, called=(probability >= threshold).astype(np.float64))


@dataclass(frozen=True)
class _Predictions:
    """A table of predictions, by knee."""

    name: str
    rows: dict[str, Row]

    @classmethod
    def read(cls, path: str | Path, people: People, at: float | None) -> "_Predictions":
        """Read a table; its risks within `at` months are the probabilities, where it has risks."""
        table = read_table(path, ("knee", "probability"))
        rows = people.by_knee(table.rows, table.name)
        if not rows:
            raise UsageError(f"{table.name}: no predictions")
        risks = [name for name in table.columns if name.startswith(RISK)]
        if at is not None and risks:
            if risk_column(at) not in risks:
                there = ", ".join(name.removeprefix(RISK) for name in risks)
                raise UsageError(
                    f"{table.name}: no risk within {at:g} months; there are {there}",
                    "give `at` one of these, or predict again with it",
                )
            rows = {k: {**row, "probability": row[risk_column(at)]} for k, row in rows.items()}
        return cls(table.name, rows)

    def cautions(self, knees: Sequence[str]) -> set[Caution]:
        return _cautions(self.rows, knees)


def numbers_of(names: Iterable[str]) -> np.ndarray:
    """The number (knees,) of each name among all, 0 and up."""
    return np.unique(list(names), return_inverse=True)[1]


def _folds(scored: _Predictions, knees: Sequence[str]) -> np.ndarray:
    return numbers_of(scored.rows[knee].get("fold", MISSING) for knee in knees)


def _cautions(rows: Mapping[str, Row], knees: Sequence[str]) -> set[Caution]:
    found: set[Caution] = set()
    for cell in {rows[knee].get(CAUTION_COLUMN, MISSING) for knee in knees}:
        found |= cautions_in(cell)
    return found


def _own_labels(scored: _Predictions, at: float | None) -> dict[str, Row]:
    """The rows of predictions that say how their knees fared."""
    columns = list(next(iter(scored.rows.values())))
    if at is not None or has_follow_up(columns):
        table = labelled_by(Table(columns, iter(scored.rows.values()), scored.name), at)
        return read_labels(table, are_classes=True)
    if not any("label" in row for row in scored.rows.values()):
        raise UsageError(
            f"{scored.name}: no column 'label', so nothing says how the knees fared",
            "give a table of `labels`",
        )
    found = {}
    for knee, row in scored.rows.items():
        if row["label"] == MISSING:
            continue
        if number_of(scored.name, row, "label") not in (0, 1):
            raise UsageError(
                f"{scored.name}: {knee} has label '{row['label']}'", "labels are 0, 1 or n/a"
            )
        found[knee] = {**row, "label": f"{float(row['label']):.0f}"}
    return found


def _require_same_labels(scored: _Predictions, rows: Mapping[str, Row], where: str) -> None:
    """Raise a `UsageError` for the first knee whose predictions say that it fared otherwise."""
    for knee, row in scored.rows.items():
        if knee not in rows or row.get("label", MISSING) == MISSING:
            continue
        if number_of(scored.name, row, "label") != float(rows[knee]["label"]):
            raise UsageError(
                f"{scored.name}: {knee} has label '{row['label']}', and {rows[knee]['label']} in "
                f"{where}",
                "give the labels that the predictions were made for",
            )


def _require_knees(other: _Predictions, knees: Sequence[str], first: str) -> None:
    missing = [knee for knee in knees if knee not in other.rows]
    if missing:
        raise UsageError(
            f"{other.name}: no prediction for {len(missing)} of the {len(knees)} knees of {first}, "
            f"the first is {missing[0]}",
            "compare on the same knees",
        )


def _subject(knee: str, scored: Row, labelled: Row) -> str:
    """The patient of a knee; one of its own where nothing says it."""
    for row in (labelled, scored):
        subject = subject_of({**row, "knee": knee})
        if subject != MISSING:
            return f"of {subject}"
    return f"knee {knee}"


def _probabilities(scored: _Predictions, knees: Sequence[str]) -> np.ndarray:
    return np.array([share_of(scored.name, scored.rows[knee], "probability") for knee in knees])


def _column(rows: Mapping[str, Row], knees: Sequence[str], column: str, where: str) -> np.ndarray:
    """A column of numbers (knees,), NaN where missing."""
    present = next(iter(rows.values()))
    if column not in present:
        listed = ", ".join(present)
        raise UsageError(
            f"{where}: no column '{column}'; columns present: {listed}",
            did_you_mean(column, list(present)),
        )
    found = np.full(len(knees), math.nan)
    for i, knee in enumerate(knees):
        value = number_of(where, rows[knee], column)
        if value is not None:
            found[i] = value
    return found


def _cells(
    rows: Mapping[str, Row], scored: _Predictions, knees: Sequence[str], column: str, where: str
) -> tuple[str, ...]:
    """A column (knees,) as it is written, of the labels or else of the predictions."""
    source = rows if column in next(iter(rows.values())) else scored.rows
    present = next(iter(source.values()))
    if column not in present:
        known = list(dict.fromkeys([*next(iter(rows.values())), *present]))
        listed = ", ".join(known)
        raise UsageError(
            f"no column '{column}' in {where} or {scored.name}; columns present: {listed}",
            did_you_mean(column, known),
        )
    return tuple(source[knee][column] for knee in knees)


def _called(scored: _Predictions, knees: Sequence[str]) -> np.ndarray | None:
    """Which knees (knees,) the model called positive, where the table says it of all."""
    found = [number_of(scored.name, scored.rows[knee], "predicted") for knee in knees]
    if any(value not in (0, 1) for value in found):
        return None
    return np.array(found, dtype=np.float64)
