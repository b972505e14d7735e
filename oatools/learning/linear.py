"""Linear parts of the model: ridge regression on what the slices of a knee have in common or not.

Each part is a regression of the outcome with an L2 penalty on one view of the features,
standardised: logistic where knees are of two classes, of hazards where they are followed.
How strong the penalty is, and whether it spares the large principal components more or less than
usual, is not chosen but averaged over: candidates weigh by their likelihood of held-out knees. The
simplest of all, `fit_ridge` on the view `mean`, is what every model has to be held against. The
views:

    mean, max, min, sd   of each channel over the slices
    position             the mean near each of `PARTS` places along the stack, so that a finding
                         which is always in the same place is not diluted by the other slices
    clinical             the clinical variables, imputed and standardised
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import threadpoolctl
import torch
from torch import nn

from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split
from oatools.learning.outcome import Outcome

CLINICAL, POSITION = "clinical", "position"
#: Places along a stack at which the view `position` looks.
PARTS = 8
#: Inverse strengths of the penalty that are tried, from strong to weak. Columns are divided by the
#: root of their number, so that a strength means the same for 10 columns and for 10,000.
STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-6, 7))
#: Powers of their standard deviation that principal components are given. 1 is ridge regression;
#: below, small components are penalised less than there, above it more.
POWERS = (0.75, 1.0, 1.5)
# A candidate that is less likely than the best by so many nats is left out; stronger ones have
# been tried before weaker ones, so that the first such on the way down ends the search.
_NEGLIGIBLE = 7.0
_SMALLEST_COMPONENT = 1e-5  # of the largest: float32 holds no smaller one
_LAST_TOLERANCE, _LAST_STEPS = 1e-6, 1000
_KNEES = 256  # at a time when slices are summarised
_SMALLEST_SD = 1e-12


def summarise(values: torch.Tensor, mask: torch.Tensor, view: str) -> torch.Tensor:
    """Return one view (knees, columns) of `values` (knees, slices, channels).

    `mask` (knees, slices) is boolean, True for slices and False for padding, which comes anywhere.
    The view of a knee without a slice is not defined.
    """
    inside = mask[..., None]
    if view == "max":
        return values.masked_fill(~inside, -torch.inf).amax(dim=1)
    if view == "min":
        return values.masked_fill(~inside, torch.inf).amin(dim=1)
    if view == POSITION:
        weights = position_weights(mask).to(values.dtype)
        return torch.einsum("ksp,ksc->kpc", weights, values.masked_fill(~inside, 0)).flatten(1)
    weights = mask.to(values.dtype) / mask.sum(dim=1, keepdim=True)
    present = values.masked_fill(~inside, 0)
    mean = torch.einsum("ks,ksc->kc", weights, present)
    if view == "mean":
        return mean
    if view == "sd":
        apart = (present - mean[:, None]).masked_fill(~inside, 0)
        variance = torch.einsum("ks,ksc->kc", weights, apart.square())
        # A root has no gradient at 0, where all slices are alike.
        return (variance + 1e-8).sqrt()
    raise ValueError(f"there is no view '{view}'")


def position_weights(mask: torch.Tensor) -> torch.Tensor:
    """Return weights (knees, slices, places) of the slices near each place, which sum to 1.

    Slices lie at (i + 1/2) / n of the way, and places at (j + 1/2) / `PARTS`. A weight falls
    linearly to 0 within the distance of two places, or of two slices where these lie further apart.
    """
    count = mask.sum(dim=1, keepdim=True).double()
    number = mask.long().cumsum(dim=1) - 1
    along = (number + 0.5) / count
    places = (torch.arange(PARTS, device=mask.device, dtype=torch.float64) + 0.5) / PARTS
    reach = torch.clamp(1 / count, min=1 / PARTS)
    weights = (1 - (along[..., None] - places).abs() / reach[..., None]).clamp_min(0)
    weights = weights.masked_fill(~mask[..., None], 0)
    return weights / weights.sum(dim=1, keepdim=True)


class LinearPart(nn.Module):
    """A fitted linear part: log odds that are linear in one view of the slices.

    It takes `channels` features a slice of each of so many `sequences`, whose views stand side by
    side, and `clinical` variables. Columns are taken as far as training knees went, from `lowest`
    to `highest`: of a channel that was all but dead in these, a trace of life says nothing that is
    known, and would say more than all others together.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor
    bias: torch.Tensor

    def __init__(self, view: str, channels: int, clinical: int = 0, sequences: int = 1) -> None:
        super().__init__()
        self.view = view
        columns = columns_of(view, channels, clinical, sequences)
        for name in ("mean", "scale", "weight"):
            self.register_buffer(name, torch.zeros(columns))
        self.register_buffer("lowest", torch.full((columns,), -torch.inf))
        self.register_buffer("highest", torch.full((columns,), torch.inf))
        self.register_buffer("bias", torch.zeros(1))

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> torch.Tensor:
        """Return log odds (knees,); see `KneeModel.forward` for what comes in."""
        columns = clinical if self.view == CLINICAL else views(features, mask, self.view)
        return self.of_columns(columns)

    def of_columns(self, columns: torch.Tensor) -> torch.Tensor:
        """Return log odds (knees,) of the view itself (knees, columns)."""
        known = columns.clamp(self.lowest, self.highest)
        # The gradient is that of all columns, or what lies beyond would not be on any map.
        within = known.detach() + (columns - columns.detach())
        return ((within - self.mean) * self.scale) @ self.weight + self.bias

    def log_odds(self, columns: np.ndarray) -> np.ndarray:
        """Return log odds (knees,) of the view itself (knees, columns), float32."""
        with torch.inference_mode():
            found = self.of_columns(torch.from_numpy(columns.astype(np.float32)))
        return found.double().numpy()


def columns_of(view: str, channels: int, clinical: int, sequences: int) -> int:
    """Return the number of columns that a view has."""
    if view == CLINICAL:
        return clinical
    return channels * sequences * (PARTS if view == POSITION else 1)


def views(features: torch.Tensor, mask: torch.Tensor, view: str) -> torch.Tensor:
    """Return a view (knees, columns) of slices, the sequences side by side.

    `features` (knees, slices, channels) are raw, and `mask` (knees, slices) holds the number of
    each slice's sequence, 0 on padding; or is boolean.
    """
    if mask.dtype == torch.bool:
        return summarise(features, mask, view)
    last = int(mask.max())
    return torch.cat([summarise(features, mask == n, view) for n in range(1, last + 1)], dim=1)


@dataclass(frozen=True)
class Fitted:
    """A part that was fitted on the training knees, and what it said of each when it was left out.

    `held_out` (training knees,) are log odds by fits that had not seen the knee's inner fold;
    `strength` and `power` are those of the candidate with the lowest mean log loss of these.
    """

    part: LinearPart
    held_out: np.ndarray
    strength: float
    power: float


def fit_linear(
    cohort: Cohort, outcome: Outcome, split: Split, names: Iterable[str], clinical: np.ndarray
) -> dict[str, Fitted]:
    """Fit the linear parts `names` on the training knees of a split, by name.

    `outcome` is that of the training knees. `clinical` (training knees, variables) is standardised;
    with variables in it, they are a part too, the last.
    """
    wanted = [*names, *([CLINICAL] if clinical.shape[1] else [])]
    found = {}
    for name in wanted:
        part = LinearPart(name, cohort.channels, clinical.shape[1], cohort.sequences)
        columns = clinical if name == CLINICAL else _columns(cohort, split.train, name)
        found[name] = fit_view(part, columns, outcome, split.part)
    return found


def _columns(cohort: Cohort, index: np.ndarray, view: str) -> np.ndarray:
    """Return a view (knees, columns) of the slices of the knees at `index`, float32."""
    out = []
    for chunk in np.array_split(index, -(-len(index) // _KNEES)):
        longest = int(cohort.length[chunk].max())
        values = torch.zeros(len(chunk), longest, cohort.channels)
        mask = torch.zeros(len(chunk), longest, dtype=torch.uint8)
        for row, i in enumerate(chunk):
            length = int(cohort.length[i])
            values[row, :length] = torch.from_numpy(cohort.slices(i))
            numbers = cohort.sequence_numbers[cohort.offsets[i] : cohort.offsets[i + 1]]
            mask[row, :length] = torch.from_numpy(numbers)
        out.append(views(values, mask, view).numpy())
    return np.concatenate(out)


def fit_view(linear: LinearPart, columns: np.ndarray, outcome: Outcome, part: np.ndarray) -> Fitted:
    """Fit a linear part in place on its view (knees, columns) of knees with an `outcome`.

    `part` (knees,) numbers the inner folds that judge the candidates. The fit is their mean,
    weighted by the likelihood of held-out knees (pseudo-Bayesian model averaging: Geisser and Eddy,
    JASA 1979; Yao et al., Bayesian Analysis 2018).
    """
    # A decomposition of so many columns, or of one variable each, costs more than it brings.
    is_plain = linear.view in (POSITION, CLINICAL)
    return _fit(linear, columns, outcome, part, (1.0,) if is_plain else POWERS, _average)


def fit_ridge(
    linear: LinearPart, columns: np.ndarray, outcome: Outcome, part: np.ndarray
) -> Fitted:
    """Fit the simple thing, as `fit_view` does: ridge regression with its one best strength."""
    return _fit(linear, columns, outcome, part, (1.0,), _best)


@dataclass(frozen=True)
class Candidate:
    """A strength, the held-out log odds (knees,) that it gives, and their mean log loss (nats)."""

    strength: float
    held_out: np.ndarray
    loss: float


def _fit(
    linear: LinearPart,
    columns: np.ndarray,
    outcome: Outcome,
    part: np.ndarray,
    powers: Sequence[float],
    weigh: Callable[[Sequence[Candidate]], np.ndarray],
) -> Fitted:
    mean, sd = columns.mean(axis=0, dtype=np.float64), columns.std(axis=0, dtype=np.float64)
    scale = np.where(sd > _SMALLEST_SD, 1 / np.maximum(sd, _SMALLEST_SD), 0) / len(mean) ** 0.5
    scaled = ((columns - mean) * scale).astype(np.float32)
    with threadpoolctl.threadpool_limits(1):  # sums in another order give other bytes
        tables, found = [], []
        for table in turned(scaled, powers):
            tried = candidates(table.columns, outcome, part)
            found += tried
            tables += [table] * len(tried)
        shares = weigh(found)
        weight, bias = np.zeros(len(mean)), 0.0
        for share, each, table in zip(shares, found, tables, strict=True):
            if share:
                model = outcome.regression()
                model.fit(table.columns, each.strength, _LAST_TOLERANCE, _LAST_STEPS)
                weight += share * table.back(model.weight)
                bias += share * model.bias
    values = {"mean": mean, "scale": scale, "weight": weight}
    values |= {"lowest": columns.min(axis=0), "highest": columns.max(axis=0)}
    for name, value in values.items():
        getattr(linear, name).copy_(torch.from_numpy(value.astype(np.float32)))
    linear.bias.fill_(bias)
    held_out = np.sum([a * each.held_out for a, each in zip(shares, found, strict=True)], axis=0)
    best = int(np.argmin([each.loss for each in found]))
    return Fitted(linear, held_out, found[best].strength, tables[best].power)


@dataclass(frozen=True)
class Turned:
    """Principal components (knees, components) whose standard deviations are of another `power`.

    `directions` (columns, components) made them of the columns; None where they are the columns.
    """

    power: float
    columns: np.ndarray
    directions: np.ndarray | None = None

    def back(self, weight: np.ndarray) -> np.ndarray:
        """Return the weights of the columns that are those of the components."""
        return weight if self.directions is None else self.directions @ weight


def turned(columns: np.ndarray, powers: Sequence[float]) -> list[Turned]:
    """Return the principal components of centred `columns` (knees, columns) for each of `powers`.

    The sum of their variances stays that of the columns. Where 1 is the only power, or no column
    varies, these are handed back as they are.
    """
    if tuple(powers) == (1.0,) or not columns.any():
        return [Turned(1.0, columns)]
    values = columns.astype(np.float64)
    is_wide = columns.shape[0] < columns.shape[1]
    squares, vectors = np.linalg.eigh(values @ values.T if is_wide else values.T @ values)
    lengths = np.sqrt(np.clip(squares, 0, None))
    kept = lengths > _SMALLEST_COMPONENT * lengths.max()
    lengths, vectors = lengths[kept], vectors[:, kept]
    if is_wide:
        vectors = values.T @ (vectors / lengths)
    found = []
    for power in powers:
        gain = lengths ** (power - 1)
        gain *= np.sqrt(np.square(lengths).sum() / np.square(lengths * gain).sum())
        directions = vectors * gain
        found.append(Turned(power, (values @ directions).astype(np.float32), directions))
    return found


def candidates(
    columns: np.ndarray,
    outcome: Outcome,
    part: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
) -> list[Candidate]:
    """Return what each of `strengths` gives, up to the first that is out of the running.

    `columns` (knees, columns) are scaled, and `part` (knees,) numbers the inner folds from 1. Each
    fold's knees are scored by a fit on all others.
    """
    folds = []
    for number in np.unique(part):
        others, held = part != number, part == number
        folds.append((others, held, outcome.take(others).regression()))
    found: list[Candidate] = []
    best = np.inf
    for strength in strengths:
        held_out = np.zeros(len(outcome))
        for others, held, model in folds:
            model.fit(columns[others], strength)
            held_out[held] = model.score(columns[held])
        loss = outcome.loss(held_out)
        found.append(Candidate(strength, held_out, loss))
        best = min(best, loss)
        if (loss - best) * len(outcome) > _NEGLIGIBLE:
            break
    return found


def _average(found: Sequence[Candidate]) -> np.ndarray:
    """The share of each candidate by its likelihood of held-out knees, without the negligible."""
    nats = np.array([each.loss * len(each.held_out) for each in found])
    nats -= nats.min()
    shares = np.where(nats < _NEGLIGIBLE, np.exp(-nats), 0)
    return shares / shares.sum()


def _best(found: Sequence[Candidate]) -> np.ndarray:
    """All for the candidate with the lowest loss."""
    return np.eye(len(found))[int(np.argmin([each.loss for each in found]))]
