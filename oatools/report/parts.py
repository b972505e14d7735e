"""The parts of the models of a cross-validation: their weights, and what the networks added."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oatools.core.manifest import Row
from oatools.learning.model import NETWORK


def part_rows(records: Sequence[Mapping[str, Any]], area: str) -> list[Row]:
    """Return one row a part: its weight in each fold, and its `area` on knees set aside.

    `records` are those of the models, one a fold; none where these have no parts to weigh.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        for part in record.get("parts", []):
            by_name.setdefault(part["name"], []).append(part)
    rows = []
    for name, of_folds in by_name.items():
        row = {"part": name}
        for number, part in enumerate(of_folds, start=1):
            row[f"weight, fold {number}"] = f"{part['weight']:.2f}"
        row[f"{area} by itself, mean"] = f"{np.mean([part['roc_auc'] for part in of_folds]):.3f}"
        rows.append(row)
    return rows


def parts_caption(records: Sequence[Mapping[str, Any]], area: str) -> str:
    """Return what the table shows, and how much the networks added to the `area`, in words."""
    said = (
        "Weights of the parts in the model of each fold, by what they said of training knees that "
        "were set aside; a part of weight 0 is not in it."
    )
    parts = [part for record in records for part in record.get("parts", [])]
    if parts and not any(part["name"] == NETWORK and part["weight"] for part in parts):
        said += (
            " No model has networks, so that there is no picture of attention: all slices of a "
            "knee count alike."
        )
    alone = [record.get("linear_roc_auc") for record in records]
    if any(each is None for each in alone):
        return said
    if not all(any(part["name"] == NETWORK for part in record["parts"]) for record in records):
        return said
    whole = float(np.mean([record["validation_roc_auc"] for record in records]))
    linear = float(np.mean([each for each in alone if each is not None]))
    return (
        f"{said} On these knees the {area} is {linear:.3f} without the networks and {whole:.3f} "
        "with them (mean of folds)."
    )
