"""The baselines beside a model of follow-up, in the same folds and on the same knees.

Cox regression and boosting are scikit-survival's, and are there where it is installed.
"""

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split
from oatools.learning.followup import FollowUp
from oatools.learning.linear import Fitted, LinearPart, fit_ridge
from oatools.learning.mixture import mix_given
from oatools.learning.outcome import Happened, Outcome
from oatools.learning.results import OutOfFold
from oatools.learning.scaling import fit_clinical

LINEAR, HAZARDS, COX = "images linear", "clinical hazards", "clinical Cox"
BOOSTING = "clinical boosting"
_TOLERANCE, _STEPS = 1e-6, 1000

#: Fits on training knees, and returns what gives others' risks (knees, times).
_Fit = Callable[[np.ndarray, FollowUp, Sequence[float], int], Callable[[np.ndarray], np.ndarray]]


def followed_baselines(
    cohort: Cohort, splits: Sequence[Split], at: Sequence[float], seed: int
) -> dict[str, OutOfFold]:
    """Return the out-of-fold risks of every baseline, `at` so many months, by name.

    `images linear` is a ridge regression of hazards on each channel's mean over the slices, its
    strength chosen by inner cross-validation over all training knees: what a model must not lose
    to. `clinical hazards` is the same of the clinical variables, with a fixed weak penalty (that of
    a logistic regression with C = 1). `clinical Cox` (the same penalty, Efron's ties, Breslow's
    baseline) and `clinical boosting` (gradient boosting of Cox's likelihood) take an event for
    one at the visit that found it.
    """
    names = [LINEAR]
    if cohort.clinical_names:
        names += [HAZARDS, *_LIBRARY] if has_library() else [HAZARDS]
    results = {name: OutOfFold.empty(len(cohort), len(at)) for name in names}
    means, followed = cohort.means(), cohort.followed()
    for split in splits:
        outcome = Happened.of(followed.take(split.train))
        fitted = fit_images(cohort, means, outcome, split)
        scored = {LINEAR: (fitted.held_out, fitted.part.log_odds(means[split.test]))}
        if cohort.clinical_names:
            scored[HAZARDS] = _clinical_hazards(cohort, outcome, split)
        for name, (held_out, test) in scored.items():
            mixture, _ = mix_given(outcome, {name: held_out})
            hazards = outcome.given(mixture.log_odds({name: held_out})).hazards
            risk = hazards.risk(mixture.log_odds({name: test}), at)
            results[name].put_risks(split.test, risk)
        for name in [name for name in names if name in _LIBRARY]:
            values = cohort.clinical[split.train]
            scaling = fit_clinical(values, cohort.clinical_names)
            risks = _LIBRARY[name](scaling.apply(values), outcome.follow_up, at, seed)
            results[name].put_risks(split.test, risks(scaling.apply(cohort.clinical[split.test])))
    return results


def has_library() -> bool:
    """Tell whether scikit-survival is installed."""
    return importlib.util.find_spec("sksurv") is not None


def fit_images(cohort: Cohort, means: np.ndarray, outcome: Outcome, split: Split) -> Fitted:
    """Fit ridge regression on means over the slices (knees, columns) of the training knees."""
    part = LinearPart("mean", cohort.channels, sequences=cohort.sequences)
    return fit_ridge(part, means[split.train], outcome, split.part)


def _clinical_hazards(
    cohort: Cohort, outcome: Happened, split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Log hazards by clinical variables: of training knees when left out, and of test knees."""
    values, names = cohort.clinical[split.train], cohort.clinical_names

    def score(fit: np.ndarray, others: np.ndarray) -> np.ndarray:
        scaling = fit_clinical(values[fit], names)
        model = outcome.take(fit).regression()
        model.fit(scaling.apply(values[fit]), 1.0, _TOLERANCE, _STEPS)
        return model.score(scaling.apply(others))

    held_out = np.empty(len(outcome))
    for number in range(1, split.parts + 1):
        held = split.part == number
        held_out[held] = score(~held, values[held])
    return held_out, score(np.full(len(outcome), True), cohort.clinical[split.test])


def _cox(
    values: np.ndarray, found: FollowUp, at: Sequence[float], seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return _risks(CoxPHSurvivalAnalysis(alpha=1.0, ties="efron"), values, found, at)


def _boosting(
    values: np.ndarray, found: FollowUp, at: Sequence[float], seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    from sksurv.ensemble import GradientBoostingSurvivalAnalysis

    model = GradientBoostingSurvivalAnalysis(
        learning_rate=0.05, n_estimators=100, max_depth=3, random_state=seed
    )
    return _risks(model, values, found, at)


_LIBRARY: dict[str, _Fit] = {COX: _cox, BOOSTING: _boosting}


def _risks(
    model: object, values: np.ndarray, found: FollowUp, at: Sequence[float]
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a model of scikit-survival, and return what tells risks at times.

    Behind the last time that it knows, a risk stays as it is.
    """
    from sksurv.util import Surv

    fitted = model.fit(values, Surv.from_arrays(found.event, found.time))  # type: ignore[attr-defined]

    def risks(others: np.ndarray) -> np.ndarray:
        curves = fitted.predict_survival_function(others)
        times, first = curves[0].x, float(curves[0].x[0])
        out = np.zeros((len(others), len(at)))
        for place, months in enumerate(at):
            if months >= first:
                asked = min(months, float(times[-1]))
                out[:, place] = [1 - float(curve(asked)) for curve in curves]
        return out

    return risks
