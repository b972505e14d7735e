"""What models of follow-up find of planted hazards, beside ridge Cox regression and the best there is.

    python tests/bench/follow_up.py [--seeds 0 1] [--train 1000] [--test 4000] [--where spread ...]

Features of 1,280 correlated channels in 8 slices, two knees a patient. The log hazard ratio of a
knee is linear in what varies little (`mid`) or in everything (`spread`), lies in two fixed slices
(`local`) or in one slice anywhere (`anywhere`), or is not in the features at all (`nothing`).
Knees are seen at 12, 24, 36, 48, 72 and 96 months until they are lost; about a third have the event
by then. Printed is Uno's C of events up to 96 months, and the AUC at 24 months, in knees that
nothing was chosen on: of the true hazards, of `ridge Cox` (scikit-survival's Coxnet on each
channel's mean over the slices, its strength by cross-validation: what people have), and of the
model with its default settings and with those of the paper; and how far risks at 48 months are off
on average. All of it is synthetic.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold
from sksurv.linear_model import CoxnetSurvivalAnalysis
from sksurv.util import Surv

from oatools.learning.cohort import make_cohort
from oatools.learning.folds import split_training
from oatools.learning.followup import FollowUp
from oatools.learning.model import scores
from oatools.learning.settings import Settings, preset
from oatools.learning.training import fit
from oatools.survival.estimates import times_as_counted
from oatools.survival.measures import auc_at, uno_c

CHANNELS, SLICES, LATENTS = 1280, 8, 120
VISITS = (12, 24, 36, 48, 72, 96)
WHERE = ("mid", "spread", "local", "anywhere", "nothing")
STRENGTHS = np.geomspace(1e-1, 1e3, 9)


def draw(knees, where, seed):
    """Features (knees, slices, channels), log hazard ratios (knees,) and follow-up of some knees."""
    world, rng = np.random.default_rng(7), np.random.default_rng([5, seed])
    loadings = world.normal(size=(LATENTS, CHANNELS)) / np.sqrt(LATENTS)
    spread = 1 / np.sqrt(1 + np.arange(LATENTS))
    patient = np.repeat(rng.normal(size=((knees + 1) // 2, LATENTS)), 2, axis=0)[:knees]
    of_knee = np.sqrt(0.4) * patient + np.sqrt(0.6) * rng.normal(size=(knees, LATENTS))
    latent = of_knee[:, None] + 0.6 * rng.normal(size=(knees, SLICES, LATENTS))
    score = rng.normal(size=knees)
    if where in ("mid", "spread"):
        used = slice(20, 60) if where == "mid" else slice(0, LATENTS)
        score = of_knee[:, used].sum(axis=1) / np.sqrt(used.stop - used.start)
    elif where == "local":
        latent[:, 2:4, 5:15] += 0.4 * score[:, None, None]
    elif where == "anywhere":
        place = rng.integers(0, SLICES, size=knees)
        latent[np.arange(knees), place, 5:15] += 0.9 * np.clip(score, 0, None)[:, None]
    mixed = 3 * (latent * spread) @ loadings + 0.4 * rng.normal(size=(knees, SLICES, CHANNELS))
    # Hazards fall with time, and a third of the knees have the event by 96 months.
    happens = 96 * (rng.exponential(size=knees) / (0.3 * np.exp(0.9 * score))) ** (1 / 0.7)
    lost = rng.uniform(12, 180, size=knees)
    start, stop = np.zeros(knees), np.full(knees, np.inf)
    for knee in range(knees):
        for visit in VISITS:
            if visit > lost[knee] or (visit > 12 and rng.uniform() < 0.05):
                continue
            if happens[knee] <= visit:
                stop[knee] = visit
                break
            start[knee] = visit
    features = np.log1p(np.exp(mixed)).astype(np.float32)
    planted = 1 - np.exp(-0.3 * (48 / 96) ** 0.7 * np.exp(0.9 * score))
    return features, 0.9 * score, FollowUp.between(start, stop), planted


def cohort_of(features, follow_up, first):
    """A cohort of knees that are numbered from `first`, and their places among those given."""
    names = [f"{first + i // 2}_00m_{'left' if i % 2 else 'right'}" for i in range(len(features))]
    made = make_cohort(
        names,
        [name.split("_")[0] for name in names],
        follow_up.event.astype(int),
        list(features),
        follow_up=follow_up,
    )
    return made, np.argsort(names, kind="stable")


def ridge_cox(train, test):
    """The log hazard ratios of test knees by Coxnet, its strength by cross-validation by patient."""
    mean, sd = train.means().mean(axis=0), train.means().std(axis=0)
    columns = ((train.means() - mean) / sd).astype(np.float64)
    found = Surv.from_arrays(train.follow_up.event, train.follow_up.time)
    model = CoxnetSurvivalAnalysis(l1_ratio=1e-4, max_iter=2000)
    grid = {"alphas": [[strength] for strength in STRENGTHS]}
    warnings.simplefilter("ignore")  # strengths that do not end are not the best
    search = GridSearchCV(model, grid, cv=GroupKFold(5), error_score=0.5)
    search.fit(columns, found, groups=np.array(train.subject))
    return search.predict((test.means() - mean) / sd)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=4000)
    parser.add_argument("--where", nargs="+", default=WHERE, choices=WHERE)
    options = parser.parse_args()
    print("where", "seed", "model", "uno_c", "auc_24m", "risk_48m_off", "seconds", sep="\t")
    for where in options.where:
        for seed in options.seeds:
            values, _, followed, _ = draw(options.train, where, 2 * seed)
            train, _ = cohort_of(values, followed, 9_000_000)
            values, truth, followed, planted = draw(options.test, where, 2 * seed + 1)
            test, order = cohort_of(values, followed, 9_500_000)
            one(where, seed, train, test, truth[order], planted[order])


def one(where, seed, train, test, truth, planted):
    found = test.follow_up
    time_of, ones = times_as_counted(found), np.ones((1, len(test)))

    def tell(name, score, risk=None, seconds=0.0):
        c = uno_c(time_of, found.event, score, ones, np.nextafter(96, np.inf))[0]
        area = auc_at(time_of, found.event, score, ones, 24)[0]
        off = "n/a" if risk is None else f"{(risk - planted).mean():+.3f}"
        print(
            where,
            seed,
            name,
            f"{c:.4f}",
            f"{area:.4f}",
            off,
            f"{seconds:.0f}",
            sep="\t",
            flush=True,
        )

    tell("best possible", truth, planted)
    start = time.perf_counter()
    tell("ridge Cox", ridge_cox(train, test), seconds=time.perf_counter() - start)
    split = split_training(train, 0.2, 0)
    for name, settings in (("default", Settings()), ("paper", preset("paper"))):
        start = time.perf_counter()
        model = fit(train, settings, 0, split)
        score, _ = scores(model, *test.scored())
        tell(name, score, model.hazards.risk(score, [48])[:, 0], time.perf_counter() - start)


if __name__ == "__main__":
    main()
