"""One row of a features table through a model file, as `oa-predict` does it."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import file_stamp
from oatools.core.manifest import MISSING, BadRow, Row, read_table
from oatools.core.runner import Done
from oatools.features.featurefile import feature_space, read_features, space_difference
from oatools.learning.cohort import clinical_value
from oatools.learning.files import load_model
from oatools.learning.model import FittedModel, predict


def score_row(row: Row, model_path: str, clinical: dict[str, Row] | None) -> Done:
    """The cells `probability` and `predicted` of a row, whose `path` is a feature file, or which `join_rows` made.

    `clinical` gives the clinical variables by knee; None takes them from the row. Raises
    `ItemError` for features that the model was not trained on.
    """
    model = shared_model(model_path)
    found = []
    for path in input_paths(row, model.joined):
        features = read_features(Path(path))
        if difference := space_difference(
            feature_space(features.provenance), model.record["feature_space"]
        ):
            raise ItemError(
                f"{path} does not hold the features that the model was trained on: {difference}"
            )
        found.append(features.features.astype(np.float32, copy=False))
    source = row if clinical is None else clinical.get(row.get("knee", MISSING), {})
    values = np.array(
        [[clinical_value(source, name) for name in model.scaling.names]], dtype=np.float64
    )
    probability = predict(model, [np.concatenate(found)], values, [[len(each) for each in found]])[
        0
    ][0]
    # Compared as it is, printed rounded: the class is that of oa-cv, which has all digits too.
    cells = {
        "probability": f"{probability:.6f}",
        "predicted": str(int(probability >= model.threshold)),
    }
    return Done(cells, warnings=sequence_warning(row, model))


def read_clinical(path: str, names: Sequence[str], also: Sequence[str] = ()) -> dict[str, Row]:
    """The cells `names` by knee, and those of `also` that the table has; a `UsageError` for a knee that comes twice."""
    table = read_table(path, ["knee", *names])
    kept = [*names, *(name for name in also if name in table.columns)]
    rows: dict[str, Row] = {}
    for row in table.rows:
        if row["knee"] in rows:  # type: ignore[index]
            raise UsageError(f"{path}: {row['knee']} is there twice; keep one row")  # type: ignore[index]
        rows[row["knee"]] = {name: row[name] for name in kept}  # type: ignore[index]
    return rows


def join_rows(rows: Iterable[Row | BadRow], joined: Sequence[str]) -> Iterator[Row | BadRow]:
    """One row a knee from one row a sequence, as soon as all `joined` sequences of the knee are there.

    It is the row of the first sequence, with `sequence` as `a+b` and the other paths in cells
    `path:b`. Rows of other sequences are dropped; knees that lack one come last, without its path.
    """
    waiting: dict[str, dict[str, Row]] = {}
    ended: set[str] = set()
    for row in rows:
        if isinstance(row, BadRow):
            yield row
        elif (sequence := row["sequence"]) in joined:
            knee = row["knee"]
            if knee in ended or sequence in waiting.get(knee, {}):
                yield BadRow(
                    knee,
                    f"has several rows of sequence {sequence}; the first was taken, drop the others",
                )
                continue
            waiting.setdefault(knee, {})[sequence] = row
            if len(waiting[knee]) == len(joined):
                ended.add(knee)
                yield _one_row(waiting.pop(knee), joined)
    for found in waiting.values():
        yield _one_row(found, joined)


def _one_row(found: dict[str, Row], joined: Sequence[str]) -> Row:
    first = next(found[s] for s in joined if s in found)
    others = {f"path:{s}": row["path"] for s, row in found.items()}
    return {**first, "sequence": "+".join(s for s in joined if s in found), **others}


def input_paths(row: Row, joined: Sequence[str]) -> list[str]:
    """The files of a row that `join_rows` made, in the order of the sequences; an `ItemError` for one that lacks one.

    Without `joined`, the row's only file.
    """
    missing = [s for s in joined if f"path:{s}" not in row]
    if missing:
        raise ItemError(f"no row of sequence {missing[0]}; the model joins {' and '.join(joined)}")
    return [row[f"path:{s}"] for s in joined] or [row["path"]]


def shared_model(path: str) -> FittedModel:
    """The model at `path` as it is now, read once a process, on one thread so that all processes compute alike."""
    return _model(path, file_stamp(path))


@functools.lru_cache(maxsize=1)
def _model(path: str, identity: tuple) -> FittedModel:
    torch.set_num_threads(1)
    return load_model(path)


def sequence_warning(row: Row, model: FittedModel) -> tuple[str, ...]:
    """A word of warning for a sequence that the model has never seen."""
    known = [s for s in model.record.get("sequences", []) if s != MISSING]
    sequence = row.get("sequence", MISSING)
    if model.joined or not known or sequence == MISSING or sequence in known:
        return ()
    return (f"sequence {sequence}; the model was trained on {', '.join(known)}",)
