"""How often the 95 % intervals of `oatools.survival.estimates` hold the truth, by simulation.

    python tests/bench/survival_coverage.py [--patients 150 400] [--cohorts 400]

Each patient has two knees, which share half of the variance of all that is normal, and so of the
logarithm of the hazard. Events come at a constant hazard, about every sixth knee in 24 months.
Knees of a patient are lost together, by another constant hazard, and all of them after 48 months.

`fixed`: a score that somebody else's model gives, whose risks are too extreme, beside a score that
knows less. What is true are the same numbers of many patients who are not lost before 48 months.
`cross-validated`: a Cox model with a ridge in five folds by patient, on ten features of which three
carry the signal, beside one without the first of these; one run, or the mean of three. What is true
is the mean over all cohorts. C is Uno's up to 48 months, and the others are at 24 months.

All of it is synthetic. Below and above: the truth lies there, in percent of the cohorts.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial

os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
)
import numpy as np
from enrich_coverage import of_patients

from oatools.survival.estimates import Fold, Measure, estimate
from oatools.survival.measures import auc_at, brier_at, scaled_brier, uno_c

END, HORIZON = 48.0, 24.0
HAZARD, LOSS = 0.005, 0.008
FRAILTY = 0.7
FEATURES, USED = 10, 3
FOLDS, PENALTY = 5, 10.0
MEASURES = {
    "uno_c": Measure(partial(uno_c, tau=END), "share", END),
    "auc_24": Measure(partial(auc_at, months=HORIZON), "share", HORIZON),
    "brier_24": Measure(partial(brier_at, months=HORIZON), "positive", HORIZON),
    "scaled_24": Measure(partial(scaled_brier, months=HORIZON), "plain", HORIZON),
}
COLUMNS = ("score", "signal", "patients", "measure", "truth", "cohorts")


def cohort(patients, strength, seed, loss=LOSS):
    """Months, event, patient and features of knees; the first USED features are the signal."""
    random = np.random.default_rng(seed)
    features = of_patients(random, patients, FEATURES)
    signal = features[:, :USED].sum(axis=1) / np.sqrt(USED)
    log_hazard = strength * signal + FRAILTY * of_patients(random, patients)
    time = random.exponential(1 / (HAZARD * np.exp(log_hazard)))
    lost = np.full(patients, END)
    if loss:
        lost = np.minimum(random.exponential(1 / loss, patients), END)
    lost = lost.repeat(2)
    subject = np.arange(patients).repeat(2)
    return np.minimum(time, lost), time <= lost, subject, features


def fixed(patients, strength, seed, loss=LOSS):
    """One run of one fold: risks at 24 months of two models, the other of one feature less."""
    time, event, subject, features = cohort(patients, strength, seed, loss)
    own, other = (
        1 - np.exp(-HORIZON * HAZARD * np.exp(1.3 * (strength or 0.5) * x / np.sqrt(USED)))
        for x in (features[:, :USED].sum(axis=1), features[:, 1:USED].sum(axis=1))
    )
    return [[Fold(time, event, subject, own, other)]]


def cross_validated(patients, strength, seed, runs):
    time, event, subject, features = cohort(patients, strength, seed)
    random = np.random.default_rng(10**6 + seed)
    found = []
    for _ in range(runs):
        fold = random.permutation(np.arange(patients) % FOLDS)[subject]
        folds = []
        for number in range(FOLDS):
            own, tested = fold != number, fold == number
            risks = [
                cox_risk(time[own], event[own], x[own], x[tested])
                for x in (features, features[:, 1:])
            ]
            folds.append(Fold(time[tested], event[tested], subject[tested], *risks))
        found.append(folds)
    return found


def cox_risk(time, event, x, of):
    """Risks at 24 months by a Cox model with a ridge and Breslow's baseline hazard."""
    order = np.argsort(-time)
    time, event, x = time[order], event[order], x[order]
    weights = np.zeros(x.shape[1])
    for _ in range(8):
        hazard = np.exp(x @ weights)
        at_risk = np.cumsum(hazard)[event]
        mean = np.cumsum(hazard[:, None] * x, axis=0)[event] / at_risk[:, None]
        share = np.zeros(len(time))
        share[event] = 1 / at_risk
        gone = hazard * np.cumsum(share[::-1])[::-1]
        gradient = (x[event] - mean).sum(axis=0) - PENALTY * weights
        curvature = (x * gone[:, None]).T @ x - mean.T @ mean + PENALTY * np.eye(len(weights))
        weights += np.linalg.solve(curvature, gradient)
    baseline = (1 / np.cumsum(np.exp(x @ weights)))[event & (time <= HORIZON)].sum()
    return 1 - np.exp(-baseline * np.exp(of @ weights))


def one(job):
    """Value, low and high of each measure of one cohort."""
    make, *arguments = job
    runs = make(*arguments)
    alone = [[Fold(f.time, f.event, f.subject, f.prediction) for f in folds] for folds in runs]
    found = {name: estimate(alone, measure) for name, measure in MEASURES.items()}
    found |= {f"{name}, apart": estimate(runs, measure) for name, measure in MEASURES.items()}
    return {name: (each.value, each.low, each.high) for name, each in found.items()}


def truth_of_fixed(strength, cohorts=12, patients=6000):
    found = []
    for seed in range(cohorts):
        [[fold]] = fixed(patients, strength, 10**7 + seed, loss=0)
        ones = np.ones((1, 2 * patients))
        values = {}
        for name, measure in MEASURES.items():
            own, other = (
                float(measure.of(fold.time, fold.event, p, ones)[0])
                for p in (fold.prediction, fold.other)
            )
            values[name], values[f"{name}, apart"] = own, own - other
        found.append(values)
    return {name: np.mean([values[name] for values in found]) for name in found[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[150, 400])
    parser.add_argument("--cohorts", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print(*COLUMNS, "coverage", "below", "above", sep="\t")
    plans = [(fixed, "fixed", strength, ()) for strength in (0, 0.8)]
    plans += [
        (cross_validated, f"cross-validated x {runs}", strength, (runs,))
        for strength in (0, 0.8)
        for runs in (1, 3)
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        for make, kind, strength, more in plans:
            truth = truth_of_fixed(strength) if make is fixed else {}
            for patients in options.patients:
                jobs = [(make, patients, strength, n, *more) for n in range(options.cohorts)]
                report((kind, strength, patients), list(pool.map(one, jobs, chunksize=8)), truth)


def report(plan, cohorts, whole):
    for name in cohorts[0]:
        values = np.array([found[name] for found in cohorts])
        known = ~np.isnan(values[:, 1])
        truth = whole.get(name, float(np.nanmean(values[:, 0])))
        below = (truth < values[known, 1]).mean()
        above = (truth > values[known, 2]).mean()
        shown = [f"{100 * v:.1f}" for v in (1 - below - above, below, above)]
        print(*plan, name, f"{truth:.4f}", known.sum(), *shown, sep="\t", flush=True)


if __name__ == "__main__":
    main()
