"""How often the 95 % intervals of `oa-pairs score --readers random` hold the truth, by simulation.

    python tests/bench/readers_random.py [--readers 3 4 5 8] [--pairs 60 150] [--studies 1000]

Every study has new readers, new patients and new pairs. A pair is easy or hard through both of its
patients; half of the progressors are in two pairs, one with each knee. A reader is right in a pair
where the sum of what the reader is able to (normal, of a spread that is known), of how easy the
pair is, and of chance is above zero; so is the model, whose ability does not change. What is true
is then a formula: the mean share of all readers in all pairs, and the model's share less that.

`sd` is the standard deviation of the readers' true shares, `sd seen` that of the shares in a study.
`random` and `fixed` are the coverage of either kind of interval in percent, with the simulation's
own standard error (0.7 % for 1000 studies), and `half` half of its mean width in percentage points.
All of it is synthetic.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
import numpy as np
from scipy.stats import norm

from oatools.reading.compare import _Study  # all of compare_scores takes ten times as long
from oatools.reading.score import Grades, summarise_mean

EASE = 0.65  # standard deviation of a pair's ease, beside 1 of chance: some 0.3 of the variance
SHARE, MODEL = 0.6, 0.65  # of pairs that are right, of all readers and of the model
COLUMNS = ("what", "readers", "pairs", "sd", "sd seen", "studies")
KINDS = ("random", "fixed")


def ability(share, spread=0.0):
    """The mean ability that gives a share right of all pairs, of readers who spread so far."""
    return norm.ppf(share) * np.sqrt(1 + EASE**2 + spread**2)


def true_spread(spread, draws=200_000):
    """The standard deviation of true shares of readers."""
    able = ability(SHARE, spread) + spread * norm.ppf((np.arange(draws) + 0.5) / draws)
    return norm.cdf(able / np.sqrt(1 + EASE**2)).std()


def study(readers, pairs, spread, seed):
    """Scores of readers r0, r1, ... and of a model, and the group of each pair."""
    random = np.random.default_rng([readers, pairs, int(1000 * spread), seed])
    knees = 1 + (random.random(pairs) < 0.5)
    progressor = np.repeat(np.arange(pairs), knees)[:pairs]
    patients = random.standard_normal((2, pairs))
    ease = EASE * np.sqrt(0.5) * (patients[0, progressor] + patients[1])
    able = ability(SHARE, spread) + spread * random.standard_normal(readers)
    able = np.append(able, ability(MODEL))
    right = able[:, None] + ease + random.standard_normal((readers + 1, pairs)) > 0
    names = [f"r{n}" for n in range(readers)] + ["model"]
    scores = {
        name: {str(pair): float(value) for pair, value in enumerate(own)}
        for name, own in zip(names, right, strict=True)
    }
    return scores, {str(pair): int(patient) for pair, patient in enumerate(progressor)}


def intervals(readers, pairs, spread, seed):
    """Bounds of the mean and of the model's difference (2, kinds, 2), and the shares' spread."""
    scores, groups = study(readers, pairs, spread, seed)
    key = {pair: {"place": "A"} for pair in groups}
    names = [name for name in scores if name != "model"]
    found = np.empty((2, len(KINDS), 2))
    for n, kind in enumerate(KINDS):
        as_random = kind == "random"
        (mean,) = summarise_mean(names, Grades(scores), key, groups, as_random)
        apart = _Study(scores, names, key, groups, 0, 0, as_random).model_and_mean("model")
        found[0, n] = mean.low, mean.high
        found[1, n] = apart.low, apart.high
    shares = [np.mean(list(scores[name].values())) for name in names]
    return found, np.std(shares, ddof=1)


def coverage(readers, pairs, spread, studies, run=map):
    """The share of studies whose intervals hold the truth (2, kinds), half widths, and spread."""
    one = partial(intervals, readers, pairs, spread)
    found, spreads = zip(*run(one, range(studies)), strict=True)
    low, high = np.moveaxis(np.array(found), -1, 0)
    truth = np.array([SHARE, MODEL - SHARE])[:, None]
    held = (low <= truth) & (truth <= high)  # an interval that is not there holds nothing
    return (
        held.mean(axis=0),
        np.nanmean(high - low, axis=0) / 2,
        np.sqrt(np.mean(np.square(spreads))),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--readers", type=int, nargs="+", default=[3, 4, 5, 8])
    parser.add_argument("--pairs", type=int, nargs="+", default=[60, 150])
    parser.add_argument("--spread", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.4])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print(*COLUMNS, *KINDS, *(f"half {kind}" for kind in KINDS), sep="\t")
    with ProcessPoolExecutor(options.jobs) as pool:
        run = partial(pool.map, chunksize=25)
        for spread in options.spread:
            for readers in options.readers:
                for pairs in options.pairs:
                    held, half, seen = coverage(readers, pairs, spread, options.studies, run)
                    for n, what in enumerate(("mean", "model less mean")):
                        print(
                            *(what, readers, pairs, f"{100 * true_spread(spread):.1f}"),
                            *(f"{100 * seen:.1f}", options.studies),
                            *(f"{100 * value:.1f}" for value in (*held[n], *half[n])),
                            sep="\t",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
