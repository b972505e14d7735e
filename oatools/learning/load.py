"""From a features table and a labels table to a cohort, with an account of every knee left out."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import MISSING, BadRow, Row, Table, read_table
from oatools.core.people import People
from oatools.features.featurefile import feature_space
from oatools.learning.clinical import clinical_values
from oatools.learning.cohort import Cohort, make_cohort
from oatools.learning.followup import EVENT, FollowUp, doubts_about, has_follow_up, read_follow_up
from oatools.learning.identity import check_patients
from oatools.learning.join import (
    ChosenRows,
    FailedRow,
    choose_rows,
    endpoint_of,
    read_labels,
    require_labels,
)
from oatools.learning.leaks import Leak, clinical_doubts, label_leaks
from oatools.learning.presets import clinical_set, reveals_outcome
from oatools.learning.reader import EVERYTHING, Reader, Selection
from oatools.learning.sequences import several


@dataclass(frozen=True)
class Flow:
    """The flow from tables to cohort: knees without label or features, rows that failed.

    `order` are the knees used, in the order of the features table. `incomplete` counts those of the
    knees without features that have some of the joined sequences, but not all.
    """

    without_label: int
    without_features: int
    failed: tuple[FailedRow, ...]
    order: tuple[str, ...]
    incomplete: int = 0

    @property
    def unusable(self) -> int:
        """The number of knees with features that cannot be used; a line without a knee is none."""
        return sum(not isinstance(row, BadRow) for row, _ in self.failed)

    @property
    def labelled(self) -> int:
        """The number of knees with a label, used or not."""
        return len(self.order) + self.without_features + self.unusable


@dataclass(frozen=True)
class Loaded:
    """Training data: a cohort, the endpoint of its labels if it is known, and how it came about.

    `labels` are the rows of the labels table of the knees used, by knee. `leaks` are what gives the
    label away alone, see `leaks.label_leaks`; `doubts` what is odd about whose knees they are
    (`identity.check_patients`), or nearly gives the label away (`leaks.clinical_doubts`).
    """

    cohort: Cohort
    endpoint: str | None
    flow: Flow
    labels: dict[str, Row]
    leaks: tuple[Leak, ...]
    doubts: tuple[str, ...] = ()

    def leak_message(self) -> str:
        """Return what is said of the first leak; empty where there is none."""
        if not self.leaks:
            return ""
        others = ", ".join(leak.name for leak in self.leaks[1:4])
        more = f" (others: {others})" if others else ""
        return f"{self.leaks[0].message()}{more}"

    def warnings(self) -> tuple[str, ...]:
        """Return all that is doubtful about the tables, leaks that were allowed among it."""
        return (*self.doubts, self.leak_message()) if self.leaks else self.doubts

    def refuse_leaks(self) -> None:
        """Raise a `UsageError` that names what gives the label away, if anything does."""
        if self.leaks:
            raise UsageError(
                self.leak_message(), "leave it out, or go on with `allow_label_leakage`"
            )


def load_cohort(
    features: str | Path | Table[Row | BadRow],
    labels: str | Path | Table[Row],
    clinical: str | Sequence[str] = (),
    slices: int | None = None,
    sequences: Sequence[str] = (),
    allow_label_leakage: bool = False,
    any_sequence: bool = False,
) -> Cohort:
    """Read the knees that have features and a label, for use from Python.

    `features` is a table with the columns `knee` and `path`, as `oa-embed` prints it, and `labels`
    one with `knee`, `subject`, `label` (0, 1 or n/a) and the clinical variables, as `oa-label`
    prints it, or with `time` and `event` in place of `label` (see `followup`); or the path of such
    a table. Of each sequence only `slices` around the middle are kept, all by default. `sequences`
    names those that are joined, or the one to take where a knee has rows of several. Without it,
    all knees must be of one sequence, unless `any_sequence`.

        cohort = load_cohort("features.tsv", "labels.tsv", clinical="bmi", slices=8)

    Raises an `ItemError` for the first feature file that cannot be used; and a `UsageError` for
    tables that cannot be joined, or a variable that gives the label away (see `leaks.label_leaks`)
    unless that is allowed. Warns of what is odd about whose knees they are, and of variables that
    nearly give it away.
    """
    if isinstance(clinical, str):
        clinical = [clinical]
    if not isinstance(features, Table):
        features = read_table(features)  # a table whatever its extension
        if not features.headed:
            raise UsageError(
                f"{features.name}: its first line holds no tab",
                "save a table separated by tabs, with a header",
            )
    if not isinstance(labels, Table):
        labels = read_table(labels)
    selection = Selection(
        clinical=tuple(clinical),
        slices=slices,
        sequences=tuple(sequences),
        on_failure="raise",
        any_sequence=any_sequence,
        allow_label_leakage=allow_label_leakage,
    )
    loaded = load_training_data(features, labels, selection)
    if not allow_label_leakage:
        loaded.refuse_leaks()
    for doubt in loaded.doubts:
        warnings.warn(doubt, stacklevel=2)
    return loaded.cohort


def load_training_data(
    features: Table[Row | BadRow],
    labels: Table[Row],
    selection: Selection = EVERYTHING,
    endpoint: str | None = None,
) -> Loaded:
    """Join a features table with a labels table, and look for what gives the label away.

    Only the feature files of knees in both tables are read; `Selection.on_failure` says what
    becomes of one that cannot be. `endpoint` names what the labels are of; by default their own
    column does. Raises a `UsageError` for tables that cannot be joined or name different patients
    (see `core.people`, and `identity.check_patients`), knees of different sequences, feature files
    of different spaces or with different numbers of augmented copies, or a cohort with one class.
    """
    if endpoint is None:
        labels, endpoint = endpoint_of(labels)
    given = ",".join(selection.clinical) or "none"
    names = clinical_set(given, endpoint or "", selection.allow_label_leakage)
    selection = replace(selection, clinical=tuple(names))
    people = People()
    chosen = choose_rows(features.require("knee", "path"), selection.sequences, people)
    labelled = read_labels(require_labels(labels, [*names, *selection.columns]), people)
    both = [knee for knee in chosen.rows if knee in labelled]
    if not both:
        raise UsageError(_no_overlap(features, chosen, labels, labelled))
    # What is wrong with the tables is told before hours of reading, not after.
    if not selection.sequences and not selection.any_sequence:
        named = [chosen.rows[knee][0].get("sequence", MISSING) for knee in both]
        _refuse_several(features.name, named)
    clinical = {knee: _clinical(labelled[knee], names, labels.name) for knee in both}
    reader = Reader(selection)
    for row, error in chosen.broken:
        reader.fail(row, error)
    for knee in both:
        if reader.failed and selection.on_failure == "stop":
            break
        reader.read(knee, chosen.rows[knee])
    if not reader.knees:
        first = reader.failed[0][1]
        tried = len(both) if selection.on_failure == "leave out" else 1
        raise UsageError(
            f"{features.name}: none of {tried} feature files can be read; "
            f"the first: {first.reason}",
            first.remedy,
        )
    doubts = check_patients(
        [reader.witness(knee, labelled[knee]) for knee in reader.knees], labels.name
    )
    doubts += reader.doubts()
    for name in filter(reveals_outcome, names):
        doubts.append(f"by its name, '{name}' was found after the visit, or made from the outcome")
    cohort = _cohort(reader, chosen, labelled, clinical, labels)
    doubts += clinical_doubts(cohort)
    if cohort.follow_up is not None:
        doubts += doubts_about(cohort.follow_up)
    without = [knee for knee in labelled if knee not in chosen.rows]
    flow = Flow(
        without_label=len(chosen.rows) - len(both),
        without_features=len(without),
        failed=tuple(reader.failed),
        order=tuple(reader.knees),
        incomplete=len(chosen.incomplete.intersection(without)),
    )
    return Loaded(
        cohort=cohort,
        endpoint=endpoint,
        flow=flow,
        labels={knee: labelled[knee] for knee in cohort.knee},
        leaks=tuple(label_leaks(cohort)),
        doubts=tuple(doubts),
    )


def _cohort(
    reader: Reader,
    chosen: ChosenRows,
    labelled: dict[str, Row],
    clinical: dict[str, np.ndarray],
    labels: Table[Row],
) -> Cohort:
    selection, used = reader.selection, list(reader.knees)
    knees = list(reader.knees.values())
    values = np.stack([clinical[knee] for knee in used])
    if not selection.sequences and not selection.any_sequence:
        _refuse_several("the feature files", [reader.sequences[knee] for knee in used])
    rows = []
    for knee in used:
        row = _row(chosen.rows[knee][0], labelled[knee], selection.columns)
        rows.append({**row, "sequence": reader.sequences[knee]})
    follow_up = _follow_up([labelled[knee] for knee in used], labels)
    label = np.array(
        [int(labelled[knee]["label" if follow_up is None else EVENT]) for knee in used]
    )
    if len(np.unique(label)) < 2:
        what = "label" if follow_up is None else "event"
        raise UsageError(
            f"{labels.name}: all {len(used)} knees used have {what} {label[0]}", "both are needed"
        )
    augmented = [knee.augmented for knee in knees if knee.augmented is not None]
    return make_cohort(
        used,
        [labelled[knee]["subject"] for knee in used],
        label,
        [knee.features for knee in knees],
        clinical=values,
        clinical_names=selection.clinical,
        extents=[knee.extents for knee in knees],
        augmented=augmented if selection.augmented else None,
        rows=rows,
        joined=selection.sequences if len(selection.sequences) > 1 else (),
        space=None if reader.first is None else feature_space(reader.first[1].provenance),
        weights=reader.weights,
        cautions=sorted(reader.cautions, key=lambda caution: caution.value),
        steps=next(iter(reader.steps)) if len(reader.steps) == 1 else None,
        follow_up=follow_up,
    )


def _follow_up(rows: Sequence[Row], labels: Table[Row]) -> FollowUp | None:
    """The follow-up of knees, None where the table has labels."""
    return read_follow_up(rows, labels.name) if has_follow_up(labels.columns) else None


def _clinical(row: Row, names: Sequence[str], source: str) -> np.ndarray:
    try:
        return clinical_values(row, names)
    except ItemError as error:
        raise UsageError(f"{source}: {row['knee']}: {error.reason}", error.remedy) from None


def _row(row: Row, labelled: Row, columns: Sequence[str]) -> Row:
    """The row of the features table, with what it lacks and `columns` from the labels."""
    completed = dict(row)
    for column in ("visit", "side"):
        if row.get(column, MISSING) == MISSING:
            completed[column] = labelled.get(column, MISSING)
    for column in columns:
        completed[column] = labelled[column]
    return completed


def _refuse_several(source: str, sequences: Sequence[str]) -> None:
    """Raise a `UsageError` for knees of different sequences, which nobody asked to mix."""
    found = several(sequences)
    if found:
        raise UsageError(
            f"{source}: the knees are of several sequences ({found})",
            "choose with `sequences`, or train on all with `any_sequence`",
        )


def _no_overlap(
    features: Table[Row | BadRow],
    chosen: ChosenRows,
    labels: Table[Row],
    labelled: dict[str, Row],
) -> str:
    if not labelled:
        return f"{labels.name}: no knee has a label"
    one, other = next(iter(chosen.rows)), next(iter(labelled))
    return (
        f"no knee is in both tables: {features.name} has {one}, ...; {labels.name} has {other}, ..."
    )
