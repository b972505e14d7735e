"""The weights by which the parts of a model are joined: those that held-out knees ask for.

Stacked regression (Wolpert 1992; Breiman 1996): the log odds that each part gave to the knees that
it had not been fitted on are joined by a regression whose weights are not negative. So a part
that does not help gets no weight, and what comes out is calibrated on knees that were left out, as
far as a slope and an intercept can do it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from oatools.learning.outcome import Happened, Outcome

#: What a part other than the first must bring in log likelihood (nats) to make up a signal like the
#: strongest that one part has by itself, and less for a share of that. So no part is cheap for
#: being sure of itself; and since what is to be gained grows with the signal and the number of
#: knees, a few knees with a strong signal pay no more than thousands with a weak one.
PRICE = 2.5
#: What it costs (nats) to take the first of several parts away, whose log odds are right as they
#: are unless knees say otherwise; in between it costs the square of the share taken.
TRUST = 2.0
#: Where no part helps, the best one still ranks the knees, by so small a slope.
SMALLEST = 0.02
#: Of scores and hazards, after which both stay as they are to some per mille.
TURNS = 4
_NO_WEIGHT = 1e-4
# Of log odds, below which nobody would speak of a signal.
_LEAST_SIGNAL = 0.01
# Nothing else holds a weight where held-out knees are told apart without an error.
_MOST = 5.0


@dataclass(frozen=True)
class Mixture:
    """The weights of parts by name, without those that have none, and the intercept."""

    weights: dict[str, float]
    intercept: float

    def log_odds(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the joined log odds (knees,) of those of the parts."""
        terms = [weight * parts[name] for name, weight in self.weights.items()]
        return np.sum(terms, axis=0) + self.intercept


def mix(outcome: Outcome, parts: Mapping[str, np.ndarray], signal: float | None = None) -> Mixture:
    """Return the mixture of `parts`, each the held-out log odds (knees,) of one part.

    It minimises the log loss plus `PRICE` for all parts but the first, and `TRUST` in that one.
    `signal` is that of the `strongest` of them, where it was found before.
    """
    if signal is None:
        signal = strongest(outcome, parts)
    names = list(parts)
    columns = np.stack([parts[name] for name in names], axis=1)
    middle = columns.mean(axis=0)
    price = PRICE * columns.std(axis=0) / signal
    price[0] = 0.0
    trust = TRUST if len(names) > 1 else 0.0
    weights, level = _fit(outcome, columns - middle, price, trust)
    if weights.sum() < SMALLEST:
        losses = [outcome.loss(parts[name]) for name in names]
        weights = np.zeros(len(names))
        weights[int(np.argmin(losses))] = SMALLEST
        level = outcome.level()
    weights[weights < _NO_WEIGHT] = 0.0
    kept = {name: float(w) for name, w in zip(names, weights, strict=True) if w}
    return Mixture(kept, level - float(weights @ middle))


def strongest(outcome: Outcome, parts: Mapping[str, np.ndarray]) -> float:
    """Return the largest deviation of the log odds (knees,) that one of `parts` gives by itself.

    That is with the slope that makes it most likely, so that it does not matter how sure a part is.
    """
    found = [_LEAST_SIGNAL]
    for odds in parts.values():
        slope, _ = _fit(outcome, (odds - odds.mean())[:, None], np.zeros(1), 0.0)
        found.append(float(slope[0]) * float(odds.std()))
    return max(found)


def mix_given(
    outcome: Outcome, parts: Mapping[str, np.ndarray], doubted: str = ""
) -> tuple[Mixture, Outcome]:
    """Return the mixture as `mix_if_worth` does, and the outcome in the units of its scores.

    Of classes there is but one unit. Hazards depend on the scores that are given, and these on the
    hazards, so that they are found by turns.
    """
    mixture = mix_if_worth(outcome, parts, doubted)
    if isinstance(outcome, Happened):
        for _ in range(TURNS):
            outcome = outcome.given(mixture.log_odds(parts))
            mixture = mix_if_worth(outcome, parts, doubted)
    return mixture, outcome


def mix_if_worth(outcome: Outcome, parts: Mapping[str, np.ndarray], doubted: str) -> Mixture:
    """Return the mixture of all `parts`, or that without the `doubted` one where it brings little.

    For a part that was chosen among several by the same held-out knees, and so is better on these
    than on others: it has to bring half the logarithm of the number of knees (nats), as much as one
    more number must by the criterion of Schwarz (1978).
    """
    mixture = mix(outcome, parts)
    others = {name: odds for name, odds in parts.items() if name != doubted}
    if not others or doubted not in mixture.weights:
        return mixture
    without = mix(outcome, others)
    gain = outcome.loss(without.log_odds(others)) - outcome.loss(mixture.log_odds(parts))
    return mixture if gain * len(outcome) > np.log(len(outcome)) / 2 else without


def parts_text(record: Mapping[str, Any]) -> str:
    """Return the parts of a model and their weights, the heaviest first, from its record."""
    parts = sorted(record.get("parts", []), key=lambda part: -part["weight"])
    found = [f"{part['name']} {part['weight']:.2f}" for part in parts if part["weight"]]
    return ", ".join(found) or "network alone"


def _fit(
    outcome: Outcome, columns: np.ndarray, price: np.ndarray, trust: float
) -> tuple[np.ndarray, float]:
    """Return weights (parts,), none negative, and the level, of centred columns (knees, parts)."""

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, level = values[:-1], values[-1]
        odds = columns @ weights + level
        apart = outcome.slopes(odds)
        gradient = np.append(columns.T @ apart + price, apart.sum())
        gradient[0] += 2 * trust * (weights[0] - 1)
        cost = float(price @ weights) + trust * float(weights[0] - 1) ** 2
        return len(outcome) * outcome.loss(odds) + cost, gradient

    start = np.append(np.zeros(len(price)), outcome.level())
    start[0] = 1.0
    bounds = [(0.0, _MOST)] * len(price) + [(None, None)]
    options = {"ftol": 1e-12, "maxiter": 500}
    found = minimize(loss, start, jac=True, bounds=bounds, method="SLSQP", options=options)
    return np.clip(found.x[:-1], 0, _MOST), float(found.x[-1])
