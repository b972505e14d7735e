"""How often the 95 % intervals of `oa-enrich` hold the truth, by simulation.

    python tests/bench/enrich_coverage.py [--patients 150 400] [--cohorts 500]

Each patient has two knees, which share half of the variance of all that is normal.

`fixed`: a score that somebody else's model gives, binormal, of known area under the ROC curve. What
is true is the same numbers of 400,000 patients, by the same code with no draws; the event rate of
each share is a formula, too, and printed beside them.

`cross-validated`: ridge regression on 40 features, of which five carry the signal, in five folds by
patient. What is true is the mean over all cohorts of the event rates, and the median of the
savings, of models that are trained on as many patients. `plain` are the intervals without what a
cross-validation adds to them (`resampling.of_cross_validation`).

All of it is synthetic. Below and above: the truth lies there, in percent of the cohorts.
"""

import argparse
import dataclasses
import os
from concurrent.futures import ProcessPoolExecutor
from unittest import mock

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
from scipy.stats import norm

from oatools.scored.knees import ScoredKnees
from oatools.trial import enrichment

SHARES = (0.75, 0.5, 0.25)
SHARED = 0.5  # of the variance, by the knees of a patient
PREVALENCE, EFFECT = 0.14, 0.3
DRAWS = 600
NAMES = ("rate", "mean", "randomised", "screened", "per_event", "patients_saved")
COLUMNS = ("score", "signal", "patients", "outcome", "share", "number", "truth", "cohorts")
TRIAL = enrichment.Trial(EFFECT)


def of_patients(random, patients, *more):
    """Normal numbers (knees, ...), of which the two knees of a patient share a part."""
    shared = random.standard_normal((patients, *more)).repeat(2, axis=0)
    return np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * random.standard_normal(shared.shape)


def scored(patients, area, seed):
    """ScoredKnees with a binormal score of known area, and a change that goes with both."""
    random = np.random.default_rng(seed)
    label = (of_patients(random, patients) > norm.ppf(1 - PREVALENCE)).astype(int)
    score = np.sqrt(2) * norm.ppf(area) * label + of_patients(random, patients)
    change = -0.6 * label - 0.1 * score + 0.4 * random.standard_normal(len(label))
    return candidates(label, np.zeros(len(label), int), norm.cdf(score / 2), change)


def trained(patients, strength, seed, folds=5, penalty=50.0):
    """ScoredKnees with the out-of-fold scores of ridge regressions."""
    random = np.random.default_rng(seed)
    features = of_patients(random, patients, 40)
    signal = features[:, :5].sum(axis=1) / np.sqrt(5)
    latent = strength * signal + np.sqrt(1 - strength**2) * of_patients(random, patients)
    label = (latent > norm.ppf(1 - PREVALENCE)).astype(int)
    fold = random.permutation(np.arange(patients) % folds).repeat(2)
    score = np.empty(len(label))
    for number in range(folds):
        own, tested = fold != number, fold == number
        x = features[own] - features[own].mean(axis=0)
        y = label[own] - label[own].mean()
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
        score[tested] = (features[tested] - features[own].mean(axis=0)) @ weights
    return candidates(label, fold, 1 / (1 + np.exp(2 - 4 * score)), None)


def candidates(label, fold, score, change):
    return ScoredKnees(
        knee=tuple(map(str, range(len(label)))),
        subject=np.arange(len(label)) // 2,
        label=label,
        fold=fold,
        scores={"score": score},
        change=change,
    )


def one(job):
    """The numbers of one cohort, by share and name: value, low, high."""
    make, patients, signal, seed, by_change, plain = job
    cohort = make(patients, signal, seed)
    if not by_change:
        cohort = dataclasses.replace(cohort, change=None)
    only = mock.patch.object(enrichment, "of_cross_validation", lambda *_: 1.0)
    with only if plain else mock.MagicMock():
        try:
            found = enrichment.enrich(cohort, TRIAL, SHARES, draws=DRAWS, seed=seed)
        except enrichment.UsageError:
            return None
    return [[dataclasses.astuple(getattr(o, n)) for n in NAMES] for o in found.outcomes]


def expected_rate(area, share):
    """The event rate of the highest share of a binormal score."""
    apart = np.sqrt(2) * norm.ppf(area)
    cuts = np.linspace(-8, 8, 200_001)
    kept = PREVALENCE * norm.sf(cuts - apart) + (1 - PREVALENCE) * norm.sf(cuts)
    cut = np.interp(-share, -kept, cuts)
    return PREVALENCE * norm.sf(cut - apart) / share


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[150, 400])
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print(*COLUMNS, "coverage", "below", "above", sep="\t")
    plans = [(scored, area, by, False) for area in (0.5, 0.65, 0.8) for by in (False, True)]
    plans += [(trained, s, False, plain) for s in (0, 0.3, 0.6) for plain in (True, False)]
    with ProcessPoolExecutor(options.jobs) as pool:
        for make, signal, by_change, plain in plans:
            truth = None
            if make is scored:
                whole = make(400_000, signal, 10**6)
                whole = whole if by_change else dataclasses.replace(whole, change=None)
                found = enrichment.enrich(whole, TRIAL, SHARES, draws=2)
                truth = [[getattr(o, n).value for n in NAMES] for o in found.outcomes]
                formula = [f"{expected_rate(signal, s):.4f}" for s in SHARES]
                print(f"# event rates of {SHARES} by formula: {', '.join(formula)}")
            for patients in options.patients:
                jobs = [
                    (make, patients, signal, n, by_change, plain) for n in range(options.cohorts)
                ]
                kept = [each for each in pool.map(one, jobs, chunksize=8) if each is not None]
                values = np.array(kept)  # (cohorts, strategies, numbers, 3)
                target = truth
                if target is None:
                    target = np.nanmedian(values[..., 0], axis=0)
                    target[:, 0] = np.nanmean(values[:, :, 0, 0], axis=0)
                kind = "fixed" if make is scored else "cross-validated"
                kind += ", plain" if plain else ""
                report(kind, signal, patients, by_change, values, target)


def report(kind, signal, patients, by_change, values, target):
    for place, share in enumerate((1.0, *SHARES)):
        for n, name in enumerate(NAMES):
            low, high = values[:, place, n, 1], values[:, place, n, 2]
            known = ~np.isnan(low)
            # Whole numbers may be off by their rounding.
            off = 2.0 if name in ("randomised", "screened") else 0.0
            if known.sum() < 100 or not np.isfinite(target[place][n]):
                continue
            below = (target[place][n] < low[known] - off).mean()
            above = (target[place][n] > high[known] + off).mean()
            outcome = "change" if by_change else "event"
            shown = [f"{100 * v:.1f}" for v in (1 - below - above, below, above)]
            print(
                *(kind, signal, patients, outcome, share, name, f"{target[place][n]:.4g}"),
                *(known.sum(), *shown),
                sep="\t",
                flush=True,
            )


if __name__ == "__main__":
    main()
