"""One row of a features table through a model file, as `oa-predict` does it."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import file_stamp
from oatools.core.manifest import IDENTITY, BadRow, Row, Table, identified
from oatools.core.people import normal_knee, note_forms
from oatools.core.provenance import CAUTION_COLUMN, Caution, caution_cell, cautions_in
from oatools.core.runner import Done
from oatools.features.featurefile import (
    NO_DIGEST,
    Features,
    feature_space,
    read_features,
    space_difference,
)
from oatools.learning.cautions import MEANINGS
from oatools.learning.clinical import ClinicalTable, clinical_values, read_clinical
from oatools.learning.files import load_model
from oatools.learning.followup import usual_times
from oatools.learning.model import FittedModel, predict, scores
from oatools.learning.recalibration import Recalibration
from oatools.learning.results import DIGITS, risk_column
from oatools.learning.sequences import check_kind, image_kind

# What is added to a row that is scored, the risks of a model of follow-up before it.
_CLASSED = ["probability", "predicted", CAUTION_COLUMN]
_FOLLOWED = ["probability", CAUTION_COLUMN]


@dataclass(frozen=True)
class Scoring:
    """The rows that a model can score, one a knee, and their clinical variables.

    `clinical` holds these by knee; None takes them from the rows. `absent` are the variables that
    the model asks for and the rows have no column of.
    """

    table: Table[Row | BadRow]
    clinical: ClinicalTable | None
    absent: tuple[str, ...]

    def absent_warning(self) -> str:
        """Return what is said of absent variables; empty where there are none."""
        if not self.absent:
            return ""
        names = ", ".join(map(repr, self.absent))
        return f"{self.table.name} has no column {names}: every knee gets the model's median"


def scored_columns(model: FittedModel, at: Sequence[float] = ()) -> list[str]:
    """Return the columns that are added to a row that is scored, with risks `at` so many months."""
    if model.hazards is None:
        return _CLASSED
    return [*map(risk_column, at), *_FOLLOWED]


def times_of(model: FittedModel, asked: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the months at which a model tells risks: those `asked` for, or the usual ones.

    Raises a `UsageError` for a model of classes, and for more months than the model has learnt of.
    """
    if model.hazards is None:
        if asked:
            raise UsageError("the model tells two classes apart, and no times", "leave out `at`")
        return ()
    longest = float(model.hazards.ends[-1])
    for months in asked:
        if months > longest:
            raise UsageError(
                f"the model has learnt of {longest:g} months, and not of {months:g}",
                "give `at` earlier times",
            )
    return tuple(sorted(set(asked))) or usual_times(longest)


def open_scoring(
    model: FittedModel,
    table: Table[Row | BadRow],
    clinical: str | None = None,
    also: Sequence[str] = (),
) -> Scoring:
    """Prepare the rows of a table for a model.

    Rows of the sequences that the model joins become one a knee, see `join_rows`. Clinical
    variables come from the table at the path `clinical`, by knee, with its columns `also`; or
    from the rows.
    """
    if model.joined:
        rows = join_rows(table.require("knee", "sequence").rows, model.joined)
        table = table.with_rows(rows)
    names = model.scaling.names
    if clinical is not None:
        found = read_clinical(clinical, names, also)
        return Scoring(table.with_rows(_noted(table), table.total), found, ())
    absent = tuple(name for name in names if name not in table.columns)
    return Scoring(table, None, absent)


def _noted(table: Table[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Pass rows on, and note how they write the knees by which they are joined with others."""
    for row in table.rows:
        if not isinstance(row, BadRow):
            note_forms(row, table.name)
        yield row


def score_row(
    row: Row,
    model_path: str,
    clinical: ClinicalTable | None,
    any_sequence: bool = False,
    recalibration: Recalibration | None = None,
    at: Sequence[float] = (),
) -> Done:
    """Return the cells `scored_columns` of a row; those of a model of follow-up `at` some months.

    Its `path` is a feature file, or `join_rows` made it. `clinical` gives the clinical variables by
    knee; None takes them from the row. Raises `ItemError` for features that the model was not
    trained on, and unless `any_sequence` for a sequence or plane that it was not trained on (see
    `sequences.check_kind`). A `recalibration` changes the probability, and not what is predicted.
    """
    model = shared_model(model_path)
    found = [_read(path, model) for path in input_paths(row, model.joined)]
    asked = row
    if found[0].has_digest:  # another program's record is no reason to call a knee so
        row = identified(row, found[0].provenance)
    remarks = check_kind(image_kind(row, found[0].provenance), model, any_sequence)
    if not all(each.has_digest or not each.making_is_recorded for each in found):
        remarks = (*remarks, f"the feature file {NO_DIGEST}")
    values = checked_clinical(row, clinical, model.scaling.names)
    for name in model.beyond(values):
        remarks = (*remarks, f"'{name}' is beyond that of all training knees: their end is taken")
    features = [each.features.astype(np.float32, copy=False) for each in found]
    extents = [[len(each) for each in features]]
    knees = [np.concatenate(features)]
    cells = {}
    if model.hazards is None or not at:
        probabilities, _ = predict(model, knees, values[None], extents)
        probability = float(probabilities[0])
    else:
        score, _ = scores(model, knees, values[None], extents)
        for months, probability in zip(at, model.hazards.risk(score, at)[0].tolist(), strict=True):
            cells[risk_column(months)] = f"{probability:.{DIGITS}f}"
    # Compared as it is, printed rounded: the class is that of oa-cv, which has all digits too.
    predicted = int(probability >= model.threshold)
    cautions = model.cautions_about(row)
    if Caution.TRAINING_KNEES in cautions:
        remarks = (*remarks, MEANINGS[Caution.TRAINING_KNEES])
    if recalibration is not None:
        cautions |= cautions_in(", ".join(recalibration.cautions))
        probability = float(recalibration.apply(np.array(probability)))
    cells |= {"probability": f"{probability:.{DIGITS}f}", CAUTION_COLUMN: caution_cell(cautions)}
    if model.hazards is None:
        cells["predicted"] = str(predicted)
    cells |= {column: row[column] for column in IDENTITY if row.get(column) != asked.get(column)}
    return Done(cells, remarks=remarks)


def clinical_cells(row: Row, clinical: ClinicalTable | None) -> Row:
    """Return the cells that hold a row's clinical variables: its own, or those of its knee."""
    return row if clinical is None else clinical.cells(row)


def checked_clinical(row: Row, clinical: ClinicalTable | None, names: Sequence[str]) -> np.ndarray:
    """Return a row's clinical variables (variables,), see `clinical.clinical_values`.

    Raises an `ItemError` where they may be those of another patient (see `ClinicalTable.check`).
    """
    if clinical is not None:
        clinical.check(row)
    return clinical_values(clinical_cells(row, clinical), names)


def join_rows(rows: Iterable[Row | BadRow], joined: Sequence[str]) -> Iterator[Row | BadRow]:
    """Make one row a knee of one row a sequence, as soon as all `joined` sequences are there.

    It is the row of the first sequence, with `sequence` as `a+b` and the other paths in cells
    `path:b`. Rows of other sequences are dropped; knees that lack one come last, without its path.
    The rows of a knee are those whose names have one normal form (see `core.people`).
    """
    waiting: dict[str, dict[str, Row]] = {}
    ended: set[str] = set()
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        knee, sequence = normal_knee(row["knee"]), row["sequence"]
        if sequence not in joined:
            continue
        if knee in ended or sequence in waiting.get(knee, {}):
            reason = f"has several rows of sequence {sequence}, of which the first was taken"
            yield BadRow(knee, reason, remedy="drop the others")
            continue
        waiting.setdefault(knee, {})[sequence] = row
        if len(waiting[knee]) == len(joined):
            ended.add(knee)
            yield _one_row(waiting.pop(knee), joined)
    for found in waiting.values():
        yield _one_row(found, joined)


def input_paths(row: Row, joined: Sequence[str]) -> list[str]:
    """Return the files of a row that `join_rows` made, in the order of the sequences.

    Without `joined`, the row's only file. Raises an `ItemError` for a row that lacks one.
    """
    for sequence in joined:
        if f"path:{sequence}" not in row:
            raise ItemError(
                f"no row of sequence {sequence}", f"the model joins {' and '.join(joined)}"
            )
    if not joined:
        return [row["path"]]
    return [row[f"path:{sequence}"] for sequence in joined]


def shared_model(path: str) -> FittedModel:
    """Return the model at `path` as it is now, read once a process.

    On one thread, so that all processes compute alike.
    """
    return _model(path, file_stamp(path))


@functools.lru_cache(maxsize=1)
def _model(path: str, stamp: tuple[str, int, int]) -> FittedModel:
    torch.set_num_threads(1)
    return load_model(path)


def _read(path: str, model: FittedModel) -> Features:
    found = read_features(Path(path))
    space = feature_space(found.provenance)
    difference = space_difference(space, model.record["feature_space"])
    if difference:
        raise ItemError(
            f"{path} does not hold the features that the model was trained on: {difference}"
        )
    channels = found.features.shape[1]
    if channels != model.module.channels:
        raise ItemError(
            f"{path} does not hold the features that the model was trained on: {channels} a slice, "
            f"not {model.module.channels}"
        )
    return found


def _one_row(found: dict[str, Row], joined: Sequence[str]) -> Row:
    present = [sequence for sequence in joined if sequence in found]
    row = {**found[present[0]], "sequence": "+".join(present)}
    for sequence, own in found.items():
        row[f"path:{sequence}"] = own["path"]
    return row
