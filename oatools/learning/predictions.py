"""Tables of out-of-fold predictions: one for each model of a cross-validation, and those of others.

From the tables of a cross-validation every number of its report can be computed again.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from oatools.core.checksums import NAME as CHECKSUMS
from oatools.core.checksums import read_checksums
from oatools.core.errors import ItemError
from oatools.core.manifest import Row, write_table
from oatools.core.provenance import CAUTION_COLUMN, caution_cell
from oatools.learning.results import CrossValidation

#: The table of the model that was asked for.
FIRST = "predictions.tsv"
_OTHERS = re.compile(r"(?P<repeat>(repeat-\d+/)?)predictions-[^/]+\.tsv")
_UNSAFE = re.compile(r"[^\w.+-]+")


def file_of(model: str) -> str:
    """Return the name of the table of a model beside the first: `predictions-images-linear.tsv`."""
    return f"predictions-{_UNSAFE.sub('-', model)}.tsv"


def prediction_files(result: CrossValidation) -> dict[str, str]:
    """Return the name of each model's table, by the model."""
    first, *others = result.models
    return {first: FIRST} | {name: file_of(name) for name in others}


def prediction_rows(
    result: CrossValidation, model: str | None = None, order: Sequence[str] = ()
) -> list[Row]:
    """Return the rows of a model's table, by default of the first, with the knees in `order`.

    Without an order they are sorted by name.
    """
    found = {prediction.knee: prediction.row() for prediction in result.predictions(model)}
    caution = {CAUTION_COLUMN: caution_cell(result.cautions)}
    return [found[knee] | caution for knee in order or found if knee in found]


def write_predictions(folder: Path, result: CrossValidation, order: Sequence[str] = ()) -> None:
    """Write a table for each model, with the knees in `order`, or sorted by name."""
    names = prediction_files(result)
    for model, name in names.items():
        write_table(folder / name, result.columns(), prediction_rows(result, model, order))


def remove_others(folder: Path, kept: Collection[str]) -> None:
    """Remove tables of models that an earlier run in this folder had, and this one has not.

    `kept` are the files of this run, by relative names, whose own folders alone are looked at. The
    earlier run's are known by the digests that it left.
    """
    try:
        listed = read_checksums(folder)
    except ItemError:
        listed = None
    for name in set(listed.listed if listed else ()).difference(kept):
        match = _OTHERS.fullmatch(name)
        if listed and match and match["repeat"] + FIRST in kept and not listed.damage_of(name):
            (folder / name).unlink()
            (folder / CHECKSUMS).unlink(missing_ok=True)  # they are of a run that has ended
