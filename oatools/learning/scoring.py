"""One row of a features table through a model file, as `oa-predict` does it."""

import functools
from pathlib import Path

import numpy as np
import torch

from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row
from oatools.core.runner import Done
from oatools.features.featurefile import feature_space, read_features, space_difference
from oatools.learning.cohort import clinical_value
from oatools.learning.model import FittedModel, predict
from oatools.learning.modelfile import load_model


def score_row(row: Row, model_path: str, clinical: dict[str, Row] | None) -> Done:
    """The cells `probability` and `predicted` of a row, whose `path` is a feature file.

    `clinical` gives the clinical variables by knee; None takes them from the row. Raises `ItemError` for features that
    the model was not trained on.
    """
    model = shared_model(model_path)
    features = read_features(Path(row["path"]))
    if difference := space_difference(feature_space(features.provenance), model.record["feature_space"]):
        raise ItemError(f"{row['path']} does not hold the features that the model was trained on: {difference}")
    source = row if clinical is None else clinical.get(row.get("knee", MISSING), {})
    values = np.array([[clinical_value(source, name) for name in model.scaling.names]], dtype=np.float64)
    probability = predict(model, [features.features.astype(np.float32, copy=False)], values)[0][0]
    # Compared as it is, printed rounded: the class is that of oa-cv, which has all digits too.
    cells = {"probability": f"{probability:.6f}", "predicted": str(int(probability >= model.threshold))}
    return Done(cells, warnings=_unlike(row, model))


@functools.lru_cache(maxsize=1)
def shared_model(path: str) -> FittedModel:
    """The model at `path`, read once a process, on one thread so that all processes compute alike."""
    torch.set_num_threads(1)
    return load_model(path)


def _unlike(row: Row, model: FittedModel) -> tuple[str, ...]:
    """A word of warning for a sequence that the model has never seen."""
    known = [s for s in model.record.get("sequences", []) if s != MISSING]
    sequence = row.get("sequence", MISSING)
    if not known or sequence == MISSING or sequence in known:
        return ()
    return (f"sequence {sequence}; the model was trained on {', '.join(known)}",)
