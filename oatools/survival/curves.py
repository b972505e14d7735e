"""Kaplan-Meier curves of many weightings of the same knees at once.

`weights` (rows, knees) are not negative and say how often each knee is there: a row of ones is the
cohort, and one with the knees of a patient 0 is the cohort without that patient.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from oatools.survival.patients import without_each


@dataclass(frozen=True)
class Curve:
    """A share that is 1 at first and falls in steps, in each weighting.

    `times` (times,) are the distinct ones of the knees, in months, `values` (rows, times) the
    shares from each of them on, and `end` (rows,) the months up to which they are known.
    """

    times: np.ndarray
    values: np.ndarray
    end: np.ndarray

    def at(self, months: np.ndarray | float) -> np.ndarray:
        """Return the shares (rows, months) at some months, steps of these very months included.

        NaN after the end.
        """
        asked = np.atleast_1d(np.asarray(months, dtype=np.float64))
        steps = np.searchsorted(self.times, asked, side="right")
        shares = np.column_stack([np.ones(len(self.values)), self.values])[:, steps]
        shares[asked > self.end[:, None]] = np.nan
        return shares


def kaplan_meier(time: np.ndarray, event: np.ndarray, weights: np.ndarray) -> Curve:
    """Return the share of knees without the event: Kaplan and Meier, J Am Stat Assoc 1958;53:457.

    `time` and `event` are (knees,). Knees that are lost when another has the event were at risk of
    it. The curve ends when the last knee is lost, and never where it has come down to 0.
    """
    counts = _Counts.of(time, event, weights)
    spared = counts.after + counts.lost
    values = np.cumprod(_share(spared, spared + counts.events), axis=1)
    there = counts.after + counts.lost + counts.events > 0
    last = np.where(there, counts.times, -np.inf).max(axis=1, initial=-np.inf)
    fallen = (values == 0).any(axis=1)
    return Curve(counts.times, values, np.where(fallen, np.inf, last))


def censoring(time: np.ndarray, event: np.ndarray, weights: np.ndarray) -> Curve:
    """Return the share of knees that are not yet lost: Kaplan and Meier's of the loss.

    A knee that has the event when another is lost was not at risk of that any more, as in
    scikit-survival. The curve has no end: where the last knee is lost it is 0 from then on, and
    where the last has the event it stays.
    """
    counts = _Counts.of(time, event, weights)
    values = np.cumprod(_share(counts.after, counts.after + counts.lost), axis=1)
    return Curve(counts.times, values, np.full(len(weights), np.inf))


def lost_after_events(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return the times (knees,), those of knees without the event later by the least there is.

    Where times are those of visits, a knee that is lost was still seen at its last visit, without
    the event. Kaplan-Meier curves know that. The inverse weights of scikit-survival, and with them
    the measures here, do not: they divide an event by the share that is not lost after its very
    visit, which is too small, so that Brier scores are too high; and they leave out knees that are
    lost at the horizon, so that nothing is defined at the last visit. With these times all is
    right: known knees stand for all, and their weights sum to the number of knees (Satten and
    Datta, The American Statistician 2001;55:207-210).
    """
    return np.where(event, time, np.nextafter(time, np.inf))


def number_at_risk(time: np.ndarray, months: np.ndarray | float, weights: np.ndarray) -> np.ndarray:
    """Return how many knees (rows, months) had neither the event nor were lost before months."""
    asked = np.atleast_1d(np.asarray(months, dtype=np.float64))
    there = (time[:, None] >= asked).astype(np.float64)
    return np.asarray(weights @ there)


def survival_interval(
    time: np.ndarray, event: np.ndarray, subject: np.ndarray, months: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high (months,) of pointwise 95 % intervals of the Kaplan-Meier curve.

    On the scale of log(-log S), which keeps them between 0 and 1 (Kalbfleisch and Prentice, The
    Statistical Analysis of Failure Time Data, 1980; Borgan and Liestol, Scand J Stat 1990;17:35),
    where the error is that of S by S |log S|. The variance of S is the jackknife's over patients
    (Efron and Stein, Ann Stat 1981;9:586), (n - 1) / n times the sum of squares of what S is
    without each patient, less their mean; so knees of one patient count together. NaN where S is
    1, 0 or unknown, and where it is unknown without one of the patients.
    """
    blocks = [kaplan_meier(time, event, block).at(months) for block in without_each(subject)]
    whole, without = blocks[0][0], np.concatenate(blocks)[1:]
    patients = len(without)
    squares = np.square(without - without.mean(axis=0)).sum(axis=0)
    error = np.sqrt(squares * (patients - 1) / max(patients, 1))
    whole = np.where((whole > 0) & (whole < 1), whole, np.nan)
    reach = float(ndtri(0.975)) * error / (whole * -np.log(whole))
    return whole ** np.exp(reach), whole ** np.exp(-reach)


class _Counts(NamedTuple):
    """At each distinct time (times,): knees (rows, times) with the event, lost, and after it."""

    times: np.ndarray
    events: np.ndarray
    lost: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, time: np.ndarray, event: np.ndarray, weights: np.ndarray) -> "_Counts":
        order = np.argsort(time, kind="stable")
        times, starts = np.unique(time[order], return_index=True)
        ordered, had = weights[:, order], event[order]
        events = np.add.reduceat(ordered * had, starts, axis=1)
        lost = np.add.reduceat(ordered * ~had, starts, axis=1)
        # From the end, so that where no knee is left it is 0 to the last digit.
        after = np.zeros_like(lost)
        after[:, :-1] = np.cumsum((events + lost)[:, :0:-1], axis=1)[:, ::-1]
        return cls(times, events, lost, after)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part by whole, and 1 where nobody is left."""
    return np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)
