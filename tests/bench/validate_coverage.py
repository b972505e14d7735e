"""How often the 95 % intervals of `oa-validate` hold the truth, by simulation.

    python tests/bench/validate_coverage.py [--patients 150 400] [--cohorts 500]

Each patient has two knees, which share half of the variance of all that is normal. `fixed`: log
odds of one model, with events that come at 0.2 + 0.8 times these, so that the model is too extreme.
What is true are the same numbers of 400,000 patients. `cross-validated`: ridge regression in five
folds, as in `enrich_coverage.py`; what is true is the median over all cohorts, and `plain` are
intervals without what a cross-validation adds. A group is a quarter of the patients.

All of it is synthetic. Below and above: the truth lies there, in percent of the cohorts.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from unittest import mock

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
from enrich_coverage import of_patients, trained
from scipy.special import expit

from oatools.core.errors import UsageError
from oatools.scored.knees import ScoredKnees
from oatools.validation import validate as validation
from oatools.validation.groups import Grouping

DRAWS = 500
COLUMNS = ("score", "signal", "patients", "group", "metric", "truth", "cohorts")


def fixed(patients, strength, seed):
    """Knees of one model whose log odds have the deviation `strength`."""
    random = np.random.default_rng(seed)
    odds = -1.6 + strength * of_patients(random, patients)
    event = expit(0.2 + 0.8 * odds) > random.random(2 * patients)
    return ScoredKnees(
        knee=tuple(map(str, range(2 * patients))),
        subject=np.arange(patients).repeat(2),
        label=event.astype(int),
        fold=np.zeros(2 * patients, int),
        scores={"score": expit(odds)},
    )


def with_groups(knees):
    """The knees with a column of groups, and called positive from 0.2."""
    probability = knees.scores["score"]
    cells = np.where(knees.subject % 4 == 0, "quarter", "rest")
    called = (probability > 0.2).astype(float)
    return replace(knees, cells={"part": tuple(cells)}, called=called)


def one(job):
    """Value, low and high of each group and metric of one cohort."""
    make, patients, signal, seed, plain = job
    only = mock.patch.object(validation, "pairs_twice", lambda *_: 1.0)
    with only if plain else mock.MagicMock():
        try:
            knees = with_groups(make(patients, signal, seed))
            found = validation.validate(knees, [Grouping("part")], draws=DRAWS, seed=seed)
        except UsageError:
            return {}
    return {
        (part.name, v.metric): (v.value, v.low, v.high)
        for part in found.parts
        if part.name in ("all", "quarter")
        for v in part.values
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[150, 400])
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print(*COLUMNS, "coverage", "below", "above", sep="\t")
    plans = [(fixed, strength, False) for strength in (0.4, 1.2)]
    plans += [(trained, s, plain) for s in (0, 0.4) for plain in (True, False)]
    with ProcessPoolExecutor(options.jobs) as pool:
        for make, signal, plain in plans:
            whole = {}
            if make is fixed:
                knees = with_groups(make(400_000, signal, 10**6))
                found = validation.validate(knees, [Grouping("part")], draws=2)
                for part in found.parts:
                    for v in part.values:
                        whole[part.name, v.metric] = v.value
            for patients in options.patients:
                jobs = [(make, patients, signal, n, plain) for n in range(options.cohorts)]
                cohorts = list(pool.map(one, jobs, chunksize=8))
                kind = "fixed" if make is fixed else "cross-validated"
                report(kind + (", plain" if plain else ""), signal, patients, cohorts, whole)


def report(kind, signal, patients, cohorts, whole):
    for key in dict.fromkeys(key for cohort in cohorts for key in cohort):
        values = np.array([cohort[key] for cohort in cohorts if key in cohort])
        known = ~np.isnan(values[:, 1])
        truth = whole.get(key, float(np.nanmedian(values[:, 0])))
        if known.sum() < 100:
            continue
        below = (truth < values[known, 1]).mean()
        above = (truth > values[known, 2]).mean()
        shown = [f"{100 * v:.1f}" for v in (1 - below - above, below, above)]
        print(
            kind, signal, patients, *key, f"{truth:.4g}", known.sum(), *shown, sep="\t", flush=True
        )


if __name__ == "__main__":
    main()
